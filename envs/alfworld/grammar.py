"""The text grammar of a game file: from what happened to the sentences that tell it.

A game carries its own grammar (TextWorld's `twl2`): templates of commands, and rules such as

    "examineReceptacle.feedback": [{"condition": "openable(r:receptacle)", "rhs": "The {r.name} is closed."}, ...]

whose right-hand sides are made of literal text, `#rule#`, `{expression}`, `{expression | query}` and `[{... | query}]`, a list
in words. TextWorld hands each expression to Python's `eval`; here the few forms that the grammar needs (`o.name`, string
literals, `+`, `or`) are parsed, everything else is refused, and nothing of a file is ever run.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from envs.alfworld.logic import Atom, Facts, Query, Scope, Variables, compile_query
from envs.alfworld.problem import PREDICATES

INTRO = "#intro#"
_IMPLICIT = ("list_empty", "list_separator", "list_last_separator")
"""Rules that lists use without naming them."""

Text = Callable[[Facts, Scope], str]
"""Tells what holds, for the objects that its variables stand for."""


class Narrator:
    """Compiles symbols, for the variables that are known where they are told."""

    def __init__(self, names: Mapping[str, str], rules: Mapping[str, tuple[Production, ...]]) -> None:
        self.names = names
        self._rules = rules
        self._told: dict[tuple[str, Variables], Text] = {}

    def compile(self, symbols: Sequence[Symbol], variables: Variables) -> Text:
        """Symbols, one after another: a format of what is always the same, and the parts to fill in."""
        form = "".join(symbol.text.replace("%", "%%") if isinstance(symbol, Literal) else "%s" for symbol in symbols)
        parts = [symbol.compile(self, variables) for symbol in symbols if not isinstance(symbol, Literal)]
        return lambda facts, scope: form % tuple([part(facts, scope) for part in parts])

    def rule(self, name: str, variables: Variables) -> Text:
        """The first alternative of a rule whose condition holds; its text raises ValueError where none does."""
        if (name, variables) not in self._told:
            productions = self._rules[name]
            plain = productions and not productions[0].condition
            self._told[name, variables] = (
                self.compile(productions[0].symbols, variables) if plain else self._choice(name, productions, variables)
            )
        return self._told[name, variables]

    def _choice(self, name: str, productions: Sequence[Production], variables: Variables) -> Text:
        @functools.cache  # when first told: a game pays for no text that it does not show, and a rule may lead back to itself
        def alternatives() -> list[tuple[Query, Text]]:
            return [
                (compile_query(one.condition, variables, distinct=True)[0], self.compile(one.symbols, variables))
                for one in productions
            ]

        def tell(facts: Facts, scope: Scope) -> str:
            for answers, text in alternatives():
                if answers(facts, scope):
                    return text(facts, scope)
            raise ValueError(f"no alternative of the grammar's rule {name!r} applies")

        return tell


@dataclass(frozen=True)
class Literal:
    """Text as it stands."""

    text: str

    def compile(self, narrator: Narrator, variables: Variables) -> Text:
        """The text."""
        text = self.text
        return lambda *_: text


@dataclass(frozen=True)
class Reference:
    """`#rule#`."""

    rule: str

    def compile(self, narrator: Narrator, variables: Variables) -> Text:
        """What the rule gives here."""
        return narrator.rule(self.rule, variables)


@dataclass(frozen=True)
class Property:
    """`o.name`, or `o` alone, which is its name too; `o.id`."""

    variable: str
    attribute: str

    def compile(self, narrator: Narrator, variables: Variables) -> Text:
        """The property of the object that the variable is bound to. Raises ValueError for a variable that is not."""
        if self.variable not in variables:
            raise ValueError(f"the grammar tells of {self.variable[1:]!r} where it stands for nothing")
        names, place = narrator.names, variables.index(self.variable)
        return (lambda _, scope: names[scope[place]]) if self.attribute == "name" else (lambda _, scope: scope[place])


_ARTICLES = {"definite": "the", "indefinite": "a"}
"""`o.definite`, `o.indefinite`: the same for every object."""


@dataclass(frozen=True)
class Joined:
    """`a + b`."""

    parts: tuple[Symbol, ...]

    def compile(self, narrator: Narrator, variables: Variables) -> Text:
        """The parts, one after another."""
        return narrator.compile(self.parts, variables)


@dataclass(frozen=True)
class FirstOf:
    """`a or b`: the first that is not empty."""

    parts: tuple[Symbol, ...]

    def compile(self, narrator: Narrator, variables: Variables) -> Text:
        """The first part with a text."""
        parts = [part.compile(narrator, variables) for part in self.parts]
        return lambda facts, scope: next((text for part in parts if (text := part(facts, scope))), "")


@dataclass(frozen=True)
class Each:
    """`{expression | query}`: the expression for every answer of the query, in a row or (`listed`) as a list in words."""

    expression: Symbol
    query: tuple[Atom, ...]
    listed: bool

    def compile(self, narrator: Narrator, variables: Variables) -> Text:
        """The texts of all answers."""
        answers, extended = compile_query(self.query, variables, distinct=True)
        expression = self.expression.compile(narrator, extended)
        empty, separator, last_separator = (narrator.rule(name, variables) for name in _IMPLICIT)

        def row(facts: Facts, scope: Scope) -> str:
            return "".join([expression(facts, one) for one in answers(facts, scope)])

        def words(facts: Facts, scope: Scope) -> str:
            *others, last = [expression(facts, one) for one in answers(facts, scope)] or [empty(facts, scope)]
            return separator(facts, scope).join(others) + last_separator(facts, scope) + last if others else last

        return words if self.listed else row


Symbol = Literal | Reference | Property | Joined | FirstOf | Each


@dataclass(frozen=True)
class Production:
    """One alternative of a rule."""

    condition: tuple[Atom, ...]
    symbols: tuple[Symbol, ...]


@dataclass(frozen=True)
class ActionText:
    """How a command is written, and what answers it."""

    template: tuple[Symbol, ...]
    feedback: tuple[Symbol, ...]


@dataclass(frozen=True)
class Grammar:
    """The rules and the actions of a game's text grammar."""

    rules: dict[str, tuple[Production, ...]]
    actions: dict[str, ActionText]
    """action name in lower case -> its texts"""
    negations: tuple[str, ...]
    """the predicates `not_...` that its text may ask for"""

    def intro(self) -> tuple[Symbol, ...]:
        """What is told at the start."""
        return parse_symbols(INTRO)


# Reading

_PART = re.compile(
    r'\s*(?:(?P<field>template|feedback|pddl|grammar)\s*::\s*(?:"""(?P<block>.*?)"""|"(?P<line>[^"]*)")\s*;'
    r"|action\s+(?P<action>\w+)\s*\{|(?P<close>\}))",
    re.DOTALL,
)
# Where TextWorld's parser skips white space: tabs before a symbol, and everything blank (or a // comment) at a line's start.
_SKIPPED = re.compile(r"(?:^(?://.*|\s*)\n?|\t+)+", re.MULTILINE)
_SYMBOL = re.compile(
    r"(?P<list>\[\{(?P<listed>[^{}\[\]]+)\}\])|\{(?P<each>[^{}\[\]]+)\}|#(?P<rule>[\w()/!<>\-\s,.]+)#"
    r'|"(?P<quoted>[^;|"<>\[\]#{}]*)"|(?P<text>[^;|"<>\[\]#{}]+)'
)
_PREDICATE = re.compile(r"\s*([\w-]+)\(([^()]*)\)\s*")


def parse_grammar(text: str, actions: Sequence[str]) -> Grammar:
    """Read a grammar and check everything that the intro and the named actions (lower case) can lead to.

    Raises ValueError for a text that is no grammar, a missing action or rule, an expression that is not understood.
    """
    blocks, found = _parts(text)
    texts: dict[str, list[dict[str, str]]] = {}
    for block in blocks:
        texts.update(_json(block))
    lines = {name: (fields.get("template", ""), fields.get("feedback", "")) for name, fields in found.items()}
    if missing := [name for name in actions if name not in lines]:
        raise ValueError(f"the grammar says nothing of the action {missing[0]!r}; it has {', '.join(lines)}")
    rules: dict[str, tuple[Production, ...]] = {}
    told = {name: ActionText(*map(parse_symbols, lines[name])) for name in actions}
    pending = [*_IMPLICIT, *_references(parse_symbols(INTRO))]
    for one in told.values():
        pending += [*_references(one.template), *_references(one.feedback)]
    while pending:
        name = pending.pop()
        if name in rules:
            continue
        if name not in texts:
            raise ValueError(f"the grammar has no rule {name!r}")
        rules[name] = tuple(_production(name, one.get("condition", ""), one.get("rhs")) for one in texts[name])
        pending += [reference for production in rules[name] for reference in _references(production.symbols)]
    return Grammar(rules, told, tuple("not_" + one for one in PREDICATES if "not_" + one in text))


def action_names(text: str) -> list[str]:
    """The actions that a grammar describes, in lower case. Raises ValueError for a text that is no grammar."""
    return list(_parts(text)[1])


@functools.lru_cache(maxsize=64)
def _parts(text: str) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The JSON blocks, in order, and each action's fields."""
    blocks: list[str] = []
    actions: dict[str, dict[str, str]] = {}
    inside: dict[str, str] | None = None
    at = 0
    while at < len(text.rstrip()):
        part = _PART.match(text, at)
        if part is None or (part["close"] and inside is None) or (part["field"] != "grammar" and part["field"] and inside is None):
            line = text.count("\n", 0, at) + 1
            raise ValueError(f"the grammar's line {line} cannot be read: {text[at : at + 60].strip()!r}; is the file cut off?")
        at = part.end()
        if part["action"]:
            inside = actions.setdefault(part["action"].lower(), {})
        elif part["close"]:
            inside = None
        elif part["field"] == "grammar":
            blocks.append(part["block"] if part["block"] is not None else part["line"])
        elif inside is not None:
            inside[part["field"]] = part["line"] if part["line"] is not None else part["block"]
    return blocks, actions


@functools.lru_cache(maxsize=256)
def _json(block: str) -> dict[str, list[dict[str, str]]]:
    lines = [line for line in textwrap.dedent(block).split("\n") if not line.lstrip().startswith("#")]
    try:
        rules = json.loads("\n".join(lines))
    except json.JSONDecodeError as error:
        raise ValueError(f"a block of the grammar is not JSON ({error}); is the file cut off?") from error
    if not isinstance(rules, dict) or not all(
        isinstance(one, list) and all(isinstance(p, dict) for p in one) for one in rules.values()
    ):
        raise ValueError('a block of the grammar is not of the form {"rule": [{"rhs": "text"}, ...], ...}')
    return rules


def _production(name: str, condition: object, rhs: object) -> Production:
    if not isinstance(rhs, str) or not isinstance(condition, str):
        raise ValueError(f"an alternative of the grammar's rule {name!r} has no text under 'rhs'")
    return Production(parse_query(condition) if condition else (), parse_symbols(rhs))


def _references(symbols: Sequence[Symbol]) -> list[str]:
    found: list[str] = []
    for symbol in symbols:
        if isinstance(symbol, Reference):
            found.append(symbol.rule)
        elif isinstance(symbol, Each):
            found += _references([symbol.expression])
    return found


@functools.lru_cache(maxsize=4096)
def parse_symbols(text: str) -> tuple[Symbol, ...]:
    """Read a right-hand side. Raises ValueError that quotes what cannot be read."""
    found: list[Symbol] = []
    at = _skip(text, 0)
    while at < len(text):
        match = _SYMBOL.match(text, at)
        if match is None:
            raise ValueError(f"the grammar's text {text!r} cannot be read at {text[at : at + 30]!r}")
        if inner := match["listed"] or match["each"]:
            found.append(_each(inner, listed=match["list"] is not None))
        elif match["rule"]:
            found.append(Reference(match["rule"]))
        else:
            found.append(Literal(match["quoted"] or match["text"] or ""))
        at = _skip(text, match.end())
    return tuple(found)


def _skip(text: str, at: int) -> int:
    match = _SKIPPED.match(text, at)
    return match.end() if match else at


def _each(text: str, listed: bool) -> Symbol:
    """The inside of braces: `expression` or `expression | query`."""
    expression, bar, query = text.partition("|")
    reference = re.fullmatch(r"\s*#([^#]+)#\s*", expression)
    symbol = Reference(reference[1]) if reference else parse_expression(expression.strip())
    if not bar and not listed:
        return symbol
    return Each(symbol, parse_query(query) if bar else (), listed)


@functools.lru_cache(maxsize=1024)
def parse_query(text: str) -> tuple[Atom, ...]:
    """Read `predicate(o:object, r:receptacle) & ...`. Raises ValueError for an unknown predicate."""
    atoms: list[Atom] = []
    for part in text.split("&"):
        match = _PREDICATE.fullmatch(part)
        name = match[1] if match else part.strip()
        positive = name.removeprefix("not_")
        terms = tuple("?" + word.partition(":")[0].strip() for word in match[2].split(",")) if match else ()
        if match is None or positive not in PREDICATES or not len({*terms}) == len(terms) == len(PREDICATES[positive]):
            wanted = f"one of {', '.join(PREDICATES)} with its arguments, all different"
            raise ValueError(f"the grammar asks for {part.strip()!r}: wanted {wanted}")
        atoms.append(Atom(name, terms))
    return tuple(atoms)


def parse_expression(text: str) -> Symbol:
    """Read an expression: `o`, `o.name` (or id, definite, indefinite), a string, `a + b`, `a or b`.

    Raises ValueError for anything else: it would have to be run to know its value.
    """
    if len(text) > 200:
        raise ValueError(f"the grammar's expression {text[:60]!r}... is too long ({len(text)} characters)")
    try:
        return _expression(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        wanted = "wanted a property such as o.name, a string, +, or"
        raise ValueError(f"the grammar's expression {{{text}}} is not run: {wanted}") from error


def _expression(node: ast.expr) -> Symbol:
    match node:
        case ast.Name(id=name):
            return Property("?" + name, "name")
        case ast.Attribute(value=ast.Name(id=name), attr=("name" | "id") as attribute):
            return Property("?" + name, attribute)
        case ast.Attribute(value=ast.Name(), attr=("definite" | "indefinite") as attribute):
            return Literal(_ARTICLES[attribute])
        case ast.Constant(value=str(text)):
            return Literal(text)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return Joined((_expression(left), _expression(right)))
        case ast.BoolOp(op=ast.Or(), values=values):
            return FirstOf(tuple(_expression(value) for value in values))
        case _:
            raise ValueError(ast.dump(node))
