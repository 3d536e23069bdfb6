"""Mathematical answers as trees, and what is built of them in more than one place."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Number:
    """An exact literal; `places` counts the digits after the point (None: it has no point)."""

    value: Fraction
    places: int | None = None


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable or a named constant (`pi`, `e`, `i`, `inf`)."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    words: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on its arguments.

    Arithmetic: + * / ^ neg mixed pm mp root abs floor ceil ! binom log and the functions of `FUNCTIONS`. Structure: list
    (commas alone), set, ( ), [ ], ( ] and [ ) as opening and closing bracket joined, matrix (of rows), row, union, ratio.
    Relations: = < > <= >= != in. Others: base (digits, base), unit (figure, Text).
    """

    op: str
    args: tuple[Node, ...]


Node: TypeAlias = Number | Symbol | Text | Apply


def names(text: str) -> frozenset[str]:
    """Return the words of `text`."""
    return frozenset(text.split())


FUNCTIONS = names("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln exp log lg gcd lcm max min det deg arg cis")
_FIGURES = names("+ * / ^ neg mixed root ! base ratio unit")


def joined(op: str, left: Node, right: Node) -> Apply:
    """Sums and products are flat, however long."""
    before = left.args if isinstance(left, Apply) and left.op == op else (left,)
    return Apply(op, (*before, right))


def measured(tree: Node) -> Node:
    """`2 + \\sqrt{3} cm` is so many centimetres: the unit behind the last term is that of the sum."""
    if not isinstance(tree, Apply) or tree.op != "+" or not isinstance(last := tree.args[-1], Apply) or last.op != "unit":
        return tree
    figure, unit = last.args
    if unit in (Text("%"), Text("°")) or not all(map(is_figure, tree.args[:-1])):
        return tree
    return Apply("unit", (Apply("+", (*tree.args[:-1], figure)), unit))


def negative(node: Node) -> Node:
    """Return a tree with the other sign; literals and quantities stay what they are."""
    if isinstance(node, Number):
        return Number(-node.value, node.places)
    if isinstance(node, Apply) and node.op == "unit":  # -5 degrees is a quantity
        return Apply("unit", (negative(node.args[0]), node.args[1]))
    return Apply("neg", (node,))


def whole(value: int) -> Number:
    """Return a whole number as a literal."""
    return Number(Fraction(value))


def is_figure(node: Node) -> bool:
    """Whether a unit may follow: a number, or arithmetic on numbers, without variables."""
    if isinstance(node, Number):
        return True
    if isinstance(node, Symbol | Text):
        return isinstance(node, Text) or node.name == "pi"
    return isinstance(node, Apply) and node.op in _FIGURES and all(is_figure(arg) for arg in node.args)


def written(node: Node) -> str:
    """A tree as text, for names and exponents of units."""
    if isinstance(node, Number):
        return str(node.value)
    if isinstance(node, Symbol):
        return node.name
    if isinstance(node, Text):
        return node.words
    return node.op + "".join(written(arg) for arg in node.args)
