"""Searches from a command line's names, on a small model with a random critic."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents import checkpoint
from agents.agent import History, Turn
from agents.checkpoint import Base
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.sampling import Sampling
from agents.search import TreeSearch
from rollouts.evaluate import Args, Decoding, evaluate
from rollouts.searching import SearchArgs, searching_agent
from rollouts.trajectory import read

MATH = partial(envs.make, "math")
SAMPLING, DECODING = Sampling(max_new_tokens=24), Decoding(max_new_tokens=24)


@pytest.fixture
def run(tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A checkpoint of OREO whose value head is random."""
    model = ActorCritic(small_lm, "shared")
    assert model.value_head is not None
    torch.nn.init.normal_(model.value_head.weight)
    return saved(tmp_path / "oreo", model, tokenizer, method="oreo", settings={"level": "token", "beta": 0.03})


def saved(folder: Path, model: ActorCritic, tokenizer: PreTrainedTokenizerFast, **meta: Any) -> Path:
    checkpoint.save(folder, model, tokenizer, Base("tiny", checkpoint.fingerprint(model.lm)), meta)
    return folder


@pytest.mark.parametrize("search", ["best-action", "best-response", "vote", "value-vote", "beam", "tree"])
def test_every_search_plays_maths(run: Path, tmp_path: Path, search: str) -> None:
    """The log says who searched and how, and of each step what was tried."""
    log = tmp_path / "log.jsonl"
    found = SearchArgs(search=search, width=3, iterations=3)  # type: ignore[arg-type]
    args = Args("math", agent=str(run), episodes=3, log=log, decoding=DECODING, search=found, json=tmp_path / "found.json")
    assert evaluate(args).summary.episodes == 3
    logged = read(log)
    assert logged.headers[0].sampling["search"] == search
    assert json.loads((tmp_path / "found.json").read_text())["sampling"]["width"] == 3
    for trajectory in logged.trajectories:
        assert trajectory.agent == logged.headers[0].agent
        assert trajectory.steps[0].info["search"]["candidates"]


def test_an_evaluation_repeats(run: Path, tmp_path: Path) -> None:
    def play(name: str, parallel: int) -> list[list[str]]:
        search = SearchArgs(search="beam", width=2)
        args = Args("math", agent=str(run), episodes=4, log=tmp_path / name, decoding=DECODING, search=search, parallel=parallel)
        evaluate(args)
        return sorted([t.task, *(step.action for step in t.steps)] for t in read(tmp_path / name).trajectories)

    assert play("a.jsonl", 4) == play("b.jsonl", 1)


@pytest.mark.parametrize(
    ("settings", "temperature", "message"),
    [
        ({"search": "beam"}, 0.0, "give --temperature 1"),
        ({"search": "beam", "value": "implicit"}, 1.0, "give --reference"),
        ({"search": "beam", "simulator": True}, 1.0, "gives no snapshots"),
    ],
)
def test_what_does_not_go_together(run: Path, settings: dict[str, Any], temperature: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        searching_agent(str(run), Sampling(temperature=temperature), SearchArgs(**settings), MATH)


@pytest.mark.parametrize(
    ("critic", "meta", "message"),
    [
        (None, {"method": "sft"}, "no value head"),
        ("shared", {"method": "oreo", "settings": {"level": "step"}}, "train the critic with --level token"),
        ("shared", {"method": "dqo", "settings": {"level": "response"}}, "train the critic with --level token"),
    ],
)
def test_a_critic_that_cannot_be_read_is_refused(
    tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, critic: Any, meta: dict[str, Any], message: str
) -> None:
    folder = saved(tmp_path / "other", ActorCritic(small_lm, critic), tokenizer, **meta)
    with pytest.raises(ValueError, match=message):
        searching_agent(str(folder), SAMPLING, SearchArgs(search="beam"), MATH)


def test_only_sampled_text_is_searched() -> None:
    with pytest.raises(ValueError, match="tries what a language model samples"):
        searching_agent("expert", SAMPLING, SearchArgs(search="beam"), MATH)


def test_a_world_of_commands_needs_a_simulator_or_one_action_at_a_time(run: Path) -> None:
    house = partial(envs.make, "alfworld", games="generated", split="train", difficulty="small")
    with pytest.raises(ValueError, match="give --simulator"):
        searching_agent(str(run), SAMPLING, SearchArgs(search="beam"), house)
    with pytest.raises(ValueError, match="counts answers"):
        searching_agent(str(run), SAMPLING, SearchArgs(search="vote"), house)


@pytest.mark.parametrize(("search", "simulator"), [("best-action", False), ("beam", True)])
def test_alfworld_is_searched(run: Path, tmp_path: Path, search: str, simulator: bool) -> None:
    args = Args(
        "alfworld",
        env_args=("games=generated", "split=train", "difficulty=small", "max_steps=3"),
        agent=str(run),
        episodes=2,
        log=tmp_path / "log.jsonl",
        decoding=Decoding(max_new_tokens=8),
        search=SearchArgs(search=search, width=2, simulator=simulator),  # type: ignore[arg-type]
    )
    evaluate(args)
    logged = read(args.log or "")
    assert ("+simulator" in logged.headers[0].agent) == simulator
    assert all(len(t.steps) == 3 for t in logged.trajectories)


def test_simulators_are_for_looking_ahead() -> None:
    with pytest.raises(ValueError, match="--simulator is for"):
        SearchArgs(search="vote", simulator=True)


def test_a_tree_keeps_none_of_its_nodes_in_the_cache(run: Path) -> None:
    """Only the episode itself stays there, and what is gone on from is fed again: the tree is that of one that keeps all."""
    search, sampling = SearchArgs(search="tree", width=3, iterations=4), Sampling(max_new_tokens=16)

    def plan(keep: bool) -> tuple[str, int]:
        found, _ = searching_agent(str(run), sampling, search, MATH)
        assert isinstance(found, TreeSearch) and isinstance(found.agent, LMAgent)
        if keep:
            found._release = lambda history: None  # type: ignore[method-assign]
        history = History("arithmetic-d2/train/000001", 0, [Turn("Tom has 3 cups and buys 4. How many?")])
        (action,) = found.act([history])
        return action.text, len([ref for ref in found.agent.sampler.rows.order if ref() is not None])

    (text, rows), (kept_text, kept_rows) = plan(keep=False), plan(keep=True)
    assert text == kept_text
    assert rows <= 1 < kept_rows


@pytest.mark.parametrize("search", ["best-action", "best-response", "vote", "value-vote", "beam", "tree"])
def test_commonsense_is_searched(run: Path, tmp_path: Path, search: str) -> None:
    args = Args(
        "commonsense",
        agent=str(run),
        episodes=2,
        log=tmp_path / "log.jsonl",
        decoding=DECODING,
        search=SearchArgs(search=search, width=2, iterations=2),  # type: ignore[arg-type]
    )
    evaluate(args)
    assert all(t.steps[0].info["search"]["candidates"] for t in read(args.log or "").trajectories)


def test_likelihood_needs_no_critic_and_picks_the_likeliest(
    tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The chosen response's tokens have the largest geometric mean of all that were tried."""
    folder = saved(tmp_path / "sft", ActorCritic(small_lm), tokenizer, method="sft")
    agent, _ = searching_agent(str(folder), SAMPLING, SearchArgs(search="best-response", value="likelihood"), MATH)
    (action,) = agent.act([History("arithmetic-d2/train/000001", 0, [Turn("Tom has 3 cups and buys 4. How many?")])])
    tried = [candidate["value"] for candidate in action.info["search"]["candidates"]]
    assert len(tried) == 4
    assert action.logps and math.exp(sum(action.logps) / len(action.logps)) == pytest.approx(max(tried))
