"""Trainings that end alike in one process and in several that share the model among them.

python -m torch.distributed.run --nproc_per_node 2 -m tests.algorithms.several START OUT     # with ACCELERATE_USE_FSDP=true
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch.distributed.tensor import DTensor

from agents import checkpoint, generate
from agents.generate import Sampler
from agents.model import ActorCritic
from agents.sampling import Sampling
from algorithms import kto, oreo, value
from algorithms.batch import Row
from algorithms.faults import TrainingFault
from algorithms.job import leave
from algorithms.learner import Learner, Models
from algorithms.method import Method
from algorithms.minibatch import Draws
from algorithms.training import Training
from algorithms.validation import HeldOut, Validation
from tests.algorithms.test_learner import rows, run_until_killed

TRAINED: dict[str, tuple[Method, dict[str, Any]]] = {
    "oreo": (oreo.METHOD, {"epochs": 2}),  # the reference is asked before, states of which are kept
    "uneven": (oreo.METHOD, {"batch": 5, "micro_tokens": 1}),  # three passes against two, the reference's with them
    "kto": (kto.METHOD, {"epochs": 2}),
    "value": (value.METHOD, {}),
    "shared": (oreo.METHOD, {"critic": "shared", "gradient_checkpointing": "full"}),
    "lora": (oreo.METHOD, {"critic": "lora", "rank": 2, "epochs": 2}),
    "lora-checkpointed": (oreo.METHOD, {"critic": "lora", "rank": 2, "gradient_checkpointing": "full"}),
    "separate-lora": (oreo.METHOD, {"rank": 2}),
}
ROUNDED: dict[str, dict[str, Any]] = {
    "bf16": {"precision": "bf16"},
    "bf16-base": {"precision": "bf16", "rank": 2, "critic": "lora"},  # beside adapters in float32
}
"""Trainings of OREO, in fewer digits."""


class Played(HeldOut):
    """Success is how likely the model finds what it says itself: it hangs on every weight of the policy."""

    def __init__(self) -> None:
        self.settings, self.env_args, self.keys = Validation(every=1, patience=0), {}, []

    def success(self, model: ActorCritic, tokenizer: object) -> float:
        asked = [generate.Row(np.random.default_rng(0), tokens=[5, 6, last]) for last in (7, 8)]
        Sampler(model, [0], Sampling(temperature=0, max_new_tokens=6)).extend(asked)
        return math.exp(sum(sum(row.logps) for row in asked) / 12)


def in_float64(patch: pytest.MonkeyPatch) -> None:
    """Adam makes a step of a gradient that is rounding alone, so that in float32 a weight may part from its like."""
    made = Learner._model
    patch.setattr(Learner, "_model", lambda self, critic: made(self, critic).double())
    patch.setattr(torch.Tensor, "float", torch.Tensor.double)


def make(
    start: Path, out: Path, name: str, method: Method, data: list[Row], held_out: HeldOut | None = None, **given: Any
) -> Learner:
    """A learner; beside its checkpoint, how many of the model's numbers this process holds, and of how many."""
    usual: dict[str, Any] = {"batch": 8, "lr": 1e-3, "critic_lr": 1e-3, "tracker": "none", "micro_tokens": 60}
    training = Training(**usual | given)
    policy = checkpoint.load_policy(start, dtype=torch.bfloat16 if name == "bf16-base" else "auto")
    learner = Learner(method, method.config(), training, data, Models(policy), out / name, held_out=held_out)
    held = [p.to_local() if isinstance(p, DTensor) else p for p in learner.model.parameters()]
    numbers = f"{sum(p.numel() for p in held)} {sum(p.numel() for p in learner.model.parameters())}"
    out.mkdir(exist_ok=True)
    (out / f"{name}-held-{learner.accelerator.process_index}").write_text(numbers)
    return learner


def train(start: Path, out: Path) -> None:
    """All trainings, exactly."""
    for name, (method, given) in TRAINED.items():
        make(start, out, name, method, rows(24), **given).run()
    # Nothing fits behind the first row's beginning: the second process has no mismatched row.
    long = Row((7,) * 5 + (8,), (-1,) * 5 + (0,), (1.0,), task="a", solved=True)
    make(start, out, "alone", kto.METHOD, [long, Row((8,) + (9,) * 6, (-1,) + (0,) * 6, (0.0,), task="b")]).run()
    make(start, out, "played", oreo.METHOD, rows(24), Played()).run()
    run_until_killed(make_killed(start, out, "killed"), 4)
    spoilt = rows(24)
    ((late,), *_) = Draws([[i] for i in range(24)], 8, 0).step(2)
    spoilt[late] = replace(spoilt[late], reward=(0.0, math.nan))
    try:
        make(start, out, "spoilt", value.METHOD, spoilt).run()
    except TrainingFault as fault:
        (out / f"fault-{os.environ.get('RANK', 0)}").write_text(str(fault))


def make_killed(start: Path, out: Path, name: str) -> Learner:
    """A run that is stopped, or goes on, in the middle."""
    return make(start, out, name, oreo.METHOD, rows(24), epochs=2)


def train_rounded(start: Path, out: Path) -> None:
    """Trainings in which the order of sums shows."""
    for name, given in ROUNDED.items():
        make(start, out, name, oreo.METHOD, rows(24), **given).run()


if __name__ == "__main__":
    start, out = Path(sys.argv[1]), Path(sys.argv[2])
    with pytest.MonkeyPatch.context() as patch:
        in_float64(patch)
        train(start, out)
        make_killed(start, out, "continued").run()
        patch.setenv("FSDP_RESHARD_AFTER_FORWARD", "false")
        make(start, out, "kept", oreo.METHOD, rows(24), Played()).run()
    AcceleratorState._reset_state()  # of its precision
    train_rounded(start, out)
    leave()
