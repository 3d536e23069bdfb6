"""The two published checkers: what they accept, right or wrong, as the descriptions of their behaviour say."""

from __future__ import annotations

import pytest

from envs.grading import Outcome, grade

# response, reference, DeepSeekMath's verdict, Qwen2.5-Math's
CASES = [
    (r"so \boxed{5}", r"\boxed{5}", True, True),
    ("The answer is 5.", "#### 5", True, True),
    ("the last number is 5", "#### 5", True, True),
    ("final answer is $5$. I hope it is correct. Or 6.", "5", True, True),
    (r"\boxed{\dfrac12}", r"\frac{1}{2}", True, True),
    (r"\boxed{1/2}", r"\frac{1}{2}", True, True),
    (r"\boxed{5\text{ cm}}", "5", True, True),
    (r"\boxed{45^\circ}", "45", True, True),
    (r"\boxed{1,234}", "1234", True, True),
    (r"\boxed{(1, 0.5)}", r"(1,\frac{1}{2})", True, True),
    (r"\boxed{x=5}", "5", True, True),
    (r"\boxed{x^2+2x+1}", "(x+1)^2", True, True),
    (r"\boxed{1}, \boxed{2}", "1,2", True, False),  # DeepSeekMath takes all boxes, Qwen the last
    ("```output\n7\n```", "7", True, True),
    (r"\boxed{6}", "5", False, False),
    ("I do not know", "5", False, False),
    # Right to them, wrong in truth.
    (r"\boxed{0.0005}", "0", True, False),
    (r"\boxed{50}", "0.5", True, True),
    (r"\boxed{10000.5}", "10000", False, True),
]


@pytest.mark.parametrize(("response", "reference", "deepseek", "qwen"), CASES)
def test_verdicts(response: str, reference: str, deepseek: bool, qwen: bool) -> None:
    verdicts = [grade(response, reference, rules=rules).outcome is Outcome.CORRECT for rules in ("deepseek-math", "qwen2.5-math")]
    assert verdicts == [deepseek, qwen]


def test_an_unknown_rule_set_is_named() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'qwen2.5-math'"):
        grade("5", "5", rules="qwen2-math")
