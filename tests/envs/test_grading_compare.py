"""Equivalence: a table of pairs by hand, and rewritings that cannot change a value."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from envs.grading import Outcome, grade
from envs.grading.compare import Rule, compare
from envs.grading.evaluate import agree, evaluate
from envs.grading.expression import parse
from envs.grading.scanner import ParseError, TooLarge
from envs.grading.tree import Apply, Number, Symbol
from envs.grading.units import unit_of

PAIRS = [line.split("\t") for line in (Path(__file__).parent / "grading_pairs.tsv").read_text("utf-8").splitlines()[1:]]


@pytest.mark.parametrize(("verdict", "answer", "reference"), PAIRS)
def test_pairs_by_hand(verdict: str, answer: str, reference: str) -> None:
    result = grade(rf"\boxed{{{answer}}}", rf"\boxed{{{reference}}}")
    assert (result.outcome == Outcome.CORRECT) == (verdict == "same"), result


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2^3^2", 512),  # from the right
        ("8/2/2", 2),  # from the left
        ("-2^2", -4),
        ("2 - 3 - 4", -5),
        (r"\frac12", Fraction(1, 2)),
        (r"\frac{1}{2}\cdot 3!", 3),
        (r"2\frac{1}{3}", Fraction(7, 3)),
        (r"-2\frac{1}{3}", Fraction(-7, 3)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        ("1.5e-3", Fraction(3, 2000)),
        ("777_8", 511),
        (r"\log_2 8", 3.0),
        (r"\sin^2 30^\circ", 0.25),
        (r"\sin^{-1} 1", math.pi / 2),
        (r"\sqrt[3]{-27}", -3.0),
        (r"|3-5|", 2),
        (r"\binom{6}{2}", 15),
        (r"\lceil 2.1 \rceil", 3),
        ("2^{4950}", 2**4950),
        (r"\frac{2004!}{2003!}", 2004),
    ],
)
def test_values_by_hand(text: str, value: Fraction | float) -> None:
    assert evaluate(parse(text)) == pytest.approx(value, rel=1e-14)


def test_trees_by_hand() -> None:
    x, two = Symbol("x"), Number(Fraction(2))
    assert parse("2x") == parse(r"2 \cdot x") == Apply("*", (two, x))
    assert parse(r"[2, x)") == Apply("[)", (two, x))
    assert parse("x_2") == Symbol("x_2") != parse("x^2")
    assert parse(r"\pir") == parse(r"\pi r")  # as MATH's answers are published
    assert parse("1 < x") == Apply("<", (Number(Fraction(1)), x))


@pytest.mark.parametrize("text", ["", "2 3", r"\unknown{2}", "(1, 2", "1)", "2 +", "however", r"\begin{cases}1\end{cases}"])
def test_what_is_no_maths(text: str) -> None:
    with pytest.raises(ParseError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["9" * 101, "1e101", "(" * 41 + "1" + ")" * 41, "5" + "!" * 41, "8" + "/2" * 41, "x" * 1001, r"\sin" * 50]
)
def test_what_is_too_large(text: str) -> None:
    with pytest.raises(TooLarge):
        parse(text)


def test_each_rule_is_named() -> None:
    rules = [
        ("2", "2.0"),
        ("(2,3)", "(2,3)"),
        ("5 cm", "5"),
        ("0.3333", "1/3"),
        (r"\sqrt{4}", "2"),
        (r"\text{two lines}", r"\text{twolines}"),
    ]
    found = [compare(parse(a), parse(b)).rule for a, b in rules]
    assert found == [Rule.NUMBER, Rule.STRUCTURE, Rule.UNIT, Rule.ROUNDED, Rule.EVALUATED, Rule.TEXT]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (Fraction(1, 3), 1 / 3, True),
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.0 + 1e-9, None),  # rounding, or another number: not for floats to say
        (1.0, 1.0 + 1e-6, False),
        (1e-10, 2e-10, None),
        (math.inf, 1.0, False),
        (1 + 1e-13j, 1.0, True),
        (None, 1.0, None),
    ],
)
def test_agreement_of_values(a: complex | Fraction | None, b: complex | Fraction | None, same: bool | None) -> None:
    assert agree(a, b) is same


def test_units() -> None:
    assert unit_of("square feet") == unit_of("ft ^2") and unit_of("feet").kind == "length"  # type: ignore[union-attr]
    assert unit_of("apples").kind is None  # type: ignore[union-attr]
    assert unit_of("million dollars").multiplier == 10**6  # type: ignore[union-attr]
    assert unit_of("times as many") is None


NUMBERS = st.integers(-20, 20)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, str, Fraction]:
    """The same arithmetic in LaTeX and as one types it, with its value by Python's own fractions."""
    if depth == 0 or draw(st.booleans()):
        n = draw(NUMBERS)
        return (f"{{{n}}}", f"({n})", Fraction(n))
    (a, s, x), (b, t, y) = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
    op = draw(st.sampled_from("+-*/"))
    if op == "/":
        assume(y != 0)
        return (rf"\frac{{{a}}}{{{b}}}", f"({s})/({t})", x / y)
    value = {"+": x + y, "-": x - y, "*": x * y}[op]
    sign = {"*": r" \cdot "}.get(op, f" {op} ")
    return (rf"\left({a}{sign}{b}\right)", f"({s}{op}{t})", value)


@given(expressions())
def test_arithmetic_is_exact_in_both_notations(written: tuple[str, str, Fraction]) -> None:
    latex, typed, value = written
    assert evaluate(parse(latex)) == evaluate(parse(typed)) == value


@given(expressions(), expressions())
def test_arithmetic_is_the_same_exactly_where_the_values_are(a: tuple[str, str, Fraction], b: tuple[str, str, Fraction]) -> None:
    assert compare(parse(a[0]), parse(b[1])).same is (a[2] == b[2])


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_polynomials_do_not_depend_on_the_order_of_their_terms(coefficients: list[int], random: object) -> None:
    terms = [f"({c})x^{{{i}}}" for i, c in enumerate(coefficients)]
    shuffled = list(terms)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert compare(parse(" + ".join(terms)), parse(" + ".join(shuffled))).same
    assert not compare(parse(" + ".join(terms)), parse(" + ".join([*terms, "x"]))).same


@given(st.lists(NUMBERS, min_size=2, max_size=6), st.permutations(range(6)))
def test_lists_have_no_order_and_tuples_have_one(items: list[int], order: list[int]) -> None:
    other = [items[i] for i in order if i < len(items)]
    a, b = ", ".join(map(str, items)), ", ".join(map(str, other))
    assert compare(parse(a), parse(b)).same
    assert compare(parse(f"({a})"), parse(f"({b})")).same is (items == other)
