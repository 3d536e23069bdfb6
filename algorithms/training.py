"""Model, data, optimiser and schedule: the settings that every learner shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.model import CriticKind, Recomputed
from algorithms.method import FINITE, check_ranges
from rollouts.encode import Truncated


@dataclass(frozen=True)
class Training:
    """What every learner shares; --preset chooses (paper: the papers')."""

    # The defaults here are OREO's (appendix A.3).
    lr: float = 5e-6
    """peak learning rate of the policy"""
    critic_lr: float = 5e-6
    """peak learning rate of the critic"""
    epochs: float = 1
    """passes over the rows"""
    min_steps: int = 0
    """at least so many optimiser steps: a small log is passed over more often"""
    batch: int = 128
    """rows per optimiser step"""
    by_task: int = 1
    """so many rows (or pairs) of a task are drawn together, and what they begin with is computed once"""
    micro_tokens: int = 16384
    """most tokens (padding included) of one forward pass"""
    gradient_checkpointing: Recomputed = "none"
    """what is computed again for the gradient in place of being kept: nothing, all but products of matrices and attention
    (selective), or all between layers, for one more forward pass (full)"""
    max_length: int = 2048
    """longest row; longer ones keep their first whole steps"""
    truncated: Truncated = "zero"
    """an episode cut off by a limit has return 0 (the limit is part of the task, as in the papers), keeps the rewards that it was
    given (dense rewards), keeps them and has V at the cut for the rest (bootstrap; oreo, dqo, value at
    token level), or is left out"""
    balance: int = 0
    """of each task at most so many solved and failed rows, no more solved than failed but one (OREO, 7B models: 4); 0: all rows"""
    warmup: float = 0.03
    """share of the steps over which the learning rate rises; then it falls to 0 by a cosine"""
    critic_start: float = 0.0
    """share of the steps in which the critic learns alone; until V is near the returns, the policy's steps are mostly noise"""
    clip: float = 1.0
    """largest gradient norm, for the policy and for the critic apart; 0: any"""
    weight_decay: float = 0.0
    """decoupled, as AdamW has it"""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: orthogonal steps for the weights between hidden states, AdamW for the rest; for models from scratch, in one process"""
    critic: CriticKind = "separate"
    """separate (a trunk of its own), lora (an adapter on the frozen base), shared (the policy's trunk)"""
    trunk_gradient: float = 0.1
    """shared critic: the share of its gradient that reaches the trunk"""
    rank: int = 0
    """LoRA rank of policy and lora critic; 0 trains all weights"""
    precision: str = "no"
    """mixed precision: no, bf16"""
    save_every: int = 100
    """optimiser steps between the states that a killed run goes on from; at most a tenth of the run"""
    explode: float = 100.0
    """a loss so many times the largest of the first ten steps stops the run"""
    tracker: str = "tensorboard"
    """any tracker that accelerate knows, or none"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        positive = ("batch", "by_task", "micro_tokens", "save_every", "explode")
        check_ranges(self, **dict.fromkeys(positive, (1, FINITE)), max_length=(2, FINITE))
        several = ("lr", "critic_lr", "epochs", "min_steps", "balance", "weight_decay", "rank", "clip")
        check_ranges(self, **dict.fromkeys(several, (0, FINITE)), warmup=(0, 1), critic_start=(0, 1), trunk_gradient=(0, FINITE))
