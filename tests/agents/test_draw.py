"""Drawing tokens: filters and draws by hand, and against the plain definition over large vocabularies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents import draw as module
from agents.draw import BLOCK, draw, filtered, inverse_cdf
from agents.sampling import Sampling


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="wanted temperature >= 0"):
        Sampling(temperature=temperature)


def test_filters_by_hand() -> None:
    """Probabilities .5 .25 .15 .1: top-2 keeps the first two; top_p .7 keeps .5 and .25 (.5 alone is short of .7)."""
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    torch.testing.assert_close(filtered(logits, Sampling(top_k=2)), torch.tensor([[2 / 3, 1 / 3, 0.0, 0.0]]))
    torch.testing.assert_close(filtered(logits, Sampling(top_p=0.7)), torch.tensor([[0.5, 0.25, 0.0, 0.0]]))
    squares = torch.tensor([[0.25, 0.0625, 0.0225, 0.01]])
    torch.testing.assert_close(filtered(logits, Sampling(temperature=0.5)), squares / squares.sum())


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 1), (0.19, 1), (0.21, 3), (0.9999999, 3)])
def test_inverse_cdf_never_draws_probability_zero(uniform: float, token: int) -> None:
    probs = torch.tensor([[0.0, 0.2, 0.0, 0.8, 0.0]])
    assert inverse_cdf(probs, torch.tensor([uniform], dtype=torch.float64)).item() == token


def test_samples_follow_the_distribution() -> None:
    """10,000 draws of (.1, .2, .7): counts within four standard deviations."""
    probs = torch.tensor([[0.1, 0.2, 0.7]]).expand(10_000, -1)
    drawn = inverse_cdf(probs, torch.from_numpy(np.random.default_rng(0).random(10_000)))
    for token, p in enumerate((0.1, 0.2, 0.7)):
        assert abs((drawn == token).sum().item() - 10_000 * p) < 4 * (10_000 * p * (1 - p)) ** 0.5


@given(size=st.sampled_from([2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 1000]), seed=st.integers(0, 2**16), sparse=st.booleans())
def test_a_draw_is_the_first_whose_running_sum_is_above(size: int, seed: int, sparse: bool) -> None:
    """Weights of sixteenths, whose sums are exact, and a number of them that no sum is: numpy's definition."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 16, (4, size)) * (rng.random((4, size)) < (0.02 if sparse else 1.0)) / 16.0
    weights[:, rng.integers(size)] = 1.0
    uniform = (rng.integers(0, (total := weights.sum(-1)) * 16) + 0.5) / 16 / total
    drawn = inverse_cdf(torch.from_numpy(weights).float(), torch.from_numpy(uniform))
    expected = [int(np.searchsorted(row.cumsum(), u * t, side="right")) for row, u, t in zip(weights, uniform, total, strict=True)]
    assert drawn.tolist() == expected


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.0), Sampling(temperature=0.7, top_k=50, top_p=0.9)])
def test_log_probabilities_are_the_models_own(sampling: Sampling) -> None:
    logits = 10 * torch.randn(7, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    picked, logp = draw(logits, sampling, torch.linspace(0, 0.99, 7, dtype=torch.float64))
    torch.testing.assert_close(logp.double(), logits.log_softmax(-1).gather(-1, picked[:, None])[:, 0], atol=1e-5, rtol=0)


def test_the_most_likely_token_needs_no_number() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    assert draw(logits, Sampling(temperature=0.0), torch.zeros(2, dtype=torch.float64))[0].tolist() == [1, 0]


def test_rows_are_drawn_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, uniform = torch.randn(9, 600), torch.rand(9, dtype=torch.float64)
    whole = draw(logits, Sampling(), uniform)
    monkeypatch.setattr(module, "CACHED", 1300)  # two rows
    assert all(torch.equal(a, b) for a, b in zip(draw(logits, Sampling(), uniform), whole, strict=True))
