"""How whole numbers are spread, counted one by one in the memory of those that differ."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

QUANTILES = (0.5, 0.9, 0.99)


@dataclass
class Spread:
    """An exact histogram of whole numbers."""

    counts: Counter[int] = field(default_factory=Counter)

    def __len__(self) -> int:
        return self.counts.total()

    def add(self, number: int) -> None:
        """Count a number."""
        self.counts[number] += 1

    def above(self, limit: int) -> int:
        """How many are larger than `limit`."""
        return sum(count for number, count in self.counts.items() if number > limit)

    def quantile(self, share: float) -> int:
        """The smallest number that at least this share (above 0, up to 1) of them do not exceed.

        Raises:
            ValueError: nothing was counted.
        """
        if not self.counts:
            raise ValueError("a quantile of no numbers: wanted at least one")
        wanted, seen = math.ceil(share * len(self)), 0
        for number in sorted(self.counts):
            seen += self.counts[number]
            if seen >= wanted:
                return number
        return max(self.counts)

    def to_json(self) -> dict[str, Any]:
        """min, quantiles, max, mean and sum; {} where there is none."""
        if not self.counts:
            return {}
        total = sum(number * count for number, count in self.counts.items())
        quantiles = {f"p{round(100 * share)}": self.quantile(share) for share in QUANTILES}
        return {"min": min(self.counts), **quantiles, "max": max(self.counts), "mean": total / len(self), "sum": total}
