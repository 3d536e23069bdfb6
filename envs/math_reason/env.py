"""MathReason-v0: `gym.make("MathReason-v0", problems="gsm8k", split="train", level="step")`."""

from __future__ import annotations

from os import PathLike
from typing import Any

import gymnasium as gym

from envs.files import Problems
from envs.math_reason.source import load
from envs.problem_env import ProblemEnv
from envs.token_level import Tokenizer, at_level


class MathReasonEnv(ProblemEnv):
    """Word problems and mathematics, one line of reasoning per action (see `ProblemEnv` for the episode's rules)."""

    def __init__(
        self,
        problems: Problems = "arithmetic",
        split: str = "train",
        level: str = "step",
        segment: str | None = None,
        max_steps: int = 20,
        prompt: str = "plain",
        rules: str | None = None,
        data_dir: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        """`problems`, `split`, `data_dir` and `options` are those of `envs.math_reason.source.load`."""
        super().__init__(load(problems, split, data_dir, **options), level, segment, max_steps, prompt, rules)


def make_math_reason(
    level: str = "step", tokenizer: Tokenizer | None = None, max_length: int | None = None, **kwargs: Any
) -> gym.Env[Any, Any]:
    """Make a MathReasonEnv; at `level="token"` it is in a `TokenLevel` with this tokenizer and context length.

    By default tokens are UTF-8 bytes. The other arguments are those of `MathReasonEnv`.
    """
    return at_level(MathReasonEnv, level, tokenizer, max_length, **kwargs)
