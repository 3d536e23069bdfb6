"""Reading an answer's text piece by piece, with its limits of size; and the literals of numbers."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

from envs.grading.tree import Apply, Node, Number, Text, whole

MAX_LENGTH = 1000
"""Characters of the longest answer that is read as maths."""
MAX_DEPTH = 40
MAX_DIGITS = 100
"""Digits of the longest number, and the largest power of ten in scientific notation."""

_SPACE = re.compile(r"\s*")
_COMMAND = re.compile(r"\\[A-Za-z]+|\\.", re.DOTALL)
_DIGITS = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,]*\d)(?:\.\d+)?", re.ASCII)
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\{(\d+)\}", re.ASCII)
_ELLIPSIS = re.compile(r"(\d{0,20})\.(\d{0,4}?)(\d{1,4}?)\3{1,20}(?:\.\.\.|\u2026|\\l?dots)", re.ASCII)
_MIXED = re.compile(
    r"(\d+)(?:\s+(\d+)\s*/\s*(\d+)(?!\d)|\s*\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d)))", re.ASCII
)
_EXPONENT = re.compile(r"[eE][-+]?\d+(?![\w.])", re.ASCII)
_BASED = re.compile(r"([0-9A-Z]+)\s*_\s*(?:\{\s*(\d{1,2})\s*\}|(\d{1,2}))(?!\d)", re.ASCII)


class ParseError(ValueError):
    """The text is not maths that this parser reads."""


class TooLarge(ValueError):
    """The text is beyond the limits of size: nothing can be said about what it stands for."""


_Method = TypeVar("_Method", bound=Callable[..., Node])


def nested(method: _Method) -> _Method:
    """Count the depth of what can contain itself: the interpreter's stack must never be the limit."""

    @functools.wraps(method)
    def counted(self: Scanner, *args: Any) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"nested more than {MAX_DEPTH} deep")
        tree = method(self, *args)
        self.depth -= 1
        return tree

    return counted  # type: ignore[return-value]


class Scanner:
    """A text and a place in it; every method reads there and moves on."""

    def __init__(self, text: str, depth: int = 0, thousands: bool = True) -> None:
        self.text = text
        self.at = 0
        self.depth = depth
        self.brackets = 0 if thousands else 1  # inside brackets a comma separates, outside it may group digits
        self.bars = 0
        self.chained = 0
        self.skip()

    def skip(self) -> None:
        """Go over white space."""
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches anything

    def ended(self) -> bool:
        """Whether all is read."""
        return self.at >= len(self.text)

    def rest(self) -> str:
        """What is still to read."""
        return self.text[self.at :]

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read what `pattern` matches here, and the space behind it."""
        if match := pattern.match(self.text, self.at):
            self.at = match.end()
            self.skip()
        return match

    def next(self) -> str:
        """The command or sign that stands here, "" at the end."""
        if match := _COMMAND.match(self.text, self.at):
            return match[0]
        two = self.text[self.at : self.at + 2]
        return two if two in ("<=", ">=", "!=", "**") else two[:1]

    def accept(self, *signs: str) -> str | None:
        """Read one of these commands or signs."""
        found = self.next()
        if not found or found not in signs:
            return None
        self.at += len(found)
        self.skip()
        return found

    def expect(self, *signs: str) -> str:
        """Read one of these; ParseError where none is there."""
        found = self.accept(*signs)
        if found is None:
            raise ParseError(f"wanted {' or '.join(signs)}, found {self.rest()[:20]!r}")
        return found

    def chain(self) -> None:
        """Count the operators that make the tree deeper without nesting in the text: 8/2/2."""
        self.chained += 1
        if self.chained > MAX_DEPTH:
            raise TooLarge(f"more than {MAX_DEPTH} operators in a chain")

    def number(self) -> Node:
        """A literal in digits: 1,234 1.5e3 0.1\\overline{6} 1 1/2 2\\frac{1}{2} 2516_8."""
        if match := self.based():
            self.take(_BASED)
            return Apply("base", (Text(match[1]), Number(Fraction(match[2] or match[3]))))
        if match := self.take(_REPEATING) or self.take(_ELLIPSIS):  # 0.333... too
            before, fixed, repeated = match.groups()
            self.check_digits(match[0])
            shift = 10 ** len(fixed)
            cycle = Fraction(int(repeated), (10 ** len(repeated) - 1) * shift)
            return Number(Fraction(int(before or 0)) + Fraction(int(fixed or 0), shift) + cycle)
        if match := self.take(_MIXED):
            self.check_digits(match[0])
            ones, top, bottom = (whole(int(part)) for part in match.groups() if part)
            return Apply("mixed", (ones, Apply("/", (top, bottom))))
        return self.digits()

    def based(self) -> re.Match[str] | None:
        """`2516_8`, `152A_{11}`: digits that are digits of that base; F_2 and A_1 are variables."""
        match = _BASED.match(self.text, self.at)
        if match is None or len(match[1]) > MAX_DIGITS:
            return None
        base = int(match[2] or match[3])
        valid = 2 <= base <= 36 and (base > 10 or match[1].isdigit()) and all(int(c, 36) < base for c in match[1])
        return match if valid else None

    def digits(self) -> Number:
        """A decimal, with or without grouped digits and an exponent. Raises TooLarge beyond MAX_DIGITS."""
        match = (None if self.brackets else _THOUSANDS.match(self.text, self.at)) or _DIGITS.match(self.text, self.at)
        if not match:
            raise ParseError(f"wanted a number, found {self.rest()[:20]!r}")
        digits = match[0].replace(",", "")
        self.check_digits(digits)
        self.at = match.end()
        value = Fraction(digits + "0" if digits.endswith(".") else digits)
        if exponent := self.take(_EXPONENT):
            power = int(exponent[0][1:]) if len(exponent[0]) < 6 else MAX_DIGITS + 1
            if abs(power) > MAX_DIGITS:
                raise TooLarge(f"the exponent of {exponent[0]!r} is beyond {MAX_DIGITS}")
            value *= Fraction(10) ** power
        self.skip()
        return Number(value, len(digits.partition(".")[2]) if "." in digits else None)

    def check_digits(self, digits: str) -> None:
        """Raise TooLarge for a literal that is too long."""
        if len(digits) > MAX_DIGITS:
            raise TooLarge(f"a number of {len(digits)} digits: at most {MAX_DIGITS} are read")
