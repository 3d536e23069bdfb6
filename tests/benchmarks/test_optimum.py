from __future__ import annotations

import pytest

from benchmarks.optimum import trained


@pytest.mark.parametrize("learner", ["oreo token", "dvo, exact V", "dro"])
def test_the_training_loop_brings_a_model_to_the_exact_optimum(learner: str) -> None:
    """A small Llama, through Learner: total variation from pi* and distance from V*, the worst over all states."""
    (found,) = trained(200, 3e-3, ["tree"], [learner])
    assert found.policy < 1e-3
    assert found.value is None or found.value < 1e-3
