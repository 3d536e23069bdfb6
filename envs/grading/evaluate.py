"""What an expression is worth: exact fractions where it can be, else floats, at fixed values of its variables.

Two expressions that differ at a point are different; two that agree at all points, of both signs, to eleven digits are
taken to be equal (a polynomial identity of this size would have to be false and hold at four unrelated points). What lies
between, or is not defined at enough points, is left to a computer algebra system.
"""

from __future__ import annotations

import cmath
import math
import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from envs.grading.scanner import TooLarge
from envs.grading.tree import Apply, Node, Number, Symbol, Text

Value: TypeAlias = Fraction | float | complex

POINTS = 4
MAX_BITS = 2**15
"""Size of the largest exact number; larger ones are floats, as far as those reach."""
MAX_FACTORIAL = 2500

EQUAL, DIFFERENT = 1e-11, 1e-7
"""Relative differences up to which values are equal, and from which on they are different."""
TINY = 1e-9
"""Inexact values that are both below this say nothing of each other: they may be what rounding left of 0."""
LARGE = 1e8
"""Above it, a whole part could hide that what is behind the point differs."""

_FACTORS: dict[Node, Value] = {Text("%"): Fraction(1, 100), Text("°"): math.pi / 180}
_CONSTANTS: dict[str, Value] = {"pi": math.pi, "e": math.e, "i": 1j, "inf": math.inf}


class Undefined(ArithmeticError):
    """The expression has no value here (0/0, a word, an operation without a number as its result)."""


def variables(node: Node) -> frozenset[str]:
    """Return the names of the free variables."""
    if isinstance(node, Symbol):
        return frozenset() if node.name in _CONSTANTS else frozenset((node.name,))
    return frozenset().union(*map(variables, node.args)) if isinstance(node, Apply) else frozenset()


def values(node: Node, points: int) -> list[Value | None]:
    """Return the value at each of the first `points` points, None where there is none.

    Raises TooLarge for a constant beyond the range of a float.
    """
    return [_value_at(node, point) for point in range(points)]


def _value_at(node: Node, point: int) -> Value | None:
    try:
        return evaluate(node, point)
    except OverflowError:
        if variables(node):
            return None
        raise TooLarge("a value beyond the range of a float") from None
    except (ArithmeticError, ValueError, TypeError):
        return None


def agree(a: Value | None, b: Value | None) -> bool | None:
    """Return whether two values are the same number, None where rounding or a missing value leaves it open."""
    if a is None or b is None:
        return None
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    try:
        x, y = complex(a), complex(b)
    except OverflowError:
        return None
    if cmath.isinf(x) or cmath.isinf(y):
        return x == y
    size = max(abs(x), abs(y))
    if size < TINY:
        return None if size else True
    distance = abs(x - y) / size
    if distance <= EQUAL and size > LARGE:
        return None
    return True if distance <= EQUAL else False if distance >= DIFFERENT else None


def evaluate(node: Node, point: int = 0) -> Value:
    """Return the value with each variable at its value of this point.

    Raises Undefined (or another ArithmeticError, or ValueError) where there is none, OverflowError beyond a float's range.
    """
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Symbol):
        return _CONSTANTS[node.name] if node.name in _CONSTANTS else _variable(node.name, point)
    if isinstance(node, Apply) and node.op == "base":
        return Fraction(int(node.args[0].words, int(node.args[1].value)))  # type: ignore[union-attr]  # as the parser makes it
    if isinstance(node, Apply) and node.op == "unit" and node.args[1] in _FACTORS:
        return evaluate(node.args[0], point) * _FACTORS[node.args[1]]  # type: ignore[index]
    if not isinstance(node, Apply) or node.op not in _OPERATIONS:
        raise Undefined(f"{node} has no value")
    arguments = [evaluate(arg, point) for arg in node.args]
    result = _real(_OPERATIONS[node.op](*arguments))
    if isinstance(result, Fraction):
        return result
    if cmath.isnan(result):
        raise Undefined("not a number")
    if cmath.isinf(result) and not any(not isinstance(x, Fraction) and cmath.isinf(x) for x in arguments):
        raise OverflowError("infinite")
    return result


def _variable(name: str, point: int) -> float:
    """A value in [0.5, 2) of no special kind, negative at every second point."""
    share = zlib.crc32(f"{name}:{point}".encode()) / 2**32
    return (0.5 + 1.5 * share) * (-1 if point % 2 else 1)


def _real(x: Value | int) -> Value:
    if isinstance(x, int):
        return Fraction(x)
    return x.real if isinstance(x, complex) and x.imag == 0 else x


def _add(*terms: Value) -> Value:
    total = terms[0]
    for term in terms[1:]:
        total = _bounded(total + term)
    return total


def _multiply(*factors: Value) -> Value:
    product = factors[0]
    for factor in factors[1:]:
        product = _bounded(product * factor)
    return product


def _divide(a: Value, b: Value) -> Value:
    return _bounded(a / b)


def _bounded(x: Value) -> Value:
    large = isinstance(x, Fraction) and max(x.numerator.bit_length(), x.denominator.bit_length()) > MAX_BITS
    return float(x) if large else x  # type: ignore[arg-type]


def _power(base: Value, exponent: Value) -> Value:
    whole = isinstance(exponent, Fraction) and exponent.denominator == 1
    if isinstance(base, Fraction) and whole:
        n = int(exponent)  # type: ignore[arg-type]
        if abs(n) * max(base.numerator.bit_length(), base.denominator.bit_length()) <= MAX_BITS:
            return base**n
    return _inexact(base) ** (int(exponent) if whole and abs(exponent) < 2**31 else _inexact(exponent))  # type: ignore[arg-type,operator]


def _root(x: Value, index: Value) -> Value:
    """Odd roots of negative numbers are real, as they are in school."""
    odd = isinstance(index, Fraction) and index.denominator == 1 and index.numerator % 2 == 1
    y = _inexact(x)
    if index == 2:
        return math.sqrt(y) if isinstance(y, float) and y >= 0 else cmath.sqrt(y)
    if odd and isinstance(y, float) and y < 0:
        return -((-y) ** (1 / float(index)))  # type: ignore[arg-type]
    return y ** (1 / _inexact(index))


def _inexact(x: Value) -> float | complex:
    return float(x) if isinstance(x, Fraction) else x


def _whole(x: Value, least: int = 0, most: int = MAX_FACTORIAL) -> int:
    if not isinstance(x, Fraction) or x.denominator != 1 or x < least:
        raise Undefined(f"{x} is no whole number from {least}")
    if x > most:
        raise OverflowError(f"{x} is beyond {most}")
    return int(x)


def _binomial(n: Value, k: Value) -> Value:
    return Fraction(math.comb(_whole(n, most=1000), _whole(k, most=1000)))


def _logarithm(x: Value, base: Value = math.e) -> Value:
    y = _inexact(x)
    natural = math.log(y) if isinstance(y, float) and y > 0 else cmath.log(y)
    return natural if base == math.e else natural / _logarithm(base)  # type: ignore[operator]


def _elementary(real: Callable[[float], float], complex_: Callable[[complex], complex]) -> Callable[[Value], Value]:
    def apply(x: Value) -> Value:
        y = _inexact(x)
        if isinstance(y, float):
            try:
                return real(y)
            except ValueError:  # outside the real domain
                pass
        return complex_(y)

    return apply


def _rounded(round_: Callable[[Fraction | float], int]) -> Callable[[Value], Value]:
    def apply(x: Value) -> Value:
        if isinstance(x, complex):
            raise Undefined("a complex number cannot be rounded")
        return Fraction(round_(x))

    return apply


def _whole_numbers(function: Callable[..., int]) -> Callable[..., Value]:
    return lambda *xs: Fraction(function(*(_whole(abs(x), most=10**15) for x in xs)))


def _reals(function: Callable[..., Value]) -> Callable[..., Value]:
    def apply(*xs: Value) -> Value:
        if any(isinstance(x, complex) for x in xs):
            raise Undefined("complex numbers have no order")
        return function(xs)

    return apply


_sin, _cos, _tan = (_elementary(getattr(math, f), getattr(cmath, f)) for f in ("sin", "cos", "tan"))

_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": _add,
    "*": _multiply,
    "/": _divide,
    "ratio": _divide,
    "neg": lambda x: -x,
    "mixed": _add,
    "^": _power,
    "root": _root,
    "abs": abs,
    "!": lambda n: Fraction(math.factorial(_whole(n))),
    "binom": _binomial,
    "floor": _rounded(math.floor),
    "ceil": _rounded(math.ceil),
    "gcd": _whole_numbers(math.gcd),
    "lcm": _whole_numbers(math.lcm),
    "max": _reals(max),
    "min": _reals(min),
    "sin": _sin,
    "cos": _cos,
    "tan": _tan,
    "cot": lambda x: 1 / _tan(x),
    "sec": lambda x: 1 / _cos(x),
    "csc": lambda x: 1 / _sin(x),
    "cis": lambda x: _cos(x) + 1j * _sin(x),
    "arcsin": _elementary(math.asin, cmath.asin),
    "arccos": _elementary(math.acos, cmath.acos),
    "arctan": _elementary(math.atan, cmath.atan),
    "sinh": _elementary(math.sinh, cmath.sinh),
    "cosh": _elementary(math.cosh, cmath.cosh),
    "tanh": _elementary(math.tanh, cmath.tanh),
    "exp": _elementary(math.exp, cmath.exp),
    "ln": _logarithm,
    "log": _logarithm,
    "lg": lambda x: _logarithm(x, 10.0),
}
