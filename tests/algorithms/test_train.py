"""What training one learner on one log says of the log."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.agent import Action
from agents.checkpoint import Base
from agents.model import ActorCritic
from agents.prompt import Prompt
from algorithms import dpo, dqo, dro, dvo, kto, oreo, rejection, sft, step_dpo, value
from algorithms.examples import encode_rows
from algorithms.learner import Learner, Models
from algorithms.method import Method
from algorithms.presets import WORK
from algorithms.train import Start, check_settings, held_out_tasks, train_args, train_on_log
from algorithms.training import Training
from algorithms.validation import HeldOut, Validation
from rollouts.trajectory import End, Header, LogWriter, Step, Trajectory, read


@pytest.fixture
def start(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "start", ActorCritic(small_lm), tokenizer, Base("tiny", ""))
    return tmp_path / "start"


def said(
    method: Method,
    config: Any,
    start: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    *log: Trajectory,
    header: Header = Header("MathReason-v0", "expert"),
) -> str:
    """What a learner prints of the log; it takes one step."""
    with LogWriter(out / "log.jsonl", header) as writer:
        writer.append(*log)
    capsys.readouterr()
    train_on_log(method, config, Training(tracker="none"), out / "log.jsonl", Start(str(start)), out / method.name, 0)
    return " ".join(capsys.readouterr().out.split())


def episode(task: str, seed: int, reward: float, **step: Any) -> Trajectory:
    return Trajectory("MathReason-v0", task, seed, (Step("2 + 3?", f"#### {seed}\n", reward, **step),), End.TERMINATED, "expert")


def test_the_order_of_a_log_does_not_matter(start: Path, tmp_path: Path) -> None:
    """Who ended first is chance where several played at once; here three steps of four rows each."""
    log = [episode(task, seed, float(seed > 2)) for task in "abc" for seed in range(4)]
    found = []
    for name, episodes in (("one", log), ("other", log[::-1])):
        with LogWriter(tmp_path / name / "log.jsonl", Header("MathReason-v0", "expert")) as writer:
            writer.append(*episodes)
        training = Training(batch=4, lr=1e-2, critic_lr=1e-2, tracker="none")
        train_on_log(oreo.METHOD, oreo.Config(), training, writer.path, Start(str(start)), tmp_path / name / "oreo", 0)
        found.append(checkpoint.fingerprint(checkpoint.load_policy(tmp_path / name / "oreo").lm))
    assert found[0] == found[1]


def test_a_log_without_log_probabilities_says_so_where_they_count(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = [episode("a", 0, 1.0), episode("b", 1, 0.0)]
    found = said(dqo.METHOD, dqo.Config(), start, tmp_path, capsys, *log)
    assert "2 of 2 episodes have no log-probabilities (a, seed 0; b, seed 1)" in found
    assert "--no-weight-policy --no-weight-value" in found
    unweighted = dqo.Config(weight_policy=False, weight_value=False)
    for name, method, config in (("unweighted", dqo.METHOD, unweighted), ("oreo", oreo.METHOD, oreo.Config())):
        assert "log-probabilities" not in said(method, config, start, tmp_path / name, capsys, *log)


def test_a_log_of_the_reference_itself_without_log_probabilities_says_so_too(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when it picked among choices, whose probabilities are not its words'."""
    header = Header("MathReason-v0", "start", model=checkpoint.fingerprint(checkpoint.load_policy(start).lm))
    log = [episode("a", 0, 1.0), episode("b", 1, 0.0)]
    assert "2 of 2 episodes have no log-probabilities" in said(
        dqo.METHOD, dqo.Config(), start, tmp_path, capsys, *log, header=header
    )


@pytest.mark.parametrize(
    ("method", "config", "says"),
    [
        (dpo.METHOD, dpo.Config(), "dpo has no critic"),
        (dro.METHOD, dro.Config(), "dro learns V at response level"),
        (oreo.METHOD, oreo.Config(level="step"), "oreo learns V at step level"),
        (oreo.METHOD, oreo.Config(level="response"), None),  # its critic learns at every token
    ],
)
def test_a_value_at_a_cut_wants_a_critic_of_tokens(
    start: Path, tmp_path: Path, method: Method, config: Any, says: str | None
) -> None:
    with LogWriter(tmp_path / "log.jsonl", Header("MathReason-v0", "expert")) as writer:
        writer.append(episode("a", 0, 1.0), replace(episode("b", 0, 0.0), end=End.TRUNCATED))
    settings = Training(tracker="none", truncated="bootstrap")
    train = partial(train_on_log, method, config, settings, tmp_path / "log.jsonl", Start(str(start)), tmp_path / "out", 0)
    if says is None:
        assert train().exists()
        return
    with pytest.raises(ValueError, match=rf"{says}, and --truncated bootstrap reads V .*; give --truncated zero, keep or drop"):
        train()


def test_held_out_success_says_nothing_of_a_critic_alone() -> None:
    with pytest.raises(ValueError, match=r"value trains no policy.*leave out --valid.every"):
        check_settings(value.METHOD, value.Config(), Training(), validated=True)


def test_held_out_success_says_nothing_where_the_critic_alone_learns() -> None:
    with pytest.raises(ValueError, match=r"--critic-start 1 trains no policy.*leave out --valid.every"):
        check_settings(oreo.METHOD, oreo.Config(), Training(critic_start=1.0), validated=True)


def test_held_out_tasks_are_of_the_environment_that_the_log_was_played_in(start: Path, tmp_path: Path) -> None:
    """Its arguments, but for those that are given anew; not those of the pipeline's own environment."""
    with LogWriter(
        tmp_path / "log.jsonl", Header("MathReason-v0", "lm", {"split": "train", "difficulty": 1, "prompt": "gsm8k"})
    ) as log:
        log.append(episode("a", 0, 1.0))
    valid, found = Validation(every=1, tasks=2), list[HeldOut]()

    def held_out(used: Collection[str], env_args: dict[str, Any]) -> None:
        made = held_out_tasks(valid, "math", WORK["math"], 0, used, env_args, given={"difficulty": 2})
        assert made is not None
        found.append(made)

    train_on_log(
        sft.METHOD,
        sft.Config(),
        Training(tracker="none"),
        tmp_path / "log.jsonl",
        Start(str(start)),
        tmp_path / "out",
        0,
        held_out=held_out,
    )
    assert found[0].env_args == {"split": "train", "difficulty": 2, "prompt": "gsm8k"}
    made = held_out_tasks(valid, "math", WORK["math"], 0, ())
    assert made is not None and made.env_args == train_args(WORK["math"])


def test_a_joined_log_of_two_environments_has_no_held_out_tasks(start: Path, tmp_path: Path) -> None:
    for name, prompt in (("one", "gsm8k"), ("two", "math")):
        with LogWriter(tmp_path / f"{name}.jsonl", Header("MathReason-v0", "lm", {"prompt": prompt})) as log:
            log.append(episode(name, 0, 1.0))
    (tmp_path / "log.jsonl").write_bytes((tmp_path / "one.jsonl").read_bytes() + (tmp_path / "two.jsonl").read_bytes())
    made = HeldOut(Validation(every=1, tasks=2), "math", {"difficulty": 1}, ())
    settings = Training(tracker="none")
    with pytest.raises(ValueError, match="joins logs of environments with other arguments"):
        train_on_log(
            sft.METHOD,
            sft.Config(),
            settings,
            tmp_path / "log.jsonl",
            Start(str(start)),
            tmp_path / "out",
            0,
            held_out=lambda used, env_args: made,
        )


def test_how_many_pairs_there_are(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = [episode("a", 0, 1.0), episode("a", 1, 0.0), episode("a", 2, 0.0), episode("b", 3, 1.0), episode("c", 4, 0.0)]
    assert "2 pairs of them, from 1 of 3 tasks" in said(dpo.METHOD, dpo.Config(), start, tmp_path, capsys, *log)


def played(prompt: Prompt, *outcomes: float, **step: Any) -> list[Trajectory]:
    """Episodes of three tasks with sampled ids, log-probabilities and credits: two right answers, then wrong ones, of each."""
    found = []
    for number, reward in enumerate(outcomes):
        texts = [f"{number} + 1 = {number + 1}\n", f"#### {number}"]
        ids = [prompt.action(Action(text), last_of_message=text is texts[-1]) for text in texts]
        credits_ = (0.25 * number, reward - 0.5)
        steps = tuple(
            Step("" if i else "2 + 3?", texts[i], reward * i, ids[i], tuple(-0.1 * k - 0.01 for k in ids[i]), target=credits_[i])
            for i in range(2)
        )
        end = End.TERMINATED if number % 5 else End.TRUNCATED
        found.append(Trajectory("MathReason-v0", f"task {number % 3}", number, steps, end, "lm"))
    return found


LEARNERS = [sft, rejection, oreo, dqo, dvo, dpo, step_dpo, kto]


@pytest.mark.parametrize(
    ("module", "name", "own"),
    [(module, "log.jsonl", False) for module in LEARNERS]
    + [(module, name, False) for module in (sft, oreo) for name in ("log.jsonl.zst", "log")]
    + [(module, "log.jsonl", True) for module in (dqo, dpo)],
    ids=lambda value: value.METHOD.name if hasattr(value, "METHOD") else str(value),
)
def test_rows_on_disk_teach_what_rows_in_memory_teach(
    start: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, module: Any, name: str, own: bool
) -> None:
    """To the bit, step by step, in whatever form the log lies; also where the reference itself played the log (`own`)."""
    model = checkpoint.fingerprint(checkpoint.load_policy(start).lm) if own else "another"
    with LogWriter(tmp_path / name, Header("MathReason-v0", "lm", model=model)) as writer:
        writer.append(*played(Prompt(tokenizer), *[1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]))
    settings = Training(tracker="none", batch=4, epochs=2, lr=1e-3, critic_lr=1e-3)
    method, config = module.METHOD, module.Config()
    train_on_log(method, config, settings, tmp_path / name, Start(str(start)), tmp_path / "stored", 0)
    policy = checkpoint.load_policy(start)
    rows = list(encode_rows(read(tmp_path / name).trajectories, Prompt(policy.tokenizer), settings.max_length))
    rows = sorted(rows, key=lambda row: (row.task, row.seed))
    rows = [dataclasses.replace(row, logps=None) for row in rows] if own else rows
    learner = Learner(method, config, settings, rows, Models(policy), tmp_path / "memory", 0)
    learner.run()
    places = [tmp_path / "stored", tmp_path / "memory"]
    metrics = [[json.loads(line) for line in Path(f"{place}-metrics.jsonl").read_text().splitlines()] for place in places]
    assert len(metrics[0]) > 1
    for one in (*metrics[0], *metrics[1]):
        one.pop("tokens_per_second")
    assert metrics[0] == metrics[1]
    weights = [checkpoint.load(place)[0].state_dict() for place in places]
    assert all(torch.equal(weight, weights[1][key]) for key, weight in weights[0].items())
