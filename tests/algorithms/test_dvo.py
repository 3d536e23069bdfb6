from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic
from agents.prompt import Prompt
from algorithms import dvo
from algorithms.examples import encode_rows
from algorithms.selection import credited_rows
from algorithms.train import Start, train_on_log
from algorithms.training import Training
from rollouts.credit import credit_log, load_critic
from rollouts.trajectory import End, Header, LogWriter, Step, Trajectory, read


def test_credits_of_a_value_model_are_learnt(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """From log and critic to a policy: lost episodes are learnt from as won ones are, a truncated one too."""
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
