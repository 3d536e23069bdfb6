"""CommonsenseReason-v0: `gym.make("CommonsenseReason-v0", problems="arc_challenge", split="train", shuffle=0)`."""

from __future__ import annotations

from os import PathLike
from typing import Any

import gymnasium as gym

from envs.commonsense.source import load
from envs.files import Problems
from envs.problem_env import ProblemEnv
from envs.token_level import Tokenizer, at_level


class CommonsenseReasonEnv(ProblemEnv):
    """Questions with lettered choices; the reference is the letter (see `ProblemEnv` for the episode's rules)."""

    def __init__(
        self,
        problems: Problems = "categories",
        split: str = "train",
        level: str = "step",
        segment: str | None = None,
        max_steps: int = 20,
        prompt: str = "plain",
        data_dir: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        """`problems`, `split`, `data_dir` and `options` are those of `envs.commonsense.source.load`."""
        super().__init__(load(problems, split, data_dir, **options), level, segment, max_steps, prompt)


def make_commonsense_reason(
    level: str = "step", tokenizer: Tokenizer | None = None, max_length: int | None = None, **kwargs: Any
) -> gym.Env[Any, Any]:
    """Make a CommonsenseReasonEnv; `level="token"` is the token MDP, as in `envs.math_reason.env.make_math_reason`."""
    return at_level(CommonsenseReasonEnv, level, tokenizer, max_length, **kwargs)
