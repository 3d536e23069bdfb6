"""Are two answers the same? Structure by structure, then by value, each judgement with the rule that made it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

from envs.grading.evaluate import POINTS, Value, agree, values, variables
from envs.grading.notation import plain
from envs.grading.scanner import TooLarge
from envs.grading.tree import FUNCTIONS, Apply, Node, Number, Symbol, Text, written
from envs.grading.units import MULTIPLIERS, Unit, is_unit, unit_of

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
    got, expected = _answer(got, expected), _answer(expected, got)
    if _op(expected) in _RELATIONS and _op(got) in _RELATIONS:
        return _relations(got, expected)
    if (_op(expected) in _RELATIONS) != (_op(got) in _RELATIONS):
        return Verdict(False, Rule.STRUCTURE)
    got, expected = _expanded(_flat(got)), _expanded(_flat(expected))
    got, expected = _quantified(got, expected), _quantified(expected, got)
    if _op(got) in _COLLECTIONS or _op(expected) in _COLLECTIONS:
        return _collections(got, expected)
    if _op(got) == "unit" or _op(expected) == "unit":
        return _units(got, expected)
    if _op(got) == "base" or _op(expected) == "base":
        return _bases(got, expected)
    return _by_value(got, expected)


def is_number(node: Node) -> bool:
    """Return whether a tree is one number as it is written: -3, 1/2, 2 1/2, 5_8."""
    if isinstance(node, Apply) and node.op in ("neg", "/", "mixed"):
        return all(map(is_number, node.args))
    return isinstance(node, Number) or _op(node) == "base"


_RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!=", "in", "chain"))
_UNORDERED = frozenset(("list", "set", "union"))
_BRACKETS = frozenset(("()", "[]", "(]", "[)"))
_COLLECTIONS = _UNORDERED | _BRACKETS | {"matrix", "row", "ratio"}


def _op(node: Node) -> str:
    return node.op if isinstance(node, Apply) else ""


def _args(node: Node) -> tuple[Node, ...]:
    return node.args if isinstance(node, Apply) else (node,)


def _answer(node: Node, other: Node) -> Node:
    """Take "x =" and "x \\in" away where the other side has none, and read inequalities as intervals."""
    if _op(other) in ("=", "chain") and _op(node) in ("=", "chain") and _interval(node) is None:
        return node
    if _op(node) == "chain" and all(_op(pair) == "=" for pair in _args(node)):
        node = _chain_end(node)
    if _op(node) == "in" and _is_name(_args(node)[0]) and _op(_args(node)[1]):
        return _args(node)[1]
    if _op(node) == "=":
        left, right = _args(node)
        if _is_name(right) and not _is_name(left):
            left, right = right, left
        return right if _names(left, right) else node
    if _op(node) == "list" and not any(_op(item) == "=" for item in _args(other)) and _same_name(_args(node)):
        # x = 1, x = 2; and y = 2, x = 1 is the point (1, 2)
        return Apply("list", tuple(_args(item)[1] for item in sorted(_args(node), key=lambda item: written(_args(item)[0]))))
    if _op(node) in ("list", "set") and (parts := [_interval(item) for item in _args(node)]) and all(parts):
        return Apply("union", tuple(part for part in parts if part))  # x < -1 or x > 1
    return _interval(node) or node


def _chain_end(chain: Node) -> Node:
    """Of x = 2 + 3 = 5 the last equation whose sides agree, as x = 5; a chain with a false link stays as it is."""
    pairs = _args(chain)
    links = [_args(pair) for pair in pairs[1:]]
    if any(not variables(a) and not variables(b) and _by_value(a, b).same is False for a, b in links):
        return chain
    return Apply("=", (_args(pairs[0])[0], _args(pairs[-1])[1]))


def _names(left: Node, right: Node) -> bool:
    """Whether `left = right` says what something is: x = 5, f(x) = 2x, AB = 5, m + n = 42, 5 + 3 = 8; not 2x = 42 or 5 = 6.

    A sum of several variables that is 0 is an equation.
    """
    if isinstance(left, Symbol | Text):
        return True
    if not variables(left):
        return not isinstance(left, Number) and compare(left, right).same is True
    if _is_label(left):
        return True
    return not variables(right) and right != Number(Fraction(0)) and len(variables(left)) > 1


def _is_label(node: Node) -> bool:
    """f(x), f^{-1}(x), \\sin A, dy/dx: what stands for a value by its name."""
    if isinstance(node, Apply) and node.op == "*":
        first = node.args[0]
        return isinstance(first, Symbol) or (_op(first) == "^" and isinstance(_args(first)[0], Symbol))
    if isinstance(node, Apply) and node.op == "/":
        return all(isinstance(arg, Symbol) or _is_label(arg) for arg in node.args)
    return isinstance(node, Apply) and node.op in FUNCTIONS and len(node.args) == 1 and isinstance(node.args[0], Symbol)


def _same_name(items: Sequence[Node]) -> bool:
    """Whether all items are equations of a name: `x = 1, x = 2`, and `x = 1, y = 2` too where values alone are wanted."""
    return all(_op(item) == "=" and isinstance(_args(item)[0], Symbol) for item in items)


def _interval(node: Node) -> Node | None:
    """Return the set that an inequality in one variable describes: x > 2 is (2, inf), and x != 2 two such."""
    infinity = Symbol("inf")
    low, high = (Apply("neg", (infinity,)), False), (infinity, False)
    pairs = _args(node) if _op(node) == "chain" else (node,)
    for pair in pairs:
        if _op(pair) not in ("<", ">", "<=", ">=", "!="):
            return None
        left, right = _args(pair)
        sign = _op(pair)
        if _is_name(right) and not variables(left):
            left, right, sign = right, left, sign.translate(str.maketrans("<>", "><"))
        if not _is_name(left) or variables(right):
            return None
        if sign == "!=":
            parts = (Apply("()", (low[0], right)), Apply("()", (right, high[0])))
            return Apply("union", parts) if len(pairs) == 1 else None
        bound = (right, sign.endswith("="))
        low, high = (low, bound) if sign[0] == "<" else (bound, high)
    return Apply(("[" if low[1] else "(") + ("]" if high[1] else ")"), (low[0], high[0]))


def _is_name(node: Node) -> bool:
    return isinstance(node, Symbol) and bool(variables(node))


def _relations(got: Node, expected: Node) -> Verdict:
    """Equations are the same where one is a multiple of the other; other relations where their sides are."""
    if _op(got) != _op(expected):
        return Verdict(None, Rule.STRUCTURE)
    if _op(got) != "=":
        return _ordered(_args(got), _args(expected))
    (a, b), (c, d) = _args(got), _args(expected)
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


def _flat(node: Node) -> Node:
    """A list with `\\pm 1` in it has both values as items."""
    if _op(node) not in ("list", "set") or not any(map(_signs, _args(node))):
        return node
    items = [item for each in _args(node) for item in (_args(_expanded(each)) if _signs(each) else (each,))]
    return Apply(_op(node), tuple(items))


def _quantified(node: Node, other: Node) -> Node:
    """Read `5m`, `9.8 m/s^2` and `60 \\frac{\\text{km}}{\\text{h}}` as quantities where the other side has no variables."""
    top, below = _args(node) if _op(node) == "/" else (node, None)
    if variables(other) or _op(top) != "*" or not isinstance(figure := _args(top)[0], Number):
        return node
    rest = _args(top)[1:]
    letters = "".join(arg.name for arg in rest if isinstance(arg, Symbol))
    if all(isinstance(arg, Symbol) for arg in rest) and is_unit(letters):
        return Apply("unit", (figure, Text(letters if below is None else f"{letters} per {written(below)}")))
    if below is None and all(map(_is_words, rest)):
        return Apply("unit", (figure, Text(" ".join(f"per {written(arg)}" for arg in rest))))
    return node


def _is_words(node: Node) -> bool:
    return isinstance(node, Text) or (_op(node) in ("/", "^") and isinstance(_args(node)[0], Text))


def _expanded(node: Node) -> Node:
    """Write `a \\pm b` as the list of both."""
    signs = _signs(node)
    if not signs:
        return node
    return Apply("list", (_with_sign(node, False), _with_sign(node, True)))


def _signs(node: Node) -> bool:
    return isinstance(node, Apply) and node.op not in _COLLECTIONS and (node.op in ("pm", "mp") or any(map(_signs, node.args)))


def _with_sign(node: Node, lower: bool) -> Node:
    if not isinstance(node, Apply):
        return node
    args = tuple(_with_sign(arg, lower) for arg in node.args)
    if node.op not in ("pm", "mp"):
        return Apply(node.op, args)
    return Apply("+", (args[0], Apply("neg", (args[1],)) if lower == (node.op == "pm") else args[1]))


def _collections(got: Node, expected: Node) -> Verdict:
    a, b = _op(got), _op(expected)
    if ({a, b} <= _UNORDERED and "union" not in {a, b}) or a == b == "union":
        return _unordered(_args(got), _args(expected), alike="set" in (a, b))
    if a == b:
        return _ordered(_args(got), _args(expected))
    kinds = {a, b}
    if kinds == {"list", "()"}:  # "1, 2" for the point (1, 2)
        return _ordered(_args(got), _args(expected))
    if kinds in ({"()", "matrix"}, {"list", "matrix"}, {"[]", "matrix"}):  # a vector, standing or lying
        return _ordered(_entries(got), _entries(expected))
    if "set" in kinds and (single := _args(got if a == "set" else expected)) and len(single) == 1:
        return compare(single[0] if a == "set" else got, expected if a == "set" else single[0])
    if not kinds <= _COLLECTIONS and "ratio" in kinds:
        return _by_value(got, expected)  # 3:5 where 3/5 is wanted
    return Verdict(False, Rule.STRUCTURE)


def _entries(node: Node) -> tuple[Node, ...]:
    """The entries of a vector; a matrix that is none is left as it is, and equals no vector."""
    rows = _args(node)
    if _op(node) != "matrix":
        return rows
    if all(len(_args(row)) == 1 for row in rows):
        return tuple(_args(row)[0] for row in rows)
    return _args(rows[0]) if len(rows) == 1 else (node,)


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
    if (unit.sign or wanted.sign) and unit.sign != wanted.sign and _op(got) == _op(expected) == "unit":
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
    if _op(got) == _op(expected):
        return _by_value(got, expected)
    based, bare = (got, expected) if _op(got) == "base" else (expected, got)
    digits = _args(based)[0]
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
