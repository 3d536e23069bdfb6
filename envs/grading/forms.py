"""One answer in several forms: what is taken away or rewritten before two answers are compared."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from envs.grading.evaluate import agree, values, variables
from envs.grading.tree import FUNCTIONS, Apply, Node, Number, Symbol, Text, written
from envs.grading.units import is_unit

COLLECTIONS = frozenset(("list", "set", "union", "()", "[]", "(]", "[)", "matrix", "row", "ratio"))


def op(node: Node) -> str:
    """Return the operation of a tree, "" for a leaf."""
    return node.op if isinstance(node, Apply) else ""


def args(node: Node) -> tuple[Node, ...]:
    """Return the arguments of an operation, a leaf as the one argument of its own."""
    return node.args if isinstance(node, Apply) else (node,)


def answer(node: Node, other: Node) -> Node:
    """Take "x =" and "x \\in" away where the other side has none, and read inequalities as intervals."""
    if op(other) in ("=", "chain") and op(node) in ("=", "chain") and _interval(node) is None:
        return node
    if op(node) == "chain" and all(op(pair) == "=" for pair in args(node)):
        node = _chain_end(node)
    if op(node) == "in" and _is_name(args(node)[0]) and op(args(node)[1]):
        return args(node)[1]
    if op(node) == "=":
        left, right = args(node)
        if _is_name(right) and not _is_name(left):
            left, right = right, left
        return right if _names(left, right) else node
    if op(node) == "list" and not any(op(item) == "=" for item in args(other)) and _same_name(args(node)):
        # x = 1, x = 2; and y = 2, x = 1 is the point (1, 2)
        return Apply("list", tuple(args(item)[1] for item in sorted(args(node), key=lambda item: written(args(item)[0]))))
    if op(node) in ("list", "set") and (parts := [_interval(item) for item in args(node)]) and all(parts):
        return Apply("union", tuple(part for part in parts if part))  # x < -1 or x > 1
    return _interval(node) or node


def _chain_end(chain: Node) -> Node:
    """Of x = 2 + 3 = 5 the last equation whose sides agree, as x = 5; a chain with a false link stays as it is."""
    pairs = args(chain)
    links = [args(pair) for pair in pairs[1:]]
    if any(not variables(a) and not variables(b) and _agree(a, b) is False for a, b in links):
        return chain
    return Apply("=", (args(pairs[0])[0], args(pairs[-1])[1]))


def _names(left: Node, right: Node) -> bool:
    """Whether `left = right` says what something is: x = 5, f(x) = 2x, AB = 5, m + n = 42, 5 + 3 = 8; not 2x = 42 or 5 = 6.

    A sum of several variables that is 0 is an equation.
    """
    if isinstance(left, Symbol | Text):
        return True
    if not variables(left):
        return not isinstance(left, Number) and _agree(left, right) is True
    if _is_label(left):
        return True
    return not variables(right) and right != Number(Fraction(0)) and len(variables(left)) > 1


def _is_label(node: Node) -> bool:
    """f(x), f^{-1}(x), \\sin A, dy/dx: what stands for a value by its name."""
    if isinstance(node, Apply) and node.op == "*":
        first = node.args[0]
        return isinstance(first, Symbol) or (op(first) == "^" and isinstance(args(first)[0], Symbol))
    if isinstance(node, Apply) and node.op == "/":
        return all(isinstance(arg, Symbol) or _is_label(arg) for arg in node.args)
    return isinstance(node, Apply) and node.op in FUNCTIONS and len(node.args) == 1 and isinstance(node.args[0], Symbol)


def _same_name(items: Sequence[Node]) -> bool:
    """Whether all items are equations of a name: `x = 1, x = 2`, and `x = 1, y = 2` too where values alone are wanted."""
    return all(op(item) == "=" and isinstance(args(item)[0], Symbol) for item in items)


def _interval(node: Node) -> Node | None:
    """Return the set that an inequality in one variable describes: x > 2 is (2, inf), and x != 2 two such."""
    infinity = Symbol("inf")
    low, high = (Apply("neg", (infinity,)), False), (infinity, False)
    pairs = args(node) if op(node) == "chain" else (node,)
    for pair in pairs:
        if op(pair) not in ("<", ">", "<=", ">=", "!="):
            return None
        left, right = args(pair)
        sign = op(pair)
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


def flat(node: Node) -> Node:
    """A list with `\\pm 1` in it has both values as items."""
    if op(node) not in ("list", "set") or not any(map(_signs, args(node))):
        return node
    items = [item for each in args(node) for item in (args(expanded(each)) if _signs(each) else (each,))]
    return Apply(op(node), tuple(items))


def quantified(node: Node, other: Node) -> Node:
    """Read `5m`, `9.8 m/s^2` and `60 \\frac{\\text{km}}{\\text{h}}` as quantities where the other side has no variables."""
    top, below = args(node) if op(node) == "/" else (node, None)
    if variables(other) or op(top) != "*" or not isinstance(figure := args(top)[0], Number):
        return node
    rest = args(top)[1:]
    letters = "".join(arg.name for arg in rest if isinstance(arg, Symbol))
    if all(isinstance(arg, Symbol) for arg in rest) and is_unit(letters):
        return Apply("unit", (figure, Text(letters if below is None else f"{letters} per {written(below)}")))
    if below is None and all(map(_is_words, rest)):
        return Apply("unit", (figure, Text(" ".join(f"per {written(arg)}" for arg in rest))))
    return node


def _is_words(node: Node) -> bool:
    return isinstance(node, Text) or (op(node) in ("/", "^") and isinstance(args(node)[0], Text))


def expanded(node: Node) -> Node:
    """Write `a \\pm b` as the list of both."""
    signs = _signs(node)
    if not signs:
        return node
    return Apply("list", (_with_sign(node, False), _with_sign(node, True)))


def _signs(node: Node) -> bool:
    return isinstance(node, Apply) and node.op not in COLLECTIONS and (node.op in ("pm", "mp") or any(map(_signs, node.args)))


def _with_sign(node: Node, lower: bool) -> Node:
    if not isinstance(node, Apply):
        return node
    signed = tuple(_with_sign(arg, lower) for arg in node.args)
    if node.op not in ("pm", "mp"):
        return Apply(node.op, signed)
    return Apply("+", (signed[0], Apply("neg", (signed[1],)) if lower == (node.op == "pm") else signed[1]))


def _agree(a: Node, b: Node) -> bool | None:
    """Whether two constants have the same figure."""
    figures = [args(node)[0] if op(node) == "unit" else node for node in (a, b)]
    return agree(*(values(figure, 1)[0] for figure in figures))
