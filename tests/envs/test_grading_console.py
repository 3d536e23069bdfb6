"""`python -m envs.grading`: the grade on the terminal, and its exit status."""

from __future__ import annotations

import pytest

from envs.grading.__main__ import Args, main


def test_a_grade_is_printed_and_is_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args("The answer is 50%.", "1/2")) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("correct", "50%", "answer is", "unit"))
    assert main(Args("The answer is 51%.", "1/2")) == 1


def test_unknown_rules_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args("5", "5", rules="qwen")) == 2
    assert "wanted one of" in capsys.readouterr().err
