"""How tokens are drawn, as settings: who only names them loads no model."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Logged log-probabilities are the model's own, whatever is set here."""

    temperature: float = 1.0
    """0 takes the most likely token"""
    top_p: float = 1.0
    """keep the smallest set of tokens with at least this probability"""
    top_k: int = 0
    """keep the k most likely tokens; 0 keeps all"""
    max_new_tokens: int = 256
    """an action is cut off after this many tokens"""

    def __post_init__(self) -> None:
        """Raises ValueError for a setting that no distribution has."""
        if not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1 or self.top_k < 0 or self.max_new_tokens < 1:
            raise ValueError(f"{self}: wanted temperature >= 0, 0 < top_p <= 1, top_k >= 0 and max_new_tokens >= 1")
