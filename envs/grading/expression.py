"""Mathematical answers as trees: LaTeX and plain notation, numbers, lists, intervals, matrices, units.

`parse(text)` reads what answers of the data sets and of language models look like. It is a recursive-descent parser over
the string itself (LaTeX macros take a single character where no braces follow: `\\frac12`), with a limit on length and
depth, so its time is linear in the text and no input can exhaust the stack.
"""

from __future__ import annotations

import re
from fractions import Fraction

from envs.grading.notation import tidy
from envs.grading.scanner import MAX_LENGTH, ParseError, Scanner, TooLarge, nested
from envs.grading.tree import (
    FUNCTIONS,
    Apply,
    Node,
    Number,
    Symbol,
    Text,
    is_figure,
    joined,
    measured,
    names,
    negative,
    whole,
    written,
)
from envs.grading.units import MAX_WORDS, is_unit

_CONSTANTS = {"pi": "pi", "infty": "inf", "infinity": "inf", "inf": "inf", "oo": "inf"}
_RELATIONS = {
    "=": "=", "\\equiv": "=", "\\approx": "=", "\\sim": "=", "\\simeq": "=", "≈": "=", "<": "<", ">": ">", "\\lt": "<", "\\gt": ">",
    "<=": "<=", ">=": ">=", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=",
    "\\ne": "!=", "\\neq": "!=", "!=": "!=", "\\in": "in",
}  # fmt: skip
_ABOUT = ("\\approx", "\\simeq", "\\sim", "≈")
_CLOSERS = {"(": ")]", "[": "])", "\\{": ("\\}",), "|": "|", "\\lfloor": ("\\rfloor",), "\\lceil": ("\\rceil",)}
_SUBSCRIPT = re.compile(r"_(?:\{(?:\\(?:text|mathrm)\{([\w ]*)\}|([\w,+\-]*))\}|(\w))")
_WORDS = re.compile(r"[^\W\d_]+(?:[ '-]+[^\W\d_]+)*[ '-]+[^\W\d_]{2,}|[^\W\d_]{2,}(?:[ '-]+[^\W\d_]+)+")
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*\.?")
_MONEY = {"£": "sterling", "€": "euros"}
_HYPHENATED = re.compile(r"-(?=[A-Za-z]{4,})")
_BRACED = re.compile(r"\{([A-Za-z]{2,})\}")  # as MATH's answers are published: 440{cm}^2
_PER = re.compile(r"/\s*(?:([A-Za-z]{3,}(?![\w(]))|\\(?:text|mbox|mathrm)\s*\{\s*([A-Za-z ]+)\}?)\}?")
_SEPARATOR = re.compile(r"[,;]|\\(?:text|mbox|textrm|mathrm)\s*\{\s*,?\s*(?:and|or)\s*\}|(?:and|or)\b")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm|mathbf|operatorname)\s*\*?\{([^{}]*)\}")
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.DOTALL)
_ROW = re.compile(r"\\\\|\\(?=[-\d.])")
_DEGREE = re.compile(r"\s*\^\s*(?:\{\s*)?\\circ\b(?:\s*\})?|\s*(?:°|\\degree\b)")
_GREEK = names(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell"
)
_NAMES = FUNCTIONS | _CONSTANTS.keys() | _GREEK
_MACROS = names("frac binom sqrt emptyset varnothing overline vec hat bar mathbf boldsymbol")


def parse(text: str, thousands: bool = True) -> Node:
    """Return the tree of an answer. `thousands`: 60,120 is one number, as it is not where angles are listed.

    Raises:
        TooLarge: the text is longer, deeper, or holds longer numbers than the limits of this module allow.
        ParseError: it is no maths, or none that is known here.
    """
    if len(text) > MAX_LENGTH:
        raise TooLarge(f"{len(text)} characters: at most {MAX_LENGTH} are read as maths")
    text = tidy(text)
    if wrapped := _TEXT.fullmatch(text):  # \\text{A, B} lists what {A, B} does, and \\text{even} is a word
        try:
            return parse(wrapped[1], thousands)
        except ParseError:
            return Text(wrapped[1].strip())
    if _WORDS.fullmatch(text):
        return Text(text)
    parser = _Parser(text, thousands=thousands)
    tree = parser.listing()
    if not parser.ended():
        raise ParseError(f"unexpected {parser.rest()[:20]!r}")
    return tree


class _Parser(Scanner):
    """Recursive descent, from the loosest binding to the tightest."""

    @nested
    def listing(self) -> Node:
        """Relations, separated by commas or words."""
        items = [self.relation()]
        while self.take(_SEPARATOR):
            self.take(_SEPARATOR)  # "1, 2, and 3"
            items.append(self.relation())
        return items[0] if len(items) == 1 else Apply("list", tuple(items))

    def relation(self) -> Node:
        """`a < b <= c` becomes a list of its pairs."""
        if self.next() in ("=", *_ABOUT):
            self.accept(self.next())
        sides, signs = [self.union()], []
        while sign := self.accept(*_RELATIONS):
            side = self.union()
            if sign not in _ABOUT:  # 2/3 and not the 0.67 that it is about
                signs.append(_RELATIONS[sign])
                sides.append(side)
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
                left = joined("+", left, right if sign == "+" else Apply("neg", (right,)))
            else:
                self.chain()
                left = Apply("mp" if sign == "\\mp" else "pm", (left, right))
        return measured(left)

    def product(self) -> Node:
        left = self.signed()
        while True:
            if self.accept("\\cdot", "*", "\\times", "×", "·", "\\ast"):
                left = joined("*", left, self.signed())
            elif unit := self.unit(left):
                self.chain()
                left = Apply("unit", (left, Text(unit)))
            elif sign := self.accept("/", "\\div", "÷", ":"):
                self.chain()
                left = Apply("ratio" if sign == ":" else "/", (left, self.signed()))
            elif self.begins_operand():
                left = self.beside(left, self.power())
            else:
                return left

    def beside(self, left: Node, right: Node) -> Node:
        """`2x` is a product; two numbers side by side are none."""
        if isinstance(right, Number) or (isinstance(right, Apply) and right.op == "mixed"):
            raise ParseError("two numbers side by side")
        return joined("*", left, right)

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

    @nested
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
        return negative(operand)

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
        if not is_figure(figure):
            return ""
        words: list[str] = []
        spaced = self.at > 0 and self.text[self.at - 1].isspace()
        if not spaced and (match := _HYPHENATED.match(self.text, self.at)):  # 12-inch
            self.at += 1
            spaced = True
        while len(words) < MAX_WORDS and not _SEPARATOR.match(self.text, self.at):
            if match := self.take(_TEXT) or self.take(_BRACED):
                words.extend(match[1].split())
            elif match := self.unit_word(spaced or bool(words)):
                words.append(match)
            elif words and self.accept("^"):
                words.append(f"^{written(self.exponent())}")
            elif (match := _PER.match(self.text, self.at)) and match[1] not in FUNCTIONS:  # 12 dollars/hour
                self.take(_PER)
                words.extend(("per", match[1] or match[2]))
            else:
                break
        return " ".join(words)

    def unit_word(self, spaced: bool) -> str:
        """A word of a unit: spaced ones of two letters at least, others where they are known (42kg), and signs of money."""
        if sign := self.accept("€", "£"):
            return _MONEY[sign]
        match = _WORD.match(self.text, self.at)
        if not match or match[0] in FUNCTIONS or match[0] in _CONSTANTS:
            return ""
        word = match[0].rstrip(".")
        if (len(word) > 1 and (spaced or is_unit(word))) or (word == "a" and spaced and self.text[: self.at].endswith(" of ")):
            self.take(_WORD)
            return match[0]
        return ""

    def atom(self) -> Node:
        sign = self.next()
        if not sign:
            raise ParseError("an operand is missing at the end")
        if sign in ("\\$", "£", "€", "$"):
            self.accept(sign)
            return Apply("unit", (self.power(), Text(_MONEY.get(sign, "dollars"))))
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

    @nested
    def argument(self) -> Node:
        """What a macro applies to: a group in braces, or one sign or command (`\\frac12` is a half)."""
        if self.accept("{"):
            inside = self.listing()
            self.expect("}")
            return inside
        sign = self.next()
        if sign.isdigit() and sign.isascii():
            self.accept(sign)
            return whole(int(sign))
        return self.atom()

    @nested
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
            if len(words) == 1 and words.isalpha():
                return Symbol(words)
            return Text(words) if words not in FUNCTIONS else self.function(words)
        name = _known_part(sign[1:])
        self.at += 1 + len(name)
        self.skip()
        if name == "frac":
            return Apply("/", (self.argument(), self.argument()))
        if name == "binom":
            return Apply("binom", (self.argument(), self.argument()))
        if name == "sqrt":
            index: Node = whole(2)
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
            return Symbol(f"{name} {written(self.argument())}")
        if name in _GREEK:
            return Symbol(name + self.subscript())
        raise ParseError(f"unknown command {sign}")

    @nested
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
            while self.begins_operand() and self.next()[1:] not in FUNCTIONS and self.next() != "(":
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
            return Apply("root", (self.argument(), whole(2))) if word == "sqrt" else self.function(word)
        if word.lower() in _CONSTANTS:
            self.take(_WORD)
            return Symbol(_CONSTANTS[word.lower()])
        attached = self.at > 0 and self.text[self.at - 1].isalnum()  # 12wxyz, and the rest of a product
        if len(word.rstrip(".")) > 3 and not (attached and len(word) < MAX_WORDS):
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
        return f"_{match[1] or match[2] or match[3]}" if match else ""

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


def _known_part(name: str) -> str:
    """`\\pir` stands in published answers for `\\pi r`: the longest beginning that is a name, if the whole is none."""
    if name in _NAMES or name in _MACROS:
        return name
    return next((name[:i] for i in range(len(name) - 1, 1, -1) if name[:i] in _NAMES), name)
