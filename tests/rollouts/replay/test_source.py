"""What a name on the command line opens."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic
from rollouts.replay.source import newest_log, open_source
from rollouts.trajectory import Header, LogError, read
from tests.rollouts.logs import lines, maths_log, write
from tests.rollouts.replay.sessions import alfworld_log, episode, log


@pytest.fixture
def run(tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A run directory with a critic, a policy without, and a log."""
    folder = tmp_path / "run"
    meta = {"method": "oreo", "settings": {"level": "token", "beta": 0.03}}
    base = Base("tiny", checkpoint.fingerprint(small_lm))
    checkpoint.save(folder / "sft", ActorCritic(small_lm), tokenizer, base, {"method": "sft"})
    checkpoint.save(folder / "oreo", ActorCritic(small_lm, "separate"), tokenizer, base, meta)
    (folder / "config.json").write_text(json.dumps({"checkpoint": "oreo"}))
    maths_log(folder / "rollouts.jsonl", 1)
    return folder


def test_a_run_has_its_critics_values(run: Path) -> None:
    source = open_source(str(run))
    reading = source.values.of(source.log[0])
    assert (source.run, reading.source) == (run, "critic run")
    assert all(step.values for step in reading.steps)


def test_a_run_whose_checkpoint_has_no_critic_says_so(run: Path) -> None:
    (run / "config.json").write_text(json.dumps({"checkpoint": "sft"}))
    source = open_source(str(run))
    assert "no critic" in source.note and "--critic RUN" in source.note
    assert source.values.of(source.log[0]).source == ""


def test_a_checkpoint_without_a_value_head_is_no_critic(run: Path) -> None:
    with pytest.raises(ValueError, match=r"sft.* has no value head"):
        open_source(str(run / "rollouts.jsonl"), critic=str(run / "sft"))


def test_a_reference_adds_log_ratios(run: Path) -> None:
    source = open_source(str(run), reference=str(run / "sft"))
    assert all(step.implicit == pytest.approx(0, abs=1e-4) for step in source.values.of(source.log[0]).steps)


def test_a_reference_wants_a_critic(run: Path) -> None:
    with pytest.raises(ValueError, match="give --critic RUN"):
        open_source(str(run / "rollouts.jsonl"), reference=str(run / "sft"))


def test_the_newest_of_its_logs(run: Path) -> None:
    (run / "evaluation").mkdir()
    older, newer = (log(run / "evaluation" / f"{name}.jsonl", episode("t", "a")) for name in ("b", "a"))
    for path, seconds in ((run / "rollouts.jsonl", 1), (older, 2), (newer, 3)):
        os.utime(path, (seconds, seconds))
    assert newest_log(run) == newer


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rum", r"no log or run directory at .*rum\. Did you mean 'run'\?"),
        ("run/oreo", r"is a checkpoint and has no log: name the run directory, or LOG --critic"),
        (".", r"no log .* and no run directory"),
    ],
)
def test_what_is_neither_log_nor_run(run: Path, name: str, message: str) -> None:
    with pytest.raises(LogError, match=message):
        open_source(str(run.parent / name))


def test_a_run_without_a_log(run: Path) -> None:
    (run / "rollouts.jsonl").unlink()
    with pytest.raises(LogError, match=r"has no evaluation/\*.jsonl and no rollouts"):
        open_source(str(run))


def test_an_empty_log(tmp_path: Path) -> None:
    log(tmp_path / "log.jsonl")
    with pytest.raises(LogError, match="a header and no episode yet"):
        open_source(str(tmp_path / "log.jsonl"))


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").touch()
    with pytest.raises(LogError, match="has no header"):
        open_source(str(tmp_path / "log.jsonl"))


def test_in_a_joined_log_each_episode_has_its_header(tmp_path: Path) -> None:
    maths, games = maths_log(tmp_path / "a.jsonl", 1), alfworld_log(tmp_path / "b.jsonl", 1)
    source = open_source(str(write(tmp_path / "both.jsonl", [*lines(maths), *lines(games)])))
    found = [source.header(each) for each in read(tmp_path / "both.jsonl").trajectories]
    assert all(isinstance(each, Header) for each in found)
    assert [each.env_id for each in found] == ["MathReason-v0", "MathReason-v0", "AlfWorld-v0"]


def test_of_joined_logs_of_one_environment_the_agents_own_header_speaks(tmp_path: Path) -> None:
    joined = [line for name in "ab" for line in (Header("E", name), replace(episode("t", name), agent=name))]
    source = open_source(str(write(tmp_path / "both.jsonl", joined)))
    assert [source.header(each).agent for each in source.log] == ["a", "b"]
