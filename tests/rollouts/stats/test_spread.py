from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.stats.spread import Spread

numbers = st.lists(st.integers(-5, 20), min_size=1)


def spread(values: list[int]) -> Spread:
    found = Spread()
    for value in values:
        found.add(value)
    return found


@given(numbers, st.floats(0.001, 1))
def test_quantiles_are_those_of_the_sorted_numbers(values: list[int], share: float) -> None:
    """NumPy's inverted CDF is the same definition."""
    assert spread(values).quantile(share) == np.quantile(values, share, method="inverted_cdf")


@given(numbers, st.integers(-6, 21))
def test_what_is_above_a_limit(values: list[int], limit: int) -> None:
    assert spread(values).above(limit) == sum(value > limit for value in values)


def test_json_by_hand() -> None:
    assert spread([3, 1, 1, 7]).to_json() == {"min": 1, "p50": 1, "p90": 7, "p99": 7, "max": 7, "mean": 3.0, "sum": 12}


def test_no_numbers_have_no_quantile() -> None:
    assert Spread().to_json() == {}
    with pytest.raises(ValueError, match="a quantile of no numbers"):
        Spread().quantile(0.5)
