"""The command on episodes that a small random model has sampled; those that begin with an even id are called solved."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.sampling import Sampling
from rollouts.behaviour import read_played
from rollouts.collect import collect_log
from rollouts.likelihood import PolicyReader
from rollouts.ope import Args, Estimate, Evaluated, best, evaluate, main, print_evaluated
from rollouts.resolve import short_names
from rollouts.trajectory import End, Header, Trajectory
from tests.rollouts.logs import lines, write


def sampled(path: Path, lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, sampling: Sampling) -> Path:
    settings = {name: getattr(sampling, name) for name in ("temperature", "top_p", "top_k", "max_new_tokens")}
    header = Header("", "lm", sampling=settings, model=checkpoint.fingerprint(lm))
    collect_log("math", {"count": 8}, LMAgent(ActorCritic(lm), tokenizer, sampling), header, path, samples=4, episodes=32)
    return write(path, [_graded(line) if isinstance(line, Trajectory) else line for line in lines(path)])


def _graded(episode: Trajectory) -> Trajectory:
    first = next(token for step in episode.steps for token in step.tokens or ())
    steps = [msgspec.structs.replace(step, reward=0.0) for step in episode.steps]
    steps[-1] = msgspec.structs.replace(steps[-1], reward=float(first % 2 == 0))
    return msgspec.structs.replace(episode, steps=tuple(steps), end=End.TERMINATED)


@pytest.fixture
def log(tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    return sampled(tmp_path / "log.jsonl", small_lm, tokenizer, Sampling(max_new_tokens=6))


def reader_of(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, sampling: Sampling = Sampling()) -> PolicyReader:
    return PolicyReader(ActorCritic(lm), Prompt(tokenizer), "RUN/sft", sampling)


@pytest.mark.parametrize("level", ["step", "token"])
def test_the_model_that_played_has_the_logs_mean(
    log: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, level: str
) -> None:
    played = read_played(log, level)  # type: ignore[arg-type]
    mean = np.mean([reward.sum() for reward in played.rewards])
    found = evaluate(log, played, reader_of(small_lm, tokenizer), "lm")
    assert 0 < mean < 1
    for name in ("IS", "WIS", "PDWIS", "DR", "WDR"):
        assert found.estimates[name].value == pytest.approx(mean, abs=1e-3), name
    assert found.effective == pytest.approx(len(played), rel=1e-4)
    assert "PDIS" not in found.estimates


def test_a_cooler_sampler_is_known_by_the_model_that_sampled(
    tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    cool = Sampling(temperature=0.5, max_new_tokens=6)
    log = sampled(tmp_path / "log.jsonl", small_lm, tokenizer, cool)
    played = read_played(log, "step", reader_of(small_lm, tokenizer))
    same = evaluate(log, played, reader_of(small_lm, tokenizer, cool), "lm")
    other = evaluate(log, played, reader_of(small_lm, tokenizer), "lm")
    assert same.effective == pytest.approx(len(played), rel=1e-4)
    assert other.effective < 0.9 * len(played)


def test_the_estimate_is_of_the_policy_that_is_asked_for(
    log: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """IS by the two models' own log-probabilities, computed apart."""
    other = deepcopy(small_lm)
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(0.5)  # type: ignore[operator]
    played, reader = read_played(log), reader_of(other, tokenizer)
    episodes = [line for line in lines(log) if isinstance(line, Trajectory)]
    weights = [math.exp(each.logps.sum() - mu.sum()) for each, mu in zip(reader.read(episodes), played.logps, strict=True)]
    expected = np.mean([w * reward.sum() for w, reward in zip(weights, played.rewards, strict=True)])
    found = evaluate(log, played, reader, "other")
    assert found.estimates["IS"].value == pytest.approx(expected, rel=1e-6)
    assert found.effective < len(played) - 1


def test_the_better_policy_is_picked_with_the_share_of_draws() -> None:
    def policy(value: float, drawn: list[float]) -> Evaluated:
        return Evaluated({"IS": Estimate(value, np.array(drawn))}, Estimate(1.0, np.ones(4)), 4.0, 0.25)

    found = {"a": policy(0.5, [0.4, 0.6, 0.5, 0.5]), "b": policy(0.7, [0.6, 0.5, 0.8, 0.7])}
    assert best(found, "IS") == ("b", 0.75)
    assert best(found, "FQE") is None


def test_a_policy_that_finds_the_log_too_likely_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    estimates = {"IS": Estimate(0.5, np.full(4, 0.5))}
    fair, trained = (Evaluated(estimates, Estimate(w, np.full(4, w)), 4.0, 0.25) for w in (1.0, 1.5))
    print_evaluated({"fair": fair, "trained": trained}, estimates["IS"], 4)
    said = capsys.readouterr().out
    assert "trained finds these episodes likelier" in said
    assert "fair finds" not in said


def test_the_command_says_and_writes_it(
    log: Path, tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    base = checkpoint.Base("tiny", checkpoint.fingerprint(small_lm))
    for name in ("one", "two"):
        checkpoint.save(tmp_path / name / "sft", ActorCritic(small_lm), tokenizer, base)
    main(Args(log, (str(tmp_path / "one" / "sft"), str(tmp_path / "two" / "sft")), json=tmp_path / "found.json"))
    assert "PDIS) is" in " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["policies"]) == ["one/sft", "two/sft"]
    assert found["best"]["WIS"]["policy"] == "one/sft"
    assert found["own"]["low"] <= found["own"]["value"] <= found["own"]["high"]


def test_numbers_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="--policies names no policy"):
        Args(Path("log.jsonl"), ())
    with pytest.raises(ValueError, match="--clip 0"):
        Args(Path("log.jsonl"), ("a",), clip=0)


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names(["run/sft", "run/oreo"]) == ["sft", "oreo"]
    assert short_names(["a/run/sft", "b/run/sft"]) == ["a/run/sft", "b/run/sft"]
    with pytest.raises(ValueError, match="given twice"):
        short_names(["a", "a"])
