"""The evaluation's command line on a small model, and how papers decode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic
from agents.sampling import Sampling
from rollouts.evaluate import Args, Decoding, curves, evaluate, parse
from rollouts.searching import SearchArgs
from rollouts.trajectory import read


@pytest.fixture
def run(tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A checkpoint of OREO whose value head is random."""
    model = ActorCritic(small_lm, "shared")
    assert model.value_head is not None
    torch.nn.init.normal_(model.value_head.weight)
    base, meta = Base("tiny", checkpoint.fingerprint(model.lm)), {"method": "oreo", "settings": {"level": "token"}}
    checkpoint.save(tmp_path / "oreo", model, tokenizer, base, meta)
    return tmp_path / "oreo"


@pytest.mark.parametrize(
    ("decoding", "several", "expected"),
    [
        (Decoding(), False, Sampling(0)),
        (Decoding(), True, Sampling(1)),
        (Decoding(samples=4), False, Sampling(1)),
        (Decoding(temperature=0.5), True, Sampling(0.5)),
        (Decoding("oreo"), False, Sampling(0)),
        (Decoding("dqo"), False, Sampling(0.7, 0.9, 16)),
        (Decoding("dvo"), False, Sampling(0.7)),
        (Decoding("dqo", top_k=5), False, Sampling(0.7, 0.9, 5)),
    ],
)
def test_how_tokens_are_drawn(decoding: Decoding, several: bool, expected: Sampling) -> None:
    assert decoding.sampling(several, {}) == expected


@pytest.mark.parametrize(
    ("decoding", "problems", "seeds"),
    [
        (Decoding(), "gsm8k", 1),
        (Decoding("dqo"), "gsm8k", 5),
        (Decoding("dqo"), "aime24", 30),
        (Decoding("dvo"), "aime24", 3),
        (Decoding("dqo", seeds=2), "aime24", 2),
    ],
)
def test_how_many_seeds(decoding: Decoding, problems: str, seeds: int) -> None:
    assert decoding.seeds_on({"problems": problems}) == seeds


@pytest.mark.parametrize("decoding", [Decoding("oreo", samples=2), Decoding(temperature=0, seeds=2)])
def test_greedy_samples_would_all_be_the_same(decoding: Decoding) -> None:
    with pytest.raises(ValueError, match="at temperature 0 every sample of a task is the same"):
        decoding.sampling(False, {})


def math(run: Path, log: Path, **settings: Any) -> Args:
    return Args("math", agent=str(run), episodes=3, log=log, **settings)


def test_seeds_and_samples_are_one_log_and_one_result(run: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    scores = evaluate(math(run, log, decoding=Decoding(samples=2, seeds=2, max_new_tokens=8)))
    assert sorted({t.seed for t in read(log).trajectories}) == [0, 1, 1000, 1001]
    assert scores.summary.episodes == 12
    written = json.loads((tmp_path / "log.json").read_text())
    assert (written["episodes"], written["seeds"]["count"], list(written["pass_at"])) == (12, 2, ["1", "2", "4"])


def test_an_evaluation_goes_on_where_it_stopped(run: Path, tmp_path: Path) -> None:
    log, decoding = tmp_path / "log.jsonl", Decoding(seeds=2, max_new_tokens=8)
    whole = evaluate(math(run, log, decoding=decoding)).to_json()
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    assert evaluate(math(run, log, decoding=decoding)).to_json() == whole
    assert len(read(log).trajectories) == 6


def test_a_curve_of_responses_samples_once(run: Path, tmp_path: Path) -> None:
    log, search = tmp_path / "log.jsonl", SearchArgs(search="best-response")
    points = curves(math(run, log, decoding=Decoding(max_new_tokens=8), search=search, curve=(1, 2, 4)))
    assert len(read(log).trajectories) == 12
    assert {point.search for point in points} == {"pass", "best-response", "vote", "value-vote"}
    written = json.loads((tmp_path / "log.json").read_text())["curves"]
    assert [(point["search"], point["budget"]) for point in written] == [(point.search, point.budget) for point in points]


def test_a_curve_without_a_critic_has_votes_and_pass_at_k(run: Path, tmp_path: Path) -> None:
    points = curves(math(run, tmp_path / "log.jsonl", decoding=Decoding(max_new_tokens=8), curve=(1, 2)))
    assert {point.search for point in points} == {"pass", "vote"}


def test_a_curve_of_beams_has_a_log_for_each(run: Path, tmp_path: Path) -> None:
    log, search = tmp_path / "log.jsonl", SearchArgs(search="beam")
    points = curves(math(run, log, decoding=Decoding(max_new_tokens=8), search=search, curve=(1, 2)))
    assert [(point.search, point.budget) for point in points] == [("beam", 1), ("beam", 2)]
    assert [read(tmp_path / f"log-{k}.jsonl").headers[0].sampling["width"] for k in (1, 2)] == [1, 2]


def test_a_trees_budget_is_its_iterations(run: Path, tmp_path: Path) -> None:
    search = SearchArgs(search="tree", width=2)
    curves(math(run, tmp_path / "log.jsonl", decoding=Decoding(max_new_tokens=8), search=search, curve=(1, 2)))
    assert read(tmp_path / "log-2.jsonl").headers[0].sampling["iterations"] == 2


def test_budgets_begin_at_one(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--curve must be budgets of at least 1"):
        math(run, tmp_path / "log.jsonl", curve=(0, 2))


def ruled(folder: Path, rule: object) -> str:
    (folder / "config.json").write_text(json.dumps({"checkpoint": "sft", "decision": rule}))
    return str(folder)


def test_a_run_is_played_by_its_own_rule(tmp_path: Path) -> None:
    run = ruled(tmp_path, {"search": "best-action", "width": 3, "value": "likelihood", "temperature": 0.5, "max_new_tokens": 16})
    args = parse([run, "--env", "math", "--episodes", "7"])
    assert args.search == SearchArgs(search="best-action", width=3, value="likelihood")
    assert args.decoding == Decoding(temperature=0.5, max_new_tokens=16)
    assert (args.env, args.agent, args.episodes) == ("math", run, 7)


def test_the_command_line_counts_more_than_the_rule(tmp_path: Path) -> None:
    run = ruled(tmp_path, {"search": "best-action", "width": 3, "max_new_tokens": 16})
    args = parse([run, "--env", "math", "--search", "none", "--temperature", "0"])
    assert args.search.search == "none"
    assert args.decoding == Decoding(temperature=0.0, max_new_tokens=16)


def test_a_rule_may_say_how_the_environment_speaks(tmp_path: Path) -> None:
    run = ruled(tmp_path, {"env_args": ["form=react", "max_steps=40"]})
    given = parse([run, "--env", "alfworld", "--env-args", "max_steps=7", "--split", "train"])
    assert given.environment() == {"form": "react", "max_steps": 7, "split": "train"}


def test_without_a_rule_the_defaults_are_those_of_the_command(tmp_path: Path) -> None:
    assert parse(["expert", "--env", "math"]) == Args("math")
    (tmp_path / "config.json").write_text("{}")
    assert parse([str(tmp_path), "--env", "math"]) == Args("math", agent=str(tmp_path))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"widht": 3}, "decides by 'widht', which is none of search, width"),
        ({"width": "3"}, "Expected `int`, got `str`"),
        ({"search": "best"}, "Invalid enum value 'best'"),
        ({"search": "vote", "simulator": True}, "--simulator is for --search beam and tree"),
        ({"env_args": {"form": "react"}}, "Expected `array`, got `object`"),
        ("greedy", "wanted an object such as"),
    ],
)
def test_a_rule_that_makes_no_sense_says_so(tmp_path: Path, rule: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse([ruled(tmp_path, rule), "--env", "math"])
