"""Is this response's answer the reference's? `grade(response, reference)`.

The answer is found by `envs.grading.extract`, read by `envs.grading.expression`, and compared by `envs.grading.compare`:
texts, exact numbers, structures, values. What these rules cannot tell is asked of computer algebra (`envs.grading.symbolic`)
in a process that can be killed. Any text may come in: no text raises, hangs, or has a time-out taken for a wrong answer.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from envs.grading import compare, extract, limits, published, symbolic
from envs.grading.expression import parse
from envs.grading.extract import Found, Kind, has_final_answer
from envs.grading.notation import plain, squeezed, tidy, unwrap
from envs.grading.scanner import ParseError, TooLarge
from envs.grading.tree import Apply, Node, Number, Text
from envs.hints import choose

__all__ = ["RULES", "Grade", "Kind", "Outcome", "grade", "has_final_answer", "kind_of"]


class Outcome(StrEnum):
    """What grading found. A bool would hide that no answer was found at all."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSEABLE = "unparseable"
    """no answer could be found or read in the response (or none in the reference)"""
    TIMEOUT = "timeout"
    """computer algebra was ended by its limit of time or memory: whether the answer is right is not known"""


@dataclass(frozen=True)
class Grade:
    """The outcome, the answers that were compared, where the response's was found, and the rule that decided."""

    outcome: Outcome
    answer: str | None
    reference: str | None
    found: str
    """boxed, hash, final answer, answer is, last letter, last span, bare, last number, or none"""
    rule: str
    """same text, text, choice, number, structure, unit, rounded, evaluated, symbolic; or why nothing could be compared: no answer,
    no choice, no reference, size limit, time or memory limit"""


RULES: dict[str, Callable[[str, str], bool | None]] = {
    "deepseek-math": published.deepseek_math,
    "qwen2.5-math": published.qwen_math,
}
"""Published checkers by name, for reproducing tables; what they do is in docs/grading.md."""


def grade(response: str, reference: str, kind: Kind | None = None, choices: Sequence[str] = (), rules: str | None = None) -> Grade:
    """Compare the final answer of `response` with that of `reference` (a worked solution or a bare answer).

    The answer is that of the last closed `\\boxed{...}`; else of the last of `#### x`, "Final Answer: x" and "the answer is x";
    else, with no explicit marker, the last number (a number is wanted), the letter that is meant (a choice is wanted), the last
    formula (maths is wanted) or the whole text if it is one line. What is said in thought does not count.

    Args:
        response: any text.
        reference: any text.
        kind: what is wanted (number, choice, math, text); by default what the reference looks like.
        choices: the texts of the choices A, B, ...: an answer that is one of them stands for its letter.
        rules: a key of `RULES` to grade as that published checker does.

    Raises ValueError for an unknown `kind` or `rules`, and envs.grading.symbolic.WorkerError where computer algebra is needed
    and cannot be started; no text raises anything.
    """
    if rules is not None:
        return _published(response, reference, choose("rules", rules, RULES))
    wanted = _reference(reference, kind if kind is None else choose("kind", kind, ("number", "choice", "math", "text")))
    if wanted is None:
        return Grade(Outcome.UNPARSEABLE, None, None, "none", "no reference")
    found = extract.explicit(response) or extract.fallback(response, wanted.kind, choices)
    if found is None:
        return Grade(Outcome.UNPARSEABLE, None, wanted.text, "none", "no answer")
    if wanted.items > 1 and found.rule == "boxed":
        found = _several(response, wanted.items, found)
    outcome, rule = _choice(found, wanted, choices) if wanted.kind == "choice" else _judge(found.answer, wanted)
    if wanted.kind == "text" and outcome is Outcome.WRONG and plain(found.line) == wanted.plain:
        outcome, rule = Outcome.CORRECT, "same text"  # "St. Louis" does not end with its first period
    return Grade(outcome, found.answer, wanted.text, found.rule, rule)


def kind_of(reference: str) -> Kind | None:
    """Return what a reference wants, None where it has no answer."""
    wanted = _reference(reference, None)
    return wanted.kind if wanted else None


@dataclass(frozen=True)
class _Wanted:
    """A reference, read once however many responses are compared with it."""

    text: str
    kind: Kind
    plain: str
    squeezed: str
    tree: Node | None
    rule: str
    """why there is no tree"""
    items: int
    simple: Fraction | None
    """the value of a number in plain digits"""


MAX_KEPT = 20_000
"""Characters of the longest reference that is kept as it was read."""


def _reference(reference: str, kind: Kind | None) -> _Wanted | None:
    return (_kept if len(reference) <= MAX_KEPT else _wanted)(reference, kind)


def _wanted(reference: str, kind: Kind | None) -> _Wanted | None:
    """Read a reference: the answer behind its marker, or all of it. Only where a number is asked for, its last one will do."""
    found = extract.explicit(reference)
    if found is None and kind == "number":
        found = extract.fallback(reference, "number")
    text = found.answer if found else "" if extract.has_blank_box(reference) else " ".join(reference.split())
    if not text.strip():
        return None
    simple = _simple(text)
    tree, rule = _read(text) if simple is None else (Number(simple), "")
    if kind is None:
        kind = "choice" if extract.is_choice(text) else _kind(tree)
    if kind == "choice" and extract.choice_of(text) is None:
        return None
    items = len(tree.args) if isinstance(tree, Apply) and tree.op in ("list", "set") else 1
    return _Wanted(text, kind, plain(text), squeezed(text), tree, rule, items, simple)


_kept = functools.lru_cache(maxsize=4096)(_wanted)
_SIMPLE = re.compile(r"\s*\$?(-?\d{1,3}(?:,\d{3}){1,4}|-?\d{1,15})((?:\.\d{1,3})?)\s*", re.ASCII)


def _simple(answer: str) -> Fraction | None:
    """The value of the commonest answers, plain digits, which need no parser (and no rounding: few places)."""
    match = _SIMPLE.fullmatch(answer)
    return Fraction(match[1].replace(",", "") + match[2]) if match else None


def _kind(tree: Node | None) -> Kind:
    if tree is None or isinstance(tree, Text):
        return "text"
    figure = tree.args[0] if isinstance(tree, Apply) and tree.op == "unit" else tree
    return "number" if compare.is_number(figure) else "math"


def _read(answer: str, thousands: bool = True) -> tuple[Node | None, str]:
    """Return the tree, or None and why there is none."""
    try:
        return parse(answer, thousands), ""
    except ParseError:
        return None, "unread"
    except TooLarge:
        return None, "size limit"


def _several(response: str, count: int, last: Found) -> Found:
    """Where a list is wanted and the last box holds one item, boxes joined by "and", "or" or commas are its items."""
    tree, _ = _read(last.answer)
    if isinstance(tree, Apply) and tree.op in ("list", "set", "pm", "mp"):
        return last
    boxed = extract.joined_boxes(extract.spoken(response))
    return Found(", ".join(boxed), "boxed") if len(boxed) == count else last


def _choice(found: Found, wanted: _Wanted, choices: Sequence[str]) -> tuple[Outcome, str]:
    """Compare letters; the text of a choice stands for its letter."""
    named = (extract.text_choice(text, choices) for text in (found.answer, found.line))
    letter = next(filter(None, named), None) or extract.choice_of(found.answer) or extract.letter_of(found.line, choices)
    if letter is None:
        return Outcome.UNPARSEABLE, "no choice"
    return Outcome.CORRECT if letter == extract.choice_of(wanted.text) else Outcome.WRONG, "choice"


def _judge(answer: str, wanted: _Wanted) -> tuple[Outcome, str]:
    """From the cheapest rule to the dearest; the first that can tell decides."""
    if wanted.simple is not None and (value := _simple(answer)) is not None:
        if value == wanted.simple:
            return Outcome.CORRECT, "number"
        if "," not in answer and "," not in wanted.text:
            return Outcome.WRONG, "number"
    if squeezed(answer) == wanted.squeezed or (_is_words(answer) and _is_words(wanted.text) and plain(answer) == wanted.plain):
        return Outcome.CORRECT, "same text"
    tree, why = _read(answer)
    for reason in (why, wanted.rule):
        if reason == "size limit":
            return Outcome.UNPARSEABLE, reason
    if tree is not None and wanted.tree is not None:
        try:
            verdict = compare.compare(tree, wanted.tree)
            if not verdict.same and (_GROUPED.search(answer) or _GROUPED.search(wanted.text)):
                verdict = _listed(answer, wanted.text) or verdict
        except TooLarge:
            return Outcome.UNPARSEABLE, "size limit"
        if verdict.same is not None:
            return Outcome.CORRECT if verdict.same else Outcome.WRONG, verdict.rule.name.lower()
    # Computer algebra is asked about what was read here and left open, and about what only it reads.
    if not all(side is not None or limits.is_beyond(text) for side, text in ((tree, answer), (wanted.tree, wanted.text))):
        return Outcome.WRONG, "text"
    return _SYMBOLIC[symbolic.compare(answer, wanted.text)]


def _is_words(answer: str) -> bool:
    return limits.is_words(unwrap(tidy(answer)))


def _listed(answer: str, wanted: str) -> compare.Verdict | None:
    """The verdict where both are the same with their commas between items, not within numbers: 60,120 are two angles."""
    tree, other = _read(answer, thousands=False)[0], _read(wanted, thousands=False)[0]
    verdict = compare.compare(tree, other) if tree and other else None
    return verdict if verdict and verdict.same else None


_GROUPED = re.compile(r"\d,\d{3}(?!\d)")

_SYMBOLIC = {
    symbolic.Symbolic.SAME: (Outcome.CORRECT, "symbolic"),
    symbolic.Symbolic.DIFFERENT: (Outcome.WRONG, "symbolic"),
    symbolic.Symbolic.UNREAD: (Outcome.WRONG, "text"),  # nobody reads both as maths, and as texts they differ
    symbolic.Symbolic.TOO_LARGE: (Outcome.UNPARSEABLE, "size limit"),
    symbolic.Symbolic.TIMEOUT: (Outcome.TIMEOUT, "time or memory limit"),
}


def _published(response: str, reference: str, rules: str) -> Grade:
    same = RULES[rules](response, reference)
    outcome = {True: Outcome.CORRECT, False: Outcome.WRONG, None: Outcome.TIMEOUT}[same]
    return Grade(outcome, None, None, rules, rules)
