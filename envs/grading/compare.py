"""Answers as values that `==` compares: exact fractions, choice letters, or normalised text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

Kind = Literal["number", "choice", "text"]

MAX_DIGITS = 100  # longer numbers are compared as text: an int of unlimited size could take unlimited time
MAX_EXPONENT = 100

NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,33}(?!\d)|\d+)?(?:\.\d+|(?<=\d)\.(?!\d))?"
_DECIMAL = re.compile(rf"([-+]?)({NUMBER})(?:[eE]([-+]?\d{{1,4}}))?", re.ASCII)
_FRACTION = re.compile(r"([-+]?)\\frac\{([^{}]*)\}\{([^{}]*)\}")
# "B", "(B)", "B. a bank", "B because ...", and not the article of "A dog" or the pronoun "I think".
CHOICE = re.compile(r"\(([A-J])\)|([A-J])(?=[.:)]?\s*$)|([A-J])[.:)](?=\s)|([B-HJ])(?=\s)")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|mathrm|mathbf)\{([^{}]*)\}")

# What changes how an answer looks and not what it is. Order matters: `\left` after `\leftarrow` would be another
# command.
_LOOKS = (
    (re.compile(r"\\[dt]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])\.?"), ""),
    (re.compile(r"(?<!\\)\\[!,;: ]|\\q?quad(?![A-Za-z])|~"), ""),
    (re.compile(r"\\?[$%]|\^(?:\\circ(?![A-Za-z])|\{\\circ\})|\u00b0"), ""),
    (re.compile(r"\\[()\[\]]"), ""),
    (re.compile("\u2212"), "-"),
    (re.compile(r"\s+"), ""),
    (re.compile(r"^[A-Za-z]="), ""),  # x = 5 is 5
    (re.compile(r"\\sqrt([0-9A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\frac([0-9A-Za-z])"), r"\\frac{\1}"),
    (re.compile(r"(\\frac\{[^{}]*(?:\{[^{}]*\}[^{}]*)?\})([0-9A-Za-z])"), r"\1{\2}"),
)


@dataclass(frozen=True)
class Value:
    """What an answer stands for. Two answers are equal when kind and value are."""

    kind: Kind
    value: Fraction | str


def value_of(answer: str, wanted: Kind | None = None) -> Value:
    """Return what `answer` stands for: a number if it reads as one, else a choice letter A to J, else its text.

    `wanted` is the reference's kind. "5 apples" is the number 5 where a number is wanted, and "(B) a bank" the choice B
    where a choice is wanted.
    """
    text = normalise(answer)
    number = parse_number(text)
    if number is None and wanted == "number":
        number = _with_unit(answer)
    if number is not None:
        return Value("number", number)
    choice = CHOICE.fullmatch(text) or (wanted == "choice" and CHOICE.match(answer.strip()))
    return Value("choice", next(filter(None, choice.groups()))) if choice else Value("text", text)


def normalise(answer: str) -> str:
    """Return the answer without what only changes its looks: spaces, `$`, `%`, `\\text{}`, a last period."""
    text = _unwrapped(answer)
    for pattern, replacement in _LOOKS:
        text = pattern.sub(replacement, text)
    text = text.removesuffix(".")
    return text.removeprefix("{").removesuffix("}") if re.fullmatch(r"\{[^{}]*\}", text) else text


def _unwrapped(text: str) -> str:
    for _ in range(3):  # \text{\textbf{(B)}}: a few levels, never a loop over hostile input
        text = _TEXT.sub(r"\1", text)
    return text


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of a normalised text (1,234  -3.50  2e3  3/4  \\frac{3}{4}), None for anything else.

    A number too large to be an answer (see MAX_DIGITS and MAX_EXPONENT) is None too.
    """
    if len(text) > 2 * MAX_DIGITS:
        return None
    if match := _FRACTION.fullmatch(text):
        top, bottom = _decimal(match[2]), _decimal(match[3])
        return None if top is None or not bottom else (-1 if match[1] == "-" else 1) * top / bottom
    if "/" in text:
        top, bottom = (_decimal(part) for part in text.split("/", 1))
        return None if top is None or not bottom else top / bottom
    return _decimal(text)


def _decimal(text: str) -> Fraction | None:
    match = _DECIMAL.fullmatch(text)
    if not match or not match[2] or len(match[2]) > MAX_DIGITS or abs(int(match[3] or 0)) > MAX_EXPONENT:
        return None
    return Fraction(Decimal(match[0].replace(",", "")))


# Words after a number that make another number or another claim of it.
_NOT_UNITS = {
    "hundred",
    "thousand",
    "million",
    "billion",
    "trillion",
    "dozen",
    "and",
    "or",
    "to",
    "times",
    "half",
    "over",
    "plus",
}


def _with_unit(answer: str) -> Fraction | None:
    """Read "18 dollars" or "5 \\text{ apples per day}" as 18 and 5: a number, then at most three words."""
    number, *words = _unwrapped(answer).split(maxsplit=4) or [""]
    words = [word.replace(".", "").lower() for word in words]
    if len(words) > 3 or not all(word.isalpha() and word not in _NOT_UNITS for word in words):
        return None
    return parse_number(normalise(number))
