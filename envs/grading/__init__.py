"""Is this response's answer the reference's? `grade(response, reference)`.

The answer is extracted by `envs.grading.extract` and compared exactly by `envs.grading.compare`: numbers by value, all
else by its text after normalisation. Any text may come in: nothing here raises, and the time is linear in the length of
the texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from envs.grading.compare import Value, value_of
from envs.grading.extract import explicit, fallback, has_final_answer

__all__ = ["Grade", "Outcome", "grade", "has_final_answer"]


class Outcome(StrEnum):
    """What grading found. A bool would hide that no answer was found at all."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSEABLE = "unparseable"  # no answer could be found in the response (or none in the reference)
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Grade:
    """The outcome, with the answer found in the response, the reference's, and the rule that found the response's."""

    outcome: Outcome
    answer: str | None
    reference: str | None
    rule: str


def grade(response: str, reference: str) -> Grade:
    """Compare the final answer of `response` with that of `reference` (a worked solution or a bare answer).

    The rules, in order: the last closed `\\boxed{...}`; the last `#### x`; "Final Answer: x" and "the answer is x";
    then, with no explicit marker, the last number (a number is wanted), a lone letter (a choice is wanted) or the whole
    text if it is one line.
    """
    wanted = _reference(reference)
    if wanted is None:
        return Grade(Outcome.UNPARSEABLE, None, None, "no reference")
    expected = value_of(wanted)
    found = explicit(response) or fallback(response, expected.kind)
    if found is None:
        return Grade(Outcome.UNPARSEABLE, None, wanted, "none")
    got = value_of(found.answer, expected.kind)
    return Grade(Outcome.CORRECT if _same(got, expected) else Outcome.WRONG, found.answer, wanted, found.rule)


def _reference(reference: str) -> str | None:
    found = explicit(reference) or fallback(reference, "text") or fallback(reference, "number")
    return found.answer if found else None


def _same(got: Value, expected: Value) -> bool:
    return got.kind == expected.kind and got.value == expected.value
