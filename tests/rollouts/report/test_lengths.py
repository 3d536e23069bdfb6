"""Distributions of lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.report.lengths import BINS, histograms

LENGTHS = st.lists(st.integers(0, 5000), max_size=30)


def test_shares_by_hand() -> None:
    """Solved in 1, 1 and 2 steps; others in 3."""
    won, lost = histograms(np.array([1, 1, 2]), np.array([3]))
    assert won.edges == lost.edges == [0.5, 1.5, 2.5, 3.5]
    assert won.shares == pytest.approx([2 / 3, 1 / 3, 0]) and lost.shares == [0, 0, 1]
    assert (won.label, lost.label) == ("solved (3)", "not solved (1)")


@given(LENGTHS, LENGTHS)
def test_every_episode_lies_in_a_bin(won: list[int], lost: list[int]) -> None:
    if not won + lost:
        return
    for found in histograms(np.array(won, int), np.array(lost, int)):
        assert sum(found.shares) == pytest.approx(1)
        assert len(found.shares) <= BINS + 1
