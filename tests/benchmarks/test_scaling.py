from __future__ import annotations

import pytest

from benchmarks import scaling
from benchmarks.scaling import STEPS, Setting, sample, table, together, train


def test_every_counted_step_has_a_cost() -> None:
    assert len(found := train(Setting(16, 2, 512))) == STEPS
    assert min(found) > 0


def test_sampled_tokens_have_a_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "PASSES", 3)
    (found,) = sample(Setting(16, 2, 512))
    assert found > 0


def test_costs_stand_to_the_first_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """Medians of 3 and 6."""
    table(1, {"one": lambda: [2.0, 3.0, 9.0], "other": lambda: [6.0]})
    assert capsys.readouterr().out.splitlines() == ["| one | 3 (2 to 9) | 1.00 |", "| other | 6 (6 to 6) | 2.00 |"]


def test_a_process_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling.sys, "executable", "false")
    with pytest.raises(RuntimeError, match="2 processes: exit code 1"):
        together(2, 1)
