"""Are two answers the same? Structure by structure, then by value, each judgement with the rule that made it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

from envs.grading.evaluate import POINTS, Value, agree, values, variables
from envs.grading.forms import COLLECTIONS, answer, args, expanded, flat, op, quantified
from envs.grading.notation import plain
from envs.grading.scanner import TooLarge
from envs.grading.tree import Apply, Node, Number, Symbol, Text
from envs.grading.units import MULTIPLIERS, Unit, unit_of

MAX_ITEMS = 50
ROUNDED_PLACES = 4
"""A decimal with at least so many places stands for what rounds to it: 0.3333 is 1/3, and 0.33 is not."""


class Rule(IntEnum):
    """What decided, from the surest to the least sure. A comparison of parts is as sure as its least sure part."""

    TEXT = 0
    NUMBER = 1
    STRUCTURE = 2
    UNIT = 3
    ROUNDED = 4
    EVALUATED = 5


class Verdict(NamedTuple):
    """`same` None: these rules cannot tell."""

    same: bool | None
    rule: Rule


def compare(got: Node, expected: Node) -> Verdict:
    """Return whether `got` is the answer `expected`. Raises TooLarge beyond the limits of size.

    The order matters where one side says less than the other: a unit, a base, or the name before `=` may be missing.
    """
    if got == expected:
        return Verdict(True, Rule.STRUCTURE)
    got, expected = answer(got, expected), answer(expected, got)
    if op(expected) in _RELATIONS and op(got) in _RELATIONS:
        return _relations(got, expected)
    if (op(expected) in _RELATIONS) != (op(got) in _RELATIONS):
        return Verdict(False, Rule.STRUCTURE)
    got, expected = expanded(flat(got)), expanded(flat(expected))
    got, expected = quantified(got, expected), quantified(expected, got)
    if op(got) in COLLECTIONS or op(expected) in COLLECTIONS:
        return _collections(got, expected)
    if op(got) == "unit" or op(expected) == "unit":
        return _units(got, expected)
    if op(got) == "base" or op(expected) == "base":
        return _bases(got, expected)
    return _by_value(got, expected)


def is_number(node: Node) -> bool:
    """Return whether a tree is one number as it is written: -3, 1/2, 2 1/2, 5_8."""
    if isinstance(node, Apply) and node.op in ("neg", "/", "mixed"):
        return all(map(is_number, node.args))
    return isinstance(node, Number) or op(node) == "base"


_RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!=", "in", "chain"))
_UNORDERED = frozenset(("list", "set", "union"))


def _relations(got: Node, expected: Node) -> Verdict:
    """Equations are the same where one is a multiple of the other; other relations where their sides are."""
    if op(got) != op(expected):
        return Verdict(None, Rule.STRUCTURE)
    if op(got) != "=":
        return _ordered(args(got), args(expected))
    (a, b), (c, d) = args(got), args(expected)
    if isinstance(a, Symbol) and a == c:
        return compare(b, d)
    ratios: list[Value | None] = []
    for x, y in zip(_differences(a, b), _differences(c, d), strict=True):
        if x is None or y is None or not y:
            return Verdict(None, Rule.EVALUATED)
        ratios.append(x / y)
    same = [agree(ratio, ratios[0]) for ratio in ratios[1:]]
    if ratios[0] == 0 or False in same:
        return Verdict(False, Rule.EVALUATED)
    return Verdict(None if None in same else True, Rule.EVALUATED)


def _differences(left: Node, right: Node) -> list[Value | None]:
    return values(Apply("+", (left, Apply("neg", (right,)))), POINTS)


def _collections(got: Node, expected: Node) -> Verdict:
    a, b = op(got), op(expected)
    if ({a, b} <= _UNORDERED and "union" not in {a, b}) or a == b == "union":
        return _unordered(args(got), args(expected), alike="set" in (a, b))
    if a == b:
        return _ordered(args(got), args(expected))
    kinds = {a, b}
    if kinds == {"list", "()"}:  # "1, 2" for the point (1, 2)
        return _ordered(args(got), args(expected))
    if kinds in ({"()", "matrix"}, {"list", "matrix"}, {"[]", "matrix"}):  # a vector, standing or lying
        return _ordered(_entries(got), _entries(expected))
    if "set" in kinds and (single := args(got if a == "set" else expected)) and len(single) == 1:
        return compare(single[0] if a == "set" else got, expected if a == "set" else single[0])
    if not kinds <= COLLECTIONS and "ratio" in kinds:
        return _by_value(got, expected)  # 3:5 where 3/5 is wanted
    return Verdict(False, Rule.STRUCTURE)


def _entries(node: Node) -> tuple[Node, ...]:
    """The entries of a vector; a matrix that is none is left as it is, and equals no vector."""
    rows = args(node)
    if op(node) != "matrix":
        return rows
    if all(len(args(row)) == 1 for row in rows):
        return tuple(args(row)[0] for row in rows)
    return args(rows[0]) if len(rows) == 1 else (node,)


def _ordered(got: Sequence[Node], expected: Sequence[Node]) -> Verdict:
    if len(got) != len(expected):
        return Verdict(False, Rule.STRUCTURE)
    return _all([compare(a, b) for a, b in zip(got, expected, strict=True)])


def _all(verdicts: Sequence[Verdict]) -> Verdict:
    for verdict in verdicts:
        if verdict.same is False:
            return verdict
    rule = max((verdict.rule for verdict in verdicts), default=Rule.STRUCTURE)
    return Verdict(None if any(v.same is None for v in verdicts) else True, rule)


def _unordered(got: Sequence[Node], expected: Sequence[Node], alike: bool) -> Verdict:
    """Match each expected item with one of its own; with `alike`, items that are the same count once."""
    if len(got) > MAX_ITEMS or len(expected) > MAX_ITEMS:
        raise TooLarge(f"more than {MAX_ITEMS} items")
    if alike:
        got, expected = _distinct(got), _distinct(expected)
    if len(got) != len(expected):
        return Verdict(False, Rule.STRUCTURE)
    left = list(got)
    rule = Rule.NUMBER
    for item in expected:
        verdicts = [compare(other, item) for other in left]
        found = next((i for i, verdict in enumerate(verdicts) if verdict.same), None)
        if found is None:
            open_ = any(verdict.same is None for verdict in verdicts)
            return Verdict(None if open_ else False, max(verdict.rule for verdict in verdicts))
        rule = max(rule, verdicts[found].rule)
        del left[found]
    return Verdict(True, rule)


def _distinct(items: Sequence[Node]) -> list[Node]:
    kept: list[Node] = []
    for item in items:
        if not any(compare(item, other).same for other in kept):
            kept.append(item)
    return kept


def _units(got: Node, expected: Node) -> Verdict:
    """Figures are compared where a unit is missing or unknown, quantities where both are known."""
    (a, unit), (b, wanted) = _quantity(got), _quantity(expected)
    if unit is None or wanted is None:
        return Verdict(False, Rule.UNIT)
    if (unit.sign or wanted.sign) and unit.sign != wanted.sign and op(got) == op(expected) == "unit":
        return Verdict(False, Rule.UNIT)  # 30 degrees and 30 percent, 50% and 50 apples
    if unit.kind and wanted.kind:
        same = unit.kind == wanted.kind and compare(_scaled(a, unit.factor), _scaled(b, wanted.factor)).same
        return Verdict(same, Rule.UNIT)
    same = compare(a, b).same
    if not same and unit.kind == wanted.kind == "":  # 50% where 1/2 is wanted
        same = compare(_scaled(a, unit.factor), _scaled(b, wanted.factor)).same
    return Verdict(same, Rule.UNIT)


def _quantity(node: Node) -> tuple[Node, Unit | None]:
    """Return figure and unit; what multiplies ("$5 million") goes to the figure."""
    words: list[str] = []
    while isinstance(node, Apply) and node.op == "unit":
        node, name = node.args
        words.insert(0, name.words if isinstance(name, Text) else "")
    words.sort(key=lambda name: name.split()[:1] not in ([m] for m in MULTIPLIERS))
    unit = unit_of(" ".join(words))
    return (_scaled(node, unit.multiplier) if unit else node), unit


def _scaled(figure: Node, factor: Value) -> Node:
    if factor == 1:
        return figure
    exact = factor if isinstance(factor, Fraction) else Fraction(abs(factor))
    if isinstance(figure, Number):
        return Number(figure.value * exact)
    return Apply("*", (figure, Number(exact)))


def _bases(got: Node, expected: Node) -> Verdict:
    """Digits alone may stand for the base that is wanted; two bases are compared by value."""
    if op(got) == op(expected):
        return _by_value(got, expected)
    based, bare = (got, expected) if op(got) == "base" else (expected, got)
    digits = args(based)[0]
    if isinstance(bare, Number) and isinstance(digits, Text):
        return Verdict(bare.places is None and str(bare.value) == digits.words.lstrip("0"), Rule.UNIT)
    return Verdict(None if variables(bare) else False, Rule.UNIT)


def _by_value(got: Node, expected: Node) -> Verdict:
    if isinstance(got, Text) or isinstance(expected, Text):
        words = isinstance(got, Text) and isinstance(expected, Text) and plain(got.words) == plain(expected.words)
        return Verdict(words, Rule.TEXT)
    if isinstance(got, Number) and isinstance(expected, Number) and got.value == expected.value:
        return Verdict(True, Rule.NUMBER)
    free = variables(got) | variables(expected)
    pairs = list(zip(values(got, POINTS if free else 1), values(expected, POINTS if free else 1), strict=True))
    same = [agree(a, b) for a, b in pairs]
    if False in same:
        if not free and any(_rounds(*pair, decimal) for pair in pairs for decimal in (got, expected)):
            return Verdict(True, Rule.ROUNDED)
        return Verdict(None if True in same else False, _rule(pairs))
    enough = sum(1 for verdict in same if verdict) >= (2 if free else 1)
    return Verdict(True if enough else None, _rule(pairs))


def _rule(pairs: Sequence[tuple[Value | None, Value | None]]) -> Rule:
    exact = len(pairs) == 1 and all(isinstance(x, Fraction) for x in pairs[0])
    return Rule.NUMBER if exact else Rule.EVALUATED


def _rounds(a: Value | None, b: Value | None, decimal: Node) -> bool:
    """Whether `decimal`, one of the two, is the other rounded to its own places, with four figures that mean something."""
    places = decimal.places if isinstance(decimal, Number) else None
    if places is None or places < ROUNDED_PLACES or not isinstance(decimal, Number) or abs(decimal.value) * 10**places < 1000:
        return False
    if isinstance(a, complex) or isinstance(b, complex) or a is None or b is None:
        return False
    return abs(Fraction(a) - Fraction(b)) * 2 <= Fraction(1, 10**places) if abs(a) < 1e30 and abs(b) < 1e30 else False
