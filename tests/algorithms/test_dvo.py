from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic
from agents.prompt import Prompt
from algorithms import dvo
from algorithms.batch import Level, collate
from algorithms.examples import encode_rows
from algorithms.minibatch import compute_outputs
from algorithms.selection import credited_rows
from algorithms.train import Start, train_on_log
from algorithms.training import Training
from rollouts.credit import credit_log, load_critic
from rollouts.trajectory import End, Header, LogWriter, Step, Trajectory, read


def test_credits_of_a_value_model_are_learnt(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """From log and critic to a policy: a truncated episode is learnt from too, one that ended by an error is not."""
    model = ActorCritic(small_lm, "separate")
    assert model.value_head is not None
    torch.nn.init.normal_(model.value_head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    checkpoint.save(tmp_path / "critic", model, tokenizer, Base("tiny", ""), {"method": "value", "settings": {}})
    steps = Step("2 + 3?", "x is 5.\n", 0.0), Step("", "#### 5\n", 1.0)
    with LogWriter(tmp_path / "log.jsonl", Header("MathReason-v0", "lm")) as log:
        for seed, end in enumerate((End.TERMINATED, End.TRUNCATED, End.ERROR)):
            log.append(Trajectory("MathReason-v0", "t", seed, steps, end, "lm"))
    credit_log(tmp_path / "log.jsonl", load_critic(tmp_path / "critic"), tmp_path / "credited.jsonl")

    rows = credited_rows(list(encode_rows(read(tmp_path / "credited.jsonl").trajectories, Prompt(tokenizer), 512)))
    assert len(rows) == 2
    out = train_on_log(
        dvo.METHOD,
        dvo.Config(),
        Training(lr=1e-3, epochs=2, tracker="none"),
        tmp_path / "credited.jsonl",
        Start(str(tmp_path / "critic")),
        tmp_path / "run" / "dvo",
        0,
    )
    before, after = (checkpoint.load_policy(folder).base.fingerprint for folder in (tmp_path / "critic", out))
    assert before != after


@pytest.mark.parametrize("level", ["step", "response"])
def test_steps_become_likelier_or_less_as_their_credits_say(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, level: Level
) -> None:
    """A won and a lost path from one beginning: 0.25 of credit to what they share, then 0.5 and -0.75, and 0 to the last of one.

    The optimum has beta log(pi / ref) = credit at every step, or at the level of responses their sums, 0.75 and -0.5.
    """
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("tiny", ""))
    paths = ((("x is 5.\n", 0.25), ("#### 5\n", 0.5)), (("x is 5.\n", 0.25), ("so 6.\n", -0.75), ("#### 6\n", 0.0)))
    with LogWriter(tmp_path / "tree.jsonl", Header("MathReason-v0", "lm")) as log:
        for seed, path in enumerate(paths):
            steps = [Step("" if number else "2 + 3?", text, 0.0, target=credit) for number, (text, credit) in enumerate(path)]
            log.append(Trajectory("MathReason-v0", "t", seed, tuple(steps), End.TERMINATED, "lm"))
    config = dvo.Config(level=level, beta=0.5)
    training = Training(lr=3e-3, epochs=300, tracker="none", warmup=0.0, save_every=10_000)
    out = train_on_log(dvo.METHOD, config, training, tmp_path / "tree.jsonl", Start(str(tmp_path / "sft")), tmp_path / "dvo", 0)
    rows = list(encode_rows(read(tmp_path / "tree.jsonl").trajectories, Prompt(tokenizer), 512))
    batch = collate(rows, level)
    model = ActorCritic(checkpoint.load_policy(out).lm, reference=checkpoint.load_policy(tmp_path / "sft").lm)
    with torch.no_grad():
        found = compute_outputs(model.eval(), batch, dvo.METHOD, config)
    assert found.ref_logp is not None
    wanted = [[0.25, 0.5, 0.0], [0.25, -0.75, 0.0]] if level == "step" else [[0.75], [-0.5]]
    ratio = ((found.logp - found.ref_logp) * batch.mask).double()
    torch.testing.assert_close(config.beta * ratio, torch.tensor(wanted, dtype=torch.float64), atol=0.02, rtol=0)
