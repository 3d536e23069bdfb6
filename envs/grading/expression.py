"""Mathematical answers as trees: LaTeX and plain notation, numbers, lists, intervals, matrices, units.

`parse(text)` reads what answers of the data sets and of language models look like. It is a recursive-descent parser over
the string itself (LaTeX macros take a single character where no braces follow: `\\frac12`), with a limit on length and
depth, so its time is linear in the text and no input can exhaust the stack.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias, TypeVar

from envs.grading.notation import tidy

MAX_LENGTH = 1000
"""Characters of the longest answer that is read as maths."""
MAX_DEPTH = 40
MAX_DIGITS = 100
"""Digits of the longest number, and the largest power of ten in scientific notation."""


class ParseError(ValueError):
    """The text is not maths that this parser reads."""


class TooLarge(ValueError):
    """The text is beyond the limits of size: nothing can be said about what it stands for."""


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

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln exp log lg gcd lcm max min det deg arg cis".split()
)
_CONSTANTS = {"pi": "pi", "infty": "inf", "infinity": "inf", "inf": "inf", "oo": "inf"}
_RELATIONS = {
    "=": "=", "\\equiv": "=", "\\approx": "=", "\\sim": "=", "\\simeq": "=", "<": "<", ">": ">", "\\lt": "<", "\\gt": ">",
    "<=": "<=", ">=": ">=", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=",
    "\\ne": "!=", "\\neq": "!=", "!=": "!=", "\\in": "in",
}  # fmt: skip
_CLOSERS = {"(": ")]", "[": "])", "\\{": ("\\}",), "|": "|", "\\lfloor": ("\\rfloor",), "\\lceil": ("\\rceil",)}

_SPACE = re.compile(r"\s*")
_COMMAND = re.compile(r"\\[A-Za-z]+|\\.", re.DOTALL)
_DIGITS = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,]*\d)(?:\.\d+)?", re.ASCII)
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\{(\d+)\}", re.ASCII)
_MIXED = re.compile(
    r"(\d+)(?:\s+(\d+)\s*/\s*(\d+)(?!\d)|\s*\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d)))", re.ASCII
)
_EXPONENT = re.compile(r"[eE][-+]?\d+(?![\w.])", re.ASCII)
_BASED = re.compile(r"([0-9A-Z]+)\s*_\s*(?:\{\s*(\d{1,2})\s*\}|(\d{1,2}))(?!\d)", re.ASCII)
_SUBSCRIPT = re.compile(r"_(?:\{([\w,+\-]*)\}|(\w))")
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*\.?")
_SEPARATOR = re.compile(r"[,;]|\\(?:text|mbox|textrm|mathrm)\s*\{\s*,?\s*(?:and|or)\s*\}|(?:and|or)\b")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm|mathbf|operatorname)\s*\*?\{([^{}]*)\}")
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.DOTALL)
# As published, MATH's answers write one backslash where LaTeX wants two; no command begins with a digit or a sign.
_ROW = re.compile(r"\\\\|\\(?=[-\d.])")
_DEGREE = re.compile(r"\s*\^\s*(?:\{\s*)?\\circ\b(?:\s*\})?|\s*(?:°|\\degree\b)")


def parse(text: str, thousands: bool = True) -> Node:
    """Return the tree of an answer. `thousands`: 60,120 is one number, as it is not where angles are listed.

    Raises:
        TooLarge: the text is longer, deeper, or holds longer numbers than the limits of this module allow.
        ParseError: it is no maths, or none that is known here.
    """
    if len(text) > MAX_LENGTH:
        raise TooLarge(f"{len(text)} characters: at most {MAX_LENGTH} are read as maths")
    parser = _Parser(tidy(text), thousands=thousands)
    tree = parser.listing()
    if not parser.ended():
        raise ParseError(f"unexpected {parser.rest()[:20]!r}")
    return tree


_Method = TypeVar("_Method", bound=Callable[..., Node])


def _nested(method: _Method) -> _Method:
    """Count the depth of what can contain itself: the interpreter's stack must never be the limit."""

    @functools.wraps(method)
    def counted(self: _Parser, *args: Any) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"nested more than {MAX_DEPTH} deep")
        tree = method(self, *args)
        self.depth -= 1
        return tree

    return counted  # type: ignore[return-value]


class _Parser:
    """Recursive descent; every method reads at `self.at` and moves it."""

    def __init__(self, text: str, depth: int = 0, thousands: bool = True) -> None:
        self.text = text
        self.at = 0
        self.depth = depth
        self.brackets = 0 if thousands else 1  # inside brackets a comma separates, outside it may group digits
        self.bars = 0
        self.chained = 0
        self.skip()

    def skip(self) -> None:
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches anything

    def ended(self) -> bool:
        return self.at >= len(self.text)

    def rest(self) -> str:
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
        found = self.accept(*signs)
        if found is None:
            raise ParseError(f"wanted {' or '.join(signs)}, found {self.rest()[:20]!r}")
        return found

    # Structure, from the loosest binding to the tightest.

    @_nested
    def listing(self) -> Node:
        """Relations, separated by commas or words."""
        items = [self.relation()]
        while self.take(_SEPARATOR):
            self.take(_SEPARATOR)  # "1, 2, and 3"
            items.append(self.relation())
        return items[0] if len(items) == 1 else Apply("list", tuple(items))

    def relation(self) -> Node:
        """`a < b <= c` becomes a list of its pairs."""
        if self.next() in ("\\approx", "=", "\\sim"):
            self.accept(self.next())
        sides, signs = [self.union()], []
        while sign := self.accept(*_RELATIONS):
            signs.append(_RELATIONS[sign])
            sides.append(self.union())
        if not signs:
            return sides[0]
        pairs = [Apply(sign, (sides[i], sides[i + 1])) for i, sign in enumerate(signs)]
        return pairs[0] if len(pairs) == 1 else Apply("chain", tuple(pairs))

    def union(self) -> Node:
        parts = [self.sum()]
        while self.accept("\\cup", "∪"):
            parts.append(self.sum())
        return parts[0] if len(parts) == 1 else Apply("union", tuple(parts))

    def sum(self) -> Node:
        left = self.product()
        while sign := self.accept("+", "-", "\\pm", "\\mp", "±"):
            right = self.product()
            if sign in ("+", "-"):
                left = _joined("+", left, right if sign == "+" else Apply("neg", (right,)))
            else:
                self.chain()
                left = Apply("mp" if sign == "\\mp" else "pm", (left, right))
        return _measured(left)

    def product(self) -> Node:
        left = self.signed()
        while True:
            if self.accept("\\cdot", "*", "\\times", "×", "·", "\\ast"):
                left = _joined("*", left, self.signed())
            elif sign := self.accept("/", "\\div", "÷", ":"):
                self.chain()
                left = Apply("ratio" if sign == ":" else "/", (left, self.signed()))
            elif unit := self.unit(left):
                self.chain()
                left = Apply("unit", (left, Text(unit)))
            elif self.begins_operand():
                left = self.beside(left, self.power())
            else:
                return left

    def chain(self) -> None:
        """Count the operators that make the tree deeper without nesting in the text: 8/2/2."""
        self.chained += 1
        if self.chained > MAX_DEPTH:
            raise TooLarge(f"more than {MAX_DEPTH} operators in a chain")

    def beside(self, left: Node, right: Node) -> Node:
        """`2x` is a product; two numbers side by side are none."""
        if isinstance(right, Number) or (isinstance(right, Apply) and right.op == "mixed"):
            raise ParseError("two numbers side by side")
        return _joined("*", left, right)

    def begins_operand(self) -> bool:
        sign = self.next()
        if sign == "|":
            return not self.bars
        if _SEPARATOR.match(self.text, self.at):
            return False
        return bool(sign) and (sign[0].isalnum() or sign in ("(", "{", "[", "\\{", ".", "π", "√", "∞") or self.begins_command(sign))

    def begins_command(self, sign: str) -> bool:
        known = _RELATIONS.keys() | {"\\cup", "\\cdot", "\\times", "\\div", "\\pm", "\\mp", "\\ast", "\\rfloor", "\\rceil", "\\end"}
        return len(sign) > 1 and sign[1].isalpha() and sign not in known

    @_nested
    def signed(self) -> Node:
        """A chain of signs is read in a loop: "------1" must not nest."""
        sign = "+"
        while found := self.accept("+", "-", "\\pm", "±"):
            if found not in "+-":
                return Apply("pm", (Number(Fraction(0)), self.signed()))
            sign = sign if found == "+" else {"+": "-", "-": "+"}[sign]
        operand = self.power()
        if sign == "+":
            return operand
        return _negative(operand)

    def power(self) -> Node:
        base = self.atom()
        while True:
            if self.next() in ("!", "%", "\\%", "°"):
                self.chain()
            if self.take(_DEGREE):
                base = Apply("unit", (base, Text("°")))
            elif self.accept("%", "\\%"):
                base = Apply("unit", (base, Text("%")))
            elif self.accept("!"):
                base = Apply("!", (base,))
            elif self.accept("^", "**"):
                base = Apply("^", (base, self.exponent()))
            else:
                return base

    def unit(self, figure: Node) -> str:
        """The words of a unit behind a figure, "" where there are none."""
        if not _is_figure(figure) or (self.at and self.text[self.at - 1].isalpha()):
            return ""
        words: list[str] = []
        spaced = self.at > 0 and self.text[self.at - 1].isspace()
        while len(words) < 6:
            if _SEPARATOR.match(self.text, self.at):
                break
            if match := self.take(_TEXT):
                words.extend(match[1].split())
            elif (match := _WORD.match(self.text, self.at)) and len(match[0].rstrip(".")) > 1 and (spaced or words):
                if match[0] in FUNCTIONS or match[0] in _CONSTANTS:
                    break
                self.take(_WORD)
                words.append(match[0])
            elif words and self.accept("^"):
                words.append(f"^{_plain(self.exponent())}")
            else:
                break
        return " ".join(words)

    # Operands.

    def atom(self) -> Node:
        sign = self.next()
        if not sign:
            raise ParseError("an operand is missing at the end")
        if sign in ("\\$", "£", "€", "$"):
            self.accept(sign)
            return Apply("unit", (self.number(), Text({"£": "pounds", "€": "euros"}.get(sign, "dollars"))))
        if sign[0].isdigit() or sign == "." or self.based():
            return self.number()
        if sign in _CLOSERS:
            return self.bracket(sign)
        if sign == "{":
            return self.argument()
        if sign in "π√∞":
            self.accept(sign)
            return Apply("root", (self.argument(), Number(Fraction(2)))) if sign == "√" else Symbol({"π": "pi"}.get(sign, "inf"))
        return self.command(sign) if sign[0] == "\\" else self.letters()

    def based(self) -> re.Match[str] | None:
        """`2516_8`, `152A_{11}`: digits that are digits of that base; F_2 and A_1 are variables."""
        match = _BASED.match(self.text, self.at)
        base = int(match[2] or match[3]) if match else 0
        valid = match and 2 <= base <= 36 and (base > 10 or match[1].isdigit()) and all(int(c, 36) < base for c in match[1])
        return match if valid and len(match[1]) <= MAX_DIGITS else None

    def number(self) -> Node:
        """A literal in digits: 1,234 1.5e3 0.1\\overline{6} 1 1/2 2\\frac{1}{2} 2516_8."""
        if match := self.based():
            self.take(_BASED)
            return Apply("base", (Text(match[1]), Number(Fraction(match[2] or match[3]))))
        if match := self.take(_REPEATING):
            whole, fixed, repeated = match.groups()
            self.check_digits(match[0])
            shift = 10 ** len(fixed)
            cycle = Fraction(int(repeated), (10 ** len(repeated) - 1) * shift)
            return Number(Fraction(int(whole or 0)) + Fraction(int(fixed or 0), shift) + cycle)
        if match := self.take(_MIXED):
            self.check_digits(match[0])
            whole, top, bottom = (int(part) for part in match.groups() if part)
            return Apply("mixed", (_whole(whole), Apply("/", (_whole(top), _whole(bottom)))))
        return self.digits()

    def digits(self) -> Number:
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
        if len(digits) > MAX_DIGITS:
            raise TooLarge(f"a number of {len(digits)} digits: at most {MAX_DIGITS} are read")

    def bracket(self, opened: str) -> Node:
        """`(x)` is x; with commas it is a tuple or an interval, `\\{x\\}` a set, `|x|` a magnitude."""
        self.accept(opened)
        if opened == "|":
            self.bars += 1
        self.brackets += 1
        empty = opened == "\\{" and self.next() == "\\}"
        inside = Apply("list", ()) if empty else self.listing()
        self.brackets -= 1
        if opened == "|":
            self.bars -= 1
        closed = self.expect(*_CLOSERS[opened])
        items = inside.args if isinstance(inside, Apply) and inside.op == "list" else (inside,)
        if opened == "\\{":
            return Apply("set", items)
        if opened == "|":
            return Apply("abs", (inside,))
        if opened in ("\\lfloor", "\\lceil"):
            return Apply(opened[2:], (inside,))
        if len(items) == 1 and (opened, closed) in (("(", ")"), ("[", "]")):
            return inside
        return Apply(opened + closed, items)

    @_nested
    def argument(self) -> Node:
        """What a macro applies to: a group in braces, or one sign or command (`\\frac12` is a half)."""
        if self.accept("{"):
            inside = self.listing()
            self.expect("}")
            return inside
        sign = self.next()
        if sign.isdigit() and sign.isascii():
            self.accept(sign)
            return _whole(int(sign))
        return self.atom()

    @_nested
    def exponent(self) -> Node:
        """What stands behind `^`: unlike in LaTeX, `2^10` and `x^-1` mean what whoever types them means."""
        if self.accept("-"):
            return Apply("neg", (self.exponent(),))
        inside = self.digits() if self.next().isdigit() else self.argument()
        return Apply("^", (inside, self.exponent())) if self.accept("^", "**") else inside

    def command(self, sign: str) -> Node:
        """An operand that begins with a backslash."""
        if sign == "\\begin":
            return self.matrix()
        if match := self.take(_TEXT):
            words = match[1].strip()
            return Text(words) if words not in FUNCTIONS else self.function(words)
        name = _known_part(sign[1:])
        self.at += 1 + len(name)
        self.skip()
        if name == "frac":
            return Apply("/", (self.argument(), self.argument()))
        if name == "binom":
            return Apply("binom", (self.argument(), self.argument()))
        if name == "sqrt":
            index: Node = _whole(2)
            if self.accept("["):
                index = self.sum()
                self.expect("]")
            return Apply("root", (self.argument(), index))
        if name in FUNCTIONS:
            return self.function(name)
        if name in _CONSTANTS:
            return Symbol(_CONSTANTS[name])
        if name in ("emptyset", "varnothing"):
            return Apply("set", ())
        if name in ("overline", "vec", "hat", "bar", "mathbf", "boldsymbol"):
            return Symbol(f"{name} {_plain(self.argument())}")
        if name in _GREEK:
            return Symbol(name + self.subscript())
        raise ParseError(f"unknown command {sign}")

    @_nested
    def function(self, name: str) -> Node:
        """`\\sin^2 x`, `\\log_2 8`, `\\cos(6)`: a bare argument reaches to the next sign or function."""
        base = None
        power = None
        if self.accept("_"):
            base = self.argument()
        if self.accept("^"):
            power = self.exponent()
        if self.next() in _CLOSERS:
            inside: Node = self.bracket(self.next())
        else:
            inside = self.power()
            while self.begins_operand() and not self.next()[1:] in FUNCTIONS and not self.next() == "(":
                inside = self.beside(inside, self.power())
        if power == Number(Fraction(-1)) and name in ("sin", "cos", "tan"):
            name, power = f"arc{name}", None
        items = inside.args if isinstance(inside, Apply) and inside.op in ("list", "()") else (inside,)
        applied = Apply(name, items if base is None else (*items, base))
        return applied if power is None else Apply("^", (applied, power))

    def letters(self) -> Node:
        """One letter is a variable; a function's name is that; two or three letters are a product; more are words."""
        match = _WORD.match(self.text, self.at)
        if not match:
            raise ParseError(f"unexpected {self.rest()[:20]!r}")
        word = match[0]
        if word in FUNCTIONS or word == "sqrt":
            self.take(_WORD)
            return Apply("root", (self.argument(), _whole(2))) if word == "sqrt" else self.function(word)
        if word.lower() in _CONSTANTS:
            self.take(_WORD)
            return Symbol(_CONSTANTS[word.lower()])
        if len(word.rstrip(".")) > 3:
            raise ParseError(f"a word: {word!r}")
        letter = self.text[self.at]
        self.at += 1
        if not letter.isascii():
            raise ParseError(f"unexpected {letter!r}")
        name = letter + self.subscript()
        self.skip()
        return Symbol(name)

    def subscript(self) -> str:
        match = self.take(_SUBSCRIPT)
        return f"_{match[1] or match[2]}" if match else ""

    def matrix(self) -> Node:
        match = self.take(_MATRIX)
        if not match:
            raise ParseError(f"unexpected {self.rest()[:20]!r}")
        rows = []
        for row in _ROW.split(match[2]):
            if row.strip():
                rows.append(Apply("row", tuple(self.cell(cell) for cell in row.split("&"))))
        kind = "det" if match[1] == "vmatrix" else "matrix"
        return Apply(kind, tuple(rows))

    def cell(self, text: str) -> Node:
        inner = _Parser(text, self.depth + 1)
        tree = inner.sum()
        if not inner.ended():
            raise ParseError(f"unexpected {inner.rest()[:20]!r}")
        return tree


_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell".split()
)


def _joined(op: str, left: Node, right: Node) -> Apply:
    """Sums and products are flat, however long."""
    before = left.args if isinstance(left, Apply) and left.op == op else (left,)
    return Apply(op, (*before, right))


_NAMES = FUNCTIONS | _CONSTANTS.keys() | _GREEK
_MACROS = frozenset("frac binom sqrt emptyset varnothing overline vec hat bar mathbf boldsymbol".split())


def _known_part(name: str) -> str:
    """`\\pir` stands in published answers for `\\pi r`: the longest beginning that is a name, if the whole is none."""
    if name in _NAMES or name in _MACROS:
        return name
    return next((name[:i] for i in range(len(name) - 1, 1, -1) if name[:i] in _NAMES), name)


def _measured(tree: Node) -> Node:
    """`2 + \\sqrt{3} cm` is so many centimetres: the unit behind the last term is that of the sum."""
    if not isinstance(tree, Apply) or tree.op != "+" or not isinstance(last := tree.args[-1], Apply) or last.op != "unit":
        return tree
    figure, unit = last.args
    if unit in (Text("%"), Text("°")) or not all(map(_is_figure, tree.args[:-1])):
        return tree
    return Apply("unit", (Apply("+", (*tree.args[:-1], figure)), unit))


def _negative(node: Node) -> Node:
    if isinstance(node, Number):
        return Number(-node.value, node.places)
    if isinstance(node, Apply) and node.op == "unit":  # -5 degrees is a quantity
        return Apply("unit", (_negative(node.args[0]), node.args[1]))
    return Apply("neg", (node,))


def _whole(value: int) -> Number:
    return Number(Fraction(value))


def _is_figure(node: Node) -> bool:
    """Whether a unit may follow: a number, or arithmetic on numbers, without variables."""
    if isinstance(node, Number):
        return True
    if isinstance(node, Symbol):
        return node.name == "pi"
    return isinstance(node, Apply) and node.op in _FIGURES and all(_is_figure(arg) for arg in node.args)


_FIGURES = frozenset("+ * / ^ neg mixed root ! base".split())


def _plain(node: Node) -> str:
    """A tree as text, for names and exponents of units."""
    if isinstance(node, Number):
        return str(node.value)
    if isinstance(node, Symbol):
        return node.name
    if isinstance(node, Text):
        return node.words
    return node.op + "".join(_plain(arg) for arg in node.args)
