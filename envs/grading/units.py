"""Units behind figures: which are the same, which convert, and which words multiply."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from envs.grading.evaluate import Value
from envs.grading.tree import names

MULTIPLIERS = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
MAX_WORDS = 6
NOT_UNITS = names("and or to times half halves over plus than minus divided quarter quarters")
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
}  # fmt: skip
_KNOWN = {name: (kind, factor) for kind, table in _TABLE.items() for names, factor in table.items() for name in names.split()}
_DIMENSIONLESS: dict[str, Value] = {"%": Fraction(1, 100), "percent": Fraction(1, 100), "°": math.pi / 180, "degree": math.pi / 180}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """`kind` is what it measures with its power ("length^2"), "" for a pure number, None where it is not known here."""

    kind: str | None
    factor: Value = Fraction(1)
    multiplier: Fraction = Fraction(1)
    """part of the figure: 5 million is not 5"""


def unit_of(words: str) -> Unit | None:
    """Return what the words behind a figure mean, None where they make another claim of it ("5 times", "5 or")."""
    names = words.lower().replace(".", "").split()
    if any(name in NOT_UNITS for name in names) or len(names) > MAX_WORDS:
        return None
    multiplier = Fraction(1)
    while names and names[0] in MULTIPLIERS:
        multiplier *= MULTIPLIERS[names.pop(0)]
    power = 1
    if names and names[0] in _POWERS:
        power = _POWERS[names.pop(0)]
    elif len(names) == 2 and (match := re.fullmatch(r"\^(\d)", names[1])):
        power = int(match[1])
        names.pop()
    if not names:
        return Unit("", multiplier=multiplier)
    name = names[0] if names[0] in _KNOWN else names[0].rstrip("s")
    if name in _DIMENSIONLESS:
        return Unit("", _DIMENSIONLESS[name], multiplier)
    if len(names) > 1 or name not in _KNOWN:
        return Unit(None, multiplier=multiplier)
    kind, size = _KNOWN[name]
    return Unit(kind if power == 1 else f"{kind}^{power}", Fraction(size) ** power, multiplier)
