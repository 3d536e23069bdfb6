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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envs.alfworld.logic import Atom, Facts, Scope, answers
from envs.alfworld.problem import PREDICATES

INTRO = "#intro#"
_IMPLICIT = ("list_empty", "list_separator", "list_last_separator")
"""Rules that lists use without naming them."""


@dataclass(frozen=True)
class Narrator:
    """What the rendering of a text reads: the facts, and the name of every object."""

    facts: Facts
    names: Mapping[str, str]
    rules: Mapping[str, tuple[Production, ...]]

    def tell(self, symbols: Sequence[Symbol], scope: Scope) -> str:
        """Render symbols under a binding of variables."""
        return "".join(symbol.render(self, scope) for symbol in symbols)

    def rule(self, name: str, scope: Scope) -> str:
        """Render the first alternative of a rule whose condition holds. Raises ValueError where none does."""
        for production in self.rules[name]:
            condition = production.condition
            if not condition or answers(condition, self.facts, scope, distinct=True):
                return self.tell(production.symbols, scope)
        raise ValueError(f"no alternative of the grammar's rule {name!r} applies")


@dataclass(frozen=True)
class Literal:
    """Text as it stands."""

    text: str

    def render(self, narrator: Narrator, scope: Scope) -> str:
        """The text."""
        return self.text


@dataclass(frozen=True)
class Reference:
    """`#rule#`."""

    rule: str

    def render(self, narrator: Narrator, scope: Scope) -> str:
        """What the rule gives here."""
        return narrator.rule(self.rule, scope)


@dataclass(frozen=True)
class Property:
    """`o.name`, or `o` alone, which is its name too."""

    variable: str
    attribute: str

    def render(self, narrator: Narrator, scope: Scope) -> str:
        """The property of the object that the variable is bound to."""
        bound = scope[self.variable]
        return narrator.names[bound] if self.attribute == "name" else bound if self.attribute == "id" else _ARTICLES[self.attribute]


_ARTICLES = {"definite": "the", "indefinite": "a"}


@dataclass(frozen=True)
class Joined:
    """`a + b`."""

    parts: tuple[Symbol, ...]

    def render(self, narrator: Narrator, scope: Scope) -> str:
        """The parts, one after another."""
        return narrator.tell(self.parts, scope)


@dataclass(frozen=True)
class FirstOf:
    """`a or b`: the first that is not empty."""

    parts: tuple[Symbol, ...]

    def render(self, narrator: Narrator, scope: Scope) -> str:
        """The first part with a text."""
        return next((text for part in self.parts if (text := part.render(narrator, scope))), "")


@dataclass(frozen=True)
class Each:
    """`{expression | query}`: the expression for every answer of the query, in a row or (`listed`) as a list in words."""

    expression: Symbol
    query: tuple[Atom, ...]
    listed: bool

    def render(self, narrator: Narrator, scope: Scope) -> str:
        """The texts of all answers."""
        found = [self.expression.render(narrator, one) for one in answers(self.query, narrator.facts, scope, distinct=True)]
        if not self.listed:
            return "".join(found)
        if not found:
            return narrator.rule("list_empty", scope)
        if len(found) == 1:
            return found[0]
        return narrator.rule("list_separator", scope).join(found[:-1]) + narrator.rule("list_last_separator", scope) + found[-1]


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
    return Grammar(rules, told)


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
        if match is None or positive not in PREDICATES or len(terms) != len(PREDICATES[positive]):
            raise ValueError(f"the grammar asks for {part.strip()!r}: wanted one of {', '.join(PREDICATES)} with its arguments")
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
        case ast.Attribute(value=ast.Name(id=name), attr=("name" | "id" | "definite" | "indefinite") as attribute):
            return Property("?" + name, attribute)
        case ast.Constant(value=str(text)):
            return Literal(text)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return Joined((_expression(left), _expression(right)))
        case ast.BoolOp(op=ast.Or(), values=values):
            return FirstOf(tuple(_expression(value) for value in values))
        case _:
            raise ValueError(ast.dump(node))
