"""A log is true where playing it again gives what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agents.agent import Action, Agent
from agents.scripted import ExpertAgent, RandomAgent
from rollouts.collect import collect_log
from rollouts.progress import console
from rollouts.replay.__main__ import Args, main
from rollouts.replay.verify import Divergence, verify, verify_log
from rollouts.trajectory import End, Header, LogError, Step, Trajectory, read
from tests.rollouts.logs import lines, maths_log, write
from tests.rollouts.replay.sessions import alfworld_log, log

ARGUMENTS = {"games": "generated", "difficulty": "small"}


class CutOff(Agent):
    """Is cut off in the middle of its second step."""

    name = "cut"

    def act(self, histories):  # type: ignore[no-untyped-def]
        return [Action("First 1 + 1 = 2\nthen ", closed=False) for _ in histories]


def found(path: Path, change=lambda t: t) -> list[Divergence | bool | None]:  # type: ignore[no-untyped-def]
    return list(verify(change(each) if isinstance(each, Trajectory) else each for each in lines(path)))


def changed(step: int, **fields: object):  # type: ignore[no-untyped-def]
    """An episode with another field in one step."""

    def change(trajectory: Trajectory) -> Trajectory:
        steps = list(trajectory.steps)
        steps[step] = replace(steps[step], **fields)  # type: ignore[arg-type]
        return replace(trajectory, steps=tuple(steps))

    return change


def test_maths_is_true(tmp_path: Path) -> None:
    collect_log("math", {"count": 5}, ExpertAgent(), Header("", "expert"), tmp_path / "log.jsonl")
    assert found(tmp_path / "log.jsonl") == [True] * 5


def test_commonsense_is_true(tmp_path: Path) -> None:
    collect_log("commonsense", {"count": 3}, ExpertAgent(), Header("", "expert"), tmp_path / "log.jsonl")
    assert found(tmp_path / "log.jsonl") == [True] * 3


def test_alfworld_is_true_also_where_it_was_truncated(tmp_path: Path) -> None:
    collect_log("alfworld", ARGUMENTS, RandomAgent(), Header("", "random"), tmp_path / "log.jsonl", episodes=3)
    assert {t.end for t in read(tmp_path / "log.jsonl").trajectories} == {End.TRUNCATED}
    assert found(tmp_path / "log.jsonl") == [True] * 3


def test_a_step_that_was_cut_off_is_true(tmp_path: Path) -> None:
    collect_log("math", {"count": 2}, CutOff(), Header("", "cut"), tmp_path / "log.jsonl")
    assert [len(t.steps) for t in read(tmp_path / "log.jsonl").trajectories] == [2, 2]
    assert found(tmp_path / "log.jsonl") == [True, True]


@pytest.fixture(scope="module")
def alfworld(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return alfworld_log(tmp_path_factory.mktemp("alfworld") / "log.jsonl", 1)


@pytest.mark.parametrize(
    ("change", "step", "field"),
    [
        (changed(1, observation="You see nothing."), 2, "observation"),
        (changed(0, reward=1.0), 1, "reward"),
        (changed(1, info={"won": True}), 2, "info.won"),
        (lambda t: replace(t, final="The end."), None, "final"),
        (lambda t: replace(t, end=End.TRUNCATED), None, "end"),
        (lambda t: replace(t, steps=(*t.steps, Step(t.final, "look", 0.0))), None, "end"),
        (lambda t: replace(t, steps=t.steps[:1]), 1, "end"),
        (lambda t: replace(t, task="none"), 1, "error"),
    ],
)
def test_what_was_changed_is_found(alfworld: Path, change, step: int | None, field: str) -> None:  # type: ignore[no-untyped-def]
    (one,) = found(alfworld, change)
    last = len(read(alfworld).trajectories[0].steps)
    assert isinstance(one, Divergence)
    assert (one.step, one.field) == (step or last, field)


def test_what_others_put_in_info_is_not_compared(alfworld: Path) -> None:
    assert found(alfworld, changed(0, info={"search": {"by": "beam"}})) == [True]


def test_an_error_of_the_environment_is_left_out(alfworld: Path) -> None:
    assert found(alfworld, lambda t: replace(t, end=End.ERROR)) == [None]


def test_joined_logs_have_each_their_environment(tmp_path: Path, alfworld: Path) -> None:
    both = write(tmp_path / "both.jsonl", [*lines(maths_log(tmp_path / "log.jsonl", 1)), *lines(alfworld)])
    assert found(both) == [True] * 3


def test_another_version_of_the_environment(tmp_path: Path) -> None:
    """`count` is left as it is, but the problems are those of another difficulty: no such task."""
    path = maths_log(tmp_path / "log.jsonl", 1)
    header, *episodes = lines(path)
    assert isinstance(header, Header)
    write(path, [replace(header, env_args={"difficulty": 3}), *episodes])
    first = verify_log(path, console).diverged[0]
    assert (first.step, first.field) == (1, "error") and "unknown task" in first.found


def test_an_environment_that_is_not_here_is_named(tmp_path: Path) -> None:
    header, *episodes = lines(maths_log(tmp_path / "log.jsonl", 1))
    assert isinstance(header, Header)
    with pytest.raises(LogError, match=r"MathReason-v9, which cannot be made here"):
        list(verify([replace(header, env_id="MathReason-v9"), *episodes]))


def test_the_command_says_where_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, first, second, *_ = lines(maths_log(tmp_path / "log.jsonl", 2))
    assert isinstance(second, Trajectory)
    path = write(tmp_path / "log.jsonl", [header, first, changed(2, reward=1.0)(second)])
    assert main(Args(str(path), verify=True)) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 episodes are true" in shown
    assert f"the first that diverges: {second.task}, seed 1, step 3, reward: logged 1.0, found 0.0" in shown


@pytest.mark.parametrize("one", [{"episode": 0}, {"task": "arithmetic-d2/train/000000"}, {"seed": 1}])
def test_one_episode_is_not_what_the_command_verifies(tmp_path: Path, one: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave out --episode, --task and --seed"):
        main(Args(str(maths_log(tmp_path / "log.jsonl", 1)), verify=True, **one))


def test_a_log_without_an_episode_is_not_called_true(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="nothing to verify"):
        verify_log(log(tmp_path / "log.jsonl"), console)


def test_two_long_texts_are_shown_where_they_differ() -> None:
    said = str(Divergence("t", 0, 3, "observation", "a" * 200 + "mug", "a" * 200 + "cup"))
    assert "mug" in said and "cup" in said and len(said) < 200
