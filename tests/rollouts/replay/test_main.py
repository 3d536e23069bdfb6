"""Who goes on with a branch, by the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.agent import History
from agents.checkpoint import Base
from agents.model import ActorCritic
from rollouts.index import LogIndex
from rollouts.replay.__main__ import Args, make_agent
from rollouts.replay.keys import press
from rollouts.replay.source import Source
from rollouts.replay.values import Values
from tests.rollouts.logs import maths_log
from tests.rollouts.replay.sessions import alfworld_log, session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return maths_log(tmp_path / "log.jsonl", 1)


@pytest.fixture
def run(tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    model, base = ActorCritic(small_lm, "shared"), Base("tiny", checkpoint.fingerprint(small_lm))
    checkpoint.save(tmp_path / "oreo", model, tokenizer, base, {"method": "oreo", "settings": {"level": "token"}})
    return tmp_path / "oreo"


@pytest.mark.parametrize("search", ["best-action", "best-response", "vote", "value-vote", "beam", "tree"])
def test_a_search_goes_on_with_a_branch(path: Path, run: Path, search: str) -> None:
    """From the second step of a logged episode; what it considered there is on the screen's list."""
    agent = make_agent(Args(str(path), agent=str(run), search=search, width=2), Source(LogIndex(path), Values()))
    found = session(path, agent=agent)
    for key in ("enter", "down", "a"):
        press(found, key)
    assert not found.message.startswith("ValueError"), found.message
    logged, (first, second, *_) = found.source.log[0], found.episode.trajectory.steps
    assert first == logged.steps[0]
    assert (second.info["search"]["by"], second.info["branch"]) == (agent.name, agent.name)


@pytest.mark.parametrize("search", ["none", "best-action"])
def test_an_agent_sees_what_a_person_did_after_it(tmp_path: Path, run: Path, search: str) -> None:
    """It acts as one does that knows nothing of the episode but what is in it."""
    games = alfworld_log(tmp_path / "games.jsonl", 1)
    agent = make_agent(Args(str(games), agent=str(run), search=search, width=2), Source(LogIndex(games), Values()))
    found = session(games, agent=agent)
    for key in ("enter", "a", "t", *"look", "enter"):
        press(found, key)
    assert found.episode.branch
    history = found.episode.branch.episode.history
    (expected,) = agent.act([History(history.task, history.seed, [replace(turn) for turn in history.turns])])
    press(found, "a")
    assert found.episode.trajectory.steps[2].action == expected.text


def test_a_search_samples_though_no_temperature_is_given(path: Path, run: Path) -> None:
    source = Source(LogIndex(path), Values())
    with pytest.raises(ValueError, match="give --temperature 1"):
        make_agent(Args(str(path), agent=str(run), search="beam", temperature=0.0), source)
    assert make_agent(Args(str(path), agent=str(run), search="beam"), source).name == "beam(4)(oreo)"
