"""What a pass over a log counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rollouts.report.facts import Facts, facts_of
from rollouts.report.inputs import LogFile
from rollouts.trajectory import End, LogError, Step, Trajectory
from tests.rollouts.reported import episode, log

SAMPLED = {"sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0}}


def facts(path: Path, *episodes: Trajectory, keep: int = 10, **header: Any) -> Facts:
    return facts_of(LogFile("log", log(path / "log.jsonl", *episodes, **header)), keep)


def test_episodes_are_counted_by_kind_and_task(tmp_path: Path) -> None:
    found = facts(
        tmp_path,
        episode("x/1", "a", "b", solved=True),
        episode("x/1", "a", seed=1),
        episode("y/1", Step("", "a", 0.0, tokens=(1, 2, 3)), seed=4),
    )
    assert list(found.steps) == [2, 1, 1]
    assert list(found.tokens) == [-1, -1, 3]
    assert (bytes(found.solved), found.seeds, len(found.tasks)) == (b"\x01\x00\x00", {0, 1, 4}, 2)
    assert {kind: tally.episodes for kind, tally in found.kinds.items()} == {"x": 2, "y": 1}
    assert found.mean_tokens == 3


def test_entropy_is_the_mean_of_minus_log_p(tmp_path: Path) -> None:
    """0.5 and 1.5 and 1 over three tokens."""
    steps = Step("", "a", 0.0, tokens=(1, 2), logps=(-0.5, -1.5)), Step("", "b", 0.0, tokens=(3,), logps=(-1.0,))
    assert facts(tmp_path, episode("x", *steps), **SAMPLED).entropy == pytest.approx(1)


@pytest.mark.parametrize("other", [{"temperature": 0.7}, {"top_p": 0.9}, {"top_k": 5}, {"search": "beam"}])
def test_what_was_not_drawn_from_the_policy_says_nothing_of_its_entropy(tmp_path: Path, other: dict[str, Any]) -> None:
    step = Step("", "a", 0.0, tokens=(1,), logps=(-0.5,))
    assert facts(tmp_path, episode("x", step), sampling=SAMPLED["sampling"] | other).entropy is None


def test_the_sample_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    episodes = [episode(f"x/{i}", "a") for i in range(20)]
    one = facts(tmp_path / "1", *episodes, keep=5)
    two = facts(tmp_path / "2", *reversed(episodes), keep=5)
    assert [t.task for t in one.sample] == [t.task for t in two.sample]
    assert len(one.sample) == 5


def test_what_ended_by_an_error_is_no_part_of_the_sample(tmp_path: Path) -> None:
    found = facts(tmp_path, episode("x/1", "a"), episode("x/2", "a", end=End.ERROR))
    assert [t.task for t in found.sample] == ["x/1"]


def test_of_a_log_with_its_own_values_more_episodes_are_kept(tmp_path: Path) -> None:
    found = facts(tmp_path, *(episode(f"x/{i}", Step("", "a", 0.0, value=0.5)) for i in range(8)), keep=2)
    assert len(found.sample) == 8


def test_an_empty_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="has no episode"):
        facts(tmp_path)
