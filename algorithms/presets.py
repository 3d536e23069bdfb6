"""Named defaults: what the papers use, and what suits the tiny model and LoRA on a pretrained one.

`tiny` was chosen on held-out training tasks of MathReason's generator (docs/results/math.md has the numbers): a model from
scratch needs learning rates a hundred times the papers', which were made for pretrained models of 1.5 to 7 billion parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from algorithms.learner import Training


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
    """held-out tasks, each played once greedily and once sampled"""
    held_out: str
    """split of the held-out tasks"""
    action_tokens: int = 256
    """most tokens of an action"""
    parallel: int = 64
    """episodes played at once"""
    env_args: dict[str, object] = field(default_factory=dict)
    """arguments of the environment"""
    expert_args: dict[str, object] = field(default_factory=dict)
    """arguments of the expert that demonstrates"""


WORK = {
    "math": Work(demos=1500, tasks=1500, samples=5, eval_tasks=500, held_out="test", action_tokens=128, parallel=128),
    "commonsense": Work(demos=500, tasks=1000, samples=5, eval_tasks=300, held_out="test", action_tokens=128, parallel=128),
    "alfworld": Work(demos=300, tasks=30, samples=5, eval_tasks=30, held_out="valid_unseen", action_tokens=32, parallel=64),
}
OTHER_WORK = Work(demos=100, tasks=100, samples=5, eval_tasks=50, held_out="")
"""For any other environment; its tasks are not split."""

TRAINING = {
    "tiny": {
        "sft": Training(lr=2e-3, critic_lr=0.0, epochs=8, min_steps=60, batch=64, micro_tokens=4096),
        "oreo": Training(lr=1e-4, critic_lr=1e-3, epochs=1, min_steps=2, batch=128, micro_tokens=4096, critic_start=0.25),
    },
    "paper": {
        "sft": Training(lr=2e-5, critic_lr=0.0, epochs=3),
        "oreo": Training(),
    },
    "lora": {
        "sft": Training(lr=2e-4, critic_lr=0.0, epochs=1, batch=32, rank=16, critic="lora", micro_tokens=2048),
        "oreo": Training(lr=5e-5, critic_lr=1e-4, epochs=1, batch=32, rank=16, critic="lora", micro_tokens=2048),
    },
}
"""Preset -> learner -> settings. A learner without an entry takes OREO's."""


def training(preset: str, method: str) -> Training:
    """The shared settings of a learner under a preset.

    Raises:
        ValueError: unknown preset.
    """
    if preset not in TRAINING:
        raise ValueError(f"unknown preset {preset!r}: expected one of {', '.join(TRAINING)}")
    return TRAINING[preset].get(method, TRAINING[preset]["oreo"])
