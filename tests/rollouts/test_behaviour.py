from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.model import ActorCritic
from agents.prompt import Prompt
from rollouts.behaviour import decisions_of, read_played
from rollouts.likelihood import PolicyReader
from rollouts.trajectory import End, Header, LogError, Step, Trajectory
from tests.rollouts.logs import write

HEADER = Header("E", "lm", sampling={"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 9}, model="abc")
PLAYED = Trajectory(
    "E",
    "x",
    0,
    (
        Step("?", "ab", 0.25, (5, 6), (-1.0, -2.0)),
        Step("", "", 0.5, (), ()),
        Step("", "cde", 1.0, (7, 8, 9), (-3.0, -4.0, -5.0)),
    ),
    End.TERMINATED,
    "lm",
)


def test_decisions_are_steps_with_tokens() -> None:
    """Tokens 0 1 | 2 3 4; what the step without tokens earned is the first's."""
    starts, reward = decisions_of(PLAYED, "step")
    assert starts.tolist() == [0, 2]
    assert reward.tolist() == [0.75, 1.0]


def test_decisions_are_tokens_whose_last_has_the_steps_reward() -> None:
    starts, reward = decisions_of(PLAYED, "token")
    assert starts.tolist() == [0, 1, 2, 3, 4]
    assert reward.tolist() == [0, 0.75, 0, 0, 1.0]


def test_what_an_empty_first_step_earned_is_the_first_decisions() -> None:
    found = msgspec.structs.replace(PLAYED, steps=PLAYED.steps[1:])
    assert decisions_of(found, "step")[1].tolist() == [1.5]


def test_an_episode_that_a_limit_cut_off_earned_nothing() -> None:
    assert not decisions_of(msgspec.structs.replace(PLAYED, end=End.TRUNCATED), "step")[1].any()


def test_a_log_says_how_likely_its_tokens_were(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(PLAYED, seed=1, end=End.ERROR)
    found = read_played(write(tmp_path / "log.jsonl", [HEADER, PLAYED, broken]))
    assert found.tasks == ["x"]
    np.testing.assert_array_equal(found.logps[0], [-1, -2, -3, -4, -5])
    assert found.left_out == 1
    assert not found.rewarded_at_the_end


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"sampling": {"temperature": 0.7}}, ValueError, "temperature 0.7.*--behaviour"),
        ({"sampling": {"temperature": 1.0, "top_k": 5}}, ValueError, "top_k 5"),
        ({"sampling": {"temperature": 0.0}}, LogError, "likeliest action"),
        ({"sampling": {"search": "beam"}}, LogError, "what a search picks"),
        ({"search": {"iterations": 4}}, LogError, "what a search picks"),
    ],
)
def test_samplers_whose_probabilities_are_not_logged(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    log = write(tmp_path / "log.jsonl", [msgspec.structs.replace(HEADER, **changed), PLAYED])
    with pytest.raises(error, match=message):
        read_played(log)


def test_an_episode_without_log_probabilities_is_named(tmp_path: Path) -> None:
    steps = (msgspec.structs.replace(PLAYED.steps[0], logps=None),)
    with pytest.raises(LogError, match=r"x, seed 0, played by lm, has no log-probabilities.*--behaviour"):
        read_played(write(tmp_path / "log.jsonl", [HEADER, msgspec.structs.replace(PLAYED, steps=steps)]))


def test_an_agent_without_tokens_is_named(tmp_path: Path) -> None:
    expert = msgspec.structs.replace(PLAYED, agent="expert", steps=(Step("?", "go", 1.0),))
    with pytest.raises(LogError, match="played by expert, has no token ids"):
        read_played(write(tmp_path / "log.jsonl", [HEADER, expert]))


def test_a_log_without_episodes(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no episode in which"):
        read_played(write(tmp_path / "log.jsonl", [HEADER]))


def test_another_model_than_the_one_that_sampled(
    tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    reader = PolicyReader(ActorCritic(small_lm), Prompt(tokenizer), "RUN/other")
    with pytest.raises(ValueError, match="fingerprint abc, RUN/other has"):
        read_played(write(tmp_path / "log.jsonl", [HEADER, PLAYED]), behaviour=reader)
