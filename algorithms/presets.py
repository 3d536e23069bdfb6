"""Named defaults: what the papers use, and what suits the tiny model and LoRA on a pretrained one.

`tiny` was chosen on held-out tasks (the numbers: docs/results/math.md, alfworld.md): a model from scratch needs learning rates
20 to 200 times the papers', which were made for pretrained models of 1.5 to 7 billion parameters. On maths those of dqo, dro,
dpo, step_dpo and kto lie below every rate that was tried from this start, as rejection's does on AlfWorld: what was tried lost
success. `lora` has SFT's and OREO's rate from runs of a 135-million-parameter model; the others stand to OREO's as in the papers,
and were not tried.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agents.mcts import Search
from agents.tiny import TinyConfig
from algorithms.training import Training
from rollouts.searching import SearchArgs


@dataclass(frozen=True)
class Work:
    """How much work the whole pipeline does in an environment."""

    demos: int
    """expert demonstrations, one a training task"""
    tasks: int
    """training tasks that the rollouts are played on (the demonstrated ones are among them, or they among those)"""
    samples: int
    """rollouts per training task"""
    eval_tasks: int
    """tasks of each split that the models are evaluated on, greedily and sampled; 0: none"""
    held_out: tuple[str, ...]
    """splits of held-out tasks"""
    tree_tasks: int = 100
    """training tasks that trees are grown for, in place of rollouts, where a learner needs credits of steps"""
    search: Search = field(default_factory=Search)
    """how they are grown"""
    action_tokens: int = 256
    """most tokens of an action"""
    parallel: int = 64
    """episodes played at once"""
    env_args: dict[str, object] = field(default_factory=dict)
    """arguments of the environment"""
    expert_args: dict[str, object] = field(default_factory=dict)
    """arguments of the expert that demonstrates"""
    tiny: TinyConfig = field(default_factory=TinyConfig)
    """the model from scratch, where training starts from one"""
    decide: SearchArgs = field(default_factory=SearchArgs)
    """how a model with a critic searches in the last row of the evaluation"""


WORK = {
    "math": Work(
        demos=3000,
        tasks=3000,
        samples=5,
        eval_tasks=500,
        held_out=("test",),
        tree_tasks=750,
        search=Search(iterations=40),
        action_tokens=128,
        parallel=128,
        decide=SearchArgs(search="beam", width=3),
    ),
    "commonsense": Work(demos=500, tasks=1000, samples=5, eval_tasks=300, held_out=("test",), action_tokens=128, parallel=128),
    "alfworld": Work(
        demos=2500,
        tasks=300,
        samples=3,
        eval_tasks=100,
        held_out=("valid_seen", "valid_unseen"),
        action_tokens=16,
        # Few paths of a tree end within a search that can be paid for: episodes played on from its nodes do.
        tree_tasks=150,
        search=Search(iterations=5, depth=15, rollouts=1, shrink=1.0),
        # Mistakes, and how to go on after them, are what perfect demonstrations never show.
        expert_args={"noise": 0.1},
        # One over the root of the width: names must be copied from the text, which small weights are slow to learn.
        tiny=TinyConfig(init=0.07),
        decide=SearchArgs(search="best-action", width=4),
    ),
}
OTHER_WORK = Work(demos=100, tasks=100, samples=5, eval_tasks=50, held_out=())
"""For any other environment; its tasks are not split."""

OFFLINE = Training(lr=1e-4, critic_lr=1e-3, epochs=1, min_steps=2, batch=128, micro_tokens=4096, critic_start=0.25)
"""One pass over the tiny model's own episodes."""
LORA = Training(lr=5e-5, critic_lr=1e-4, epochs=1, batch=32, rank=16, critic="lora", micro_tokens=2048)
"""Adapters on a pretrained model."""

TRAINING = {
    "tiny": {
        "sft": Training(lr=1e-3, critic_lr=0.0, epochs=3, min_steps=60, batch=16, micro_tokens=4096),
        "rejection": replace(OFFLINE, lr=1e-4, critic_lr=0.0, epochs=2, batch=64),
        "oreo": OFFLINE,
        "dqo": replace(OFFLINE, lr=5e-5),
        "dro": replace(OFFLINE, lr=1e-5),
        "dpo": replace(OFFLINE, lr=1e-5, critic_lr=0.0, batch=64),
        "step_dpo": replace(OFFLINE, lr=1e-5, critic_lr=0.0, batch=64),
        "kto": replace(OFFLINE, lr=3e-6, critic_lr=0.0),
        "dvo": replace(OFFLINE, lr=1e-5, critic_lr=0.0, batch=64),
    },
    "tiny-alfworld": {
        "sft": Training(lr=2e-3, critic_lr=0.0, epochs=2, min_steps=60, batch=8, micro_tokens=4096),
        "rejection": replace(OFFLINE, lr=1e-4, critic_lr=0.0, epochs=2, batch=8),
        "oreo": replace(OFFLINE, lr=3e-4, batch=32),
        "dqo": replace(OFFLINE, lr=1e-4, batch=32),
        "dro": replace(OFFLINE, lr=3e-5, batch=32),
        "dpo": replace(OFFLINE, lr=3e-5, critic_lr=0.0, batch=16),
        "step_dpo": replace(OFFLINE, lr=3e-5, critic_lr=0.0, batch=16),
        "kto": replace(OFFLINE, lr=1e-5, critic_lr=0.0, batch=32),
        "dvo": replace(OFFLINE, lr=1e-4, critic_lr=0.0, batch=32),
    },
    "paper": {
        "sft": Training(lr=2e-5, critic_lr=0.0, epochs=3),
        "rejection": Training(lr=5e-6, critic_lr=0.0),
        "oreo": Training(),
        "dqo": Training(lr=5e-7, critic_lr=5e-6, batch=256, max_length=4096),
        "dro": Training(lr=5e-7, critic_lr=5e-6, batch=256, max_length=4096),
        "dvo": Training(lr=5e-7, critic_lr=0.0, epochs=3, warmup=0.1, max_length=1792),
        "dpo": Training(lr=5e-7, critic_lr=0.0),
        "step_dpo": Training(lr=5e-7, critic_lr=0.0, epochs=3),
        "kto": Training(lr=5e-8, critic_lr=0.0),
    },
    "lora": {
        "sft": replace(LORA, lr=2e-4, critic_lr=0.0),
        "rejection": replace(LORA, lr=2e-4, critic_lr=0.0),
        "oreo": LORA,
        "dqo": replace(LORA, lr=5e-6, critic_lr=5e-5),
        "dro": replace(LORA, lr=5e-6, critic_lr=5e-5),
        "dpo": replace(LORA, lr=5e-6, critic_lr=0.0),
        "step_dpo": replace(LORA, lr=5e-6, critic_lr=0.0),
        "kto": replace(LORA, lr=5e-7, critic_lr=0.0),
        "dvo": replace(LORA, lr=5e-6, critic_lr=0.0),
    },
}
"""Preset, or preset-environment -> learner -> settings. A learner without an entry (the critic alone, value) takes OREO's."""


def training(preset: str, method: str, env: str = "") -> Training:
    """The shared settings of a learner under a preset, the environment's own where there are such.

    Raises:
        ValueError: unknown preset.
    """
    if preset not in TRAINING:
        raise ValueError(f"unknown preset {preset!r}: expected one of {', '.join(TRAINING)}")
    settings = TRAINING.get(f"{preset}-{env}", TRAINING[preset])
    return settings.get(method, settings["oreo"])
