"""Units behind figures: which are the same, which convert, and which words multiply."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from envs.grading.evaluate import Value
from envs.grading.tree import names

_ORDINALS = ("third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
MULTIPLIERS: dict[str, Fraction] = {
    **{name: Fraction(value) for name, value in {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6}.items()},
    **{name: Fraction(value) for name, value in {"billion": 10**9, "trillion": 10**12}.items()},
    **{f"{name}{ending}": Fraction(1, n) for n, name in enumerate(_ORDINALS, 3) for ending in ("", "s")},
    "halves": Fraction(1, 2),
}
"""Words behind a number that multiply it: 5 million, 2 thirds."""
MAX_WORDS = 6
NOT_UNITS = names(
    "and or to times half over plus than minus divided quarter quarters squared cubed factorial below above least most more less"
)
"""Words behind a number that make another number, or another claim, of it."""

_TABLE: dict[str, dict[str, Fraction | float | int]] = {
    "length": {
        "mm millimeter millimetre": Fraction(1, 1000), "cm centimeter centimetre": Fraction(1, 100), "m meter metre": 1,
        "km kilometer kilometre": 1000, "in inch inche": Fraction(254, 10000), "ft foot feet": Fraction(3048, 10000),
        "yd yard": Fraction(9144, 10000), "mi mile": Fraction(1609344, 1000),
    },
    "time": {
        "s sec second": 1, "min minute": 60, "h hr hour": 3600, "day": 86400, "week": 604800, "month": 2629746, "year yr": 31556952,
    },
    "mass": {
        "mg milligram": Fraction(1, 1000), "g gram": 1, "kg kilogram kilo": 1000, "oz ounce": Fraction("28.349523125"),
        "lb pound": Fraction("453.59237"),
    },
    "volume": {"ml milliliter millilitre": Fraction(1, 1000), "l liter litre": 1},
    "money": {"cent": Fraction(1, 100), "dollar": 1},
    "euro": {"euro": 1},
    "sterling": {"sterling": 1},
    "before noon": {"am": 1},
    "after noon": {"pm": 1},
}  # fmt: skip
_KNOWN = {name: (kind, Fraction(size)) for kind, table in _TABLE.items() for line, size in table.items() for name in line.split()}
_DIMENSIONLESS: dict[str, Value] = {"%": Fraction(1, 100), "percent": Fraction(1, 100), "°": math.pi / 180, "degree": math.pi / 180}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """`kind` is what it measures with its power ("length^2"), "" for a pure number, None where it is not known here."""

    kind: str | None
    factor: Value = Fraction(1)
    multiplier: Fraction = Fraction(1)
    """part of the figure: 5 million is not 5"""
    sign: str = ""
    """"%" or "°": units that make no apples of a number"""


def unit_of(words: str) -> Unit | None:
    """Return what the words behind a figure mean, None where they make another claim of it ("5 times", "5 or")."""
    said = words.lower().replace(".", "").replace("-", " ").split()
    said = said[1:] if said[:1] == ["of"] else said
    said = said[1:] if said[:1] == ["a"] else said
    if any(word in NOT_UNITS for word in said) or len(said) > MAX_WORDS:
        return None
    multiplier = Fraction(1)
    while said and said[0] in MULTIPLIERS:
        multiplier *= MULTIPLIERS[said.pop(0)]
    power = 1
    if said and said[0] in _POWERS:
        power = _POWERS[said.pop(0)]
    elif len(said) == 2 and (match := re.fullmatch(r"\^(\d)", said[1])):
        power = int(match[1])
        said.pop()
    if not said:
        return Unit("", multiplier=multiplier)
    name = _name(said[0])
    if name in _DIMENSIONLESS and len(said) == 1:
        return Unit("", _DIMENSIONLESS[name], multiplier, "%" if name in ("%", "percent") else "°")
    if len(said) > 1 or name not in _KNOWN:
        return Unit(None, multiplier=multiplier)
    kind, size = _KNOWN[name]
    return Unit(kind if power == 1 else f"{kind}^{power}", size**power, multiplier)


def is_unit(word: str) -> bool:
    """Return whether a word without a space before it is a unit: 42kg, 5m, 30mph."""
    return _name(word.lower()) in _KNOWN or word.lower() in ("mph", "kph", "rpm", "dozen")


def _name(word: str) -> str:
    return word if word in _KNOWN else word.rstrip("s")
