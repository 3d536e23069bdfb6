"""Conjunctive queries over facts: what the text grammar's conditions and the goals of games are made of.

A query is compiled once, for the variables that are known where it is asked; a scope is then no more than the tuple of the
objects that these stand for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from envs.alfworld.problem import PREDICATES, Fact

Variables = tuple[str, ...]
"""names ("?o"), each once"""
Scope = tuple[str, ...]
"""the object ids that variables stand for, one each"""
Places = tuple[int, ...]
"""of arguments among those of a fact or scope"""
Picker = Callable[[tuple[str, ...]], tuple[str, ...]]


@functools.cache
def picker(places: Places) -> Picker:
    """Take some places of a tuple, as a tuple, which itemgetter by itself gives for two and more only."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1) if places else slice(0))


class Relation:
    """The facts of one predicate. It never changes, and keeps its indexes."""

    __slots__ = ("_indexes", "rows")

    def __init__(self, rows: Iterable[Fact] = ()) -> None:
        self.rows = frozenset(rows)
        self._indexes: dict[tuple[Places, Places], dict[Fact, list[Fact]]] = {}

    def index(self, known: Places, asked: Places) -> dict[Fact, list[Fact]]:
        """The values of the known arguments -> those of the others, which are asked for, sorted."""
        if (known, asked) not in self._indexes:
            found: dict[Fact, list[Fact]] = {}
            for row in sorted(self.rows):
                found.setdefault(picker(known)(row), []).append(picker(asked)(row))
            self._indexes[known, asked] = found
        return self._indexes[known, asked]

    def flipped(self, facts: Set[Fact]) -> Relation:
        """The relation without those of the facts that it has, and with the others. Its indexes are not made anew."""
        other = Relation(self.rows ^ facts)
        for (known, asked), index in self._indexes.items():
            index = dict(index)
            for fact in facts:
                key, value = picker(known)(fact), picker(asked)(fact)
                index[key] = sorted({value} ^ {*index.get(key, ())})
            other._indexes[known, asked] = index
        return other


Facts = Mapping[str, Relation]
"""predicate -> the facts that hold. `not_p` is a predicate too: what an action has made false."""


class Atom(NamedTuple):
    """`predicate(terms)`; a term that starts with "?" is a variable, any other an object. "=" compares its two terms."""

    predicate: str
    terms: tuple[str, ...]
    positive: bool = True


Query = Callable[[Facts, Scope], list[Scope]]
"""Every extension of a scope under which the query holds."""
Step = Callable[[Facts, list[Scope]], list[Scope]]
"""The same for one atom and many scopes."""


def compile_query(atoms: Iterable[Atom], variables: Variables, distinct: bool = False) -> tuple[Query, Variables]:
    """Make a function of a conjunction, asked where `variables` are known; and the variables of its answers.

    Answers come in the order of the atoms and, within one, of its sorted facts. `distinct`: a newly bound variable never
    takes a value that another has, as in TextWorld's queries.
    """
    steps: list[Step] = []
    for atom in atoms:
        new = tuple(term for term in atom.terms if term not in variables)
        steps.append(_extension(atom, variables, distinct) if new else _test(atom, variables))
        variables += new

    def answers(facts: Facts, scope: Scope) -> list[Scope]:
        found = [scope]
        for step in steps:
            found = step(facts, found)
        return found

    return answers, variables


def _test(atom: Atom, variables: Variables) -> Step:
    """Keep the scopes under which an atom holds that has no new variable."""
    predicate, terms, positive = atom
    pick = picker(tuple(variables.index(term) for term in terms))
    if predicate == "=":
        return lambda _, found: [scope for scope in found if (len(set(pick(scope))) == 1) == positive]

    def test(facts: Facts, found: list[Scope]) -> list[Scope]:
        rows = facts[predicate].rows
        return [scope for scope in found if (pick(scope) in rows) == positive]

    return test


def _extension(atom: Atom, variables: Variables, distinct: bool) -> Step:
    """Extend each scope by every fact that agrees with it."""
    known = tuple(place for place, term in enumerate(atom.terms) if term in variables)
    asked = tuple(place for place, term in enumerate(atom.terms) if term not in variables)
    pick = picker(tuple(variables.index(atom.terms[place]) for place in known))

    def extend(facts: Facts, found: list[Scope]) -> list[Scope]:
        index = facts[atom.predicate].index(known, asked)
        return [
            scope + new
            for scope in found
            for new in index.get(pick(scope), ())
            if not distinct or len({*scope, *new}) == len({*scope}) + len(new)
        ]

    return extend


@dataclass(frozen=True)
class Goal:
    """A goal: closed conjunctions, all of which must hold."""

    conjunctions: tuple[tuple[Atom, ...], ...]

    @functools.cached_property
    def objects(self) -> Scope:
        """Those that it names; for its queries they are variables that stand for themselves."""
        terms = (term for atoms in self.conjunctions for atom in atoms for term in atom.terms)
        return tuple(dict.fromkeys(term for term in terms if not term.startswith("?")))

    @functools.cached_property
    def predicates(self) -> frozenset[str]:
        """Those that it reads."""
        return frozenset(atom.predicate for atoms in self.conjunctions for atom in atoms)

    @functools.cached_property
    def _queries(self) -> list[Query]:
        return [compile_query(atoms, self.objects)[0] for atoms in self.conjunctions]

    def holds(self, facts: Facts) -> bool:
        """Whether the goal is reached."""
        return all(query(facts, self.objects) for query in self._queries)


def parse_goal(formula: Any) -> Goal:
    """Read a goal made of and, exists, not (of an atom) and "=", as the official games' are.

    Raises ValueError for another connective or an unknown predicate.
    """
    parts = formula[1:] if formula and formula[0] == "and" else [formula]
    return Goal(tuple(_selective(_atoms(part, set())) for part in parts))


def _atoms(formula: Any, bound: set[str], positive: bool = True) -> list[Atom]:
    head = formula[0] if isinstance(formula, list) and formula else formula
    if head == "and" and positive:
        return [atom for part in formula[1:] for atom in _atoms(part, bound)]
    if head == "exists" and positive and len(formula) == 3 and _words(formula[1]):
        variables = {word for word in formula[1] if word.startswith("?")}
        if again := variables & bound:
            raise ValueError(f"the goal holds {', '.join(sorted(again))} twice, which is not read here")
        bound |= variables  # for the whole conjunction: another quantifier must take another name
        return _atoms(formula[2], bound)
    if head == "not" and positive and len(formula) == 2:
        return _atoms(formula[1], bound, positive=False)
    if not isinstance(head, str) or not _words(formula) or (head != "=" and head not in PREDICATES):
        raise ValueError(f"the goal holds {formula!r}: wanted and, exists, not, = and the predicates {', '.join(PREDICATES)}")
    atom = Atom(head, tuple(formula[1:]), positive)
    wanted = 2 if head == "=" else len(PREDICATES[head])
    free = [term for term in atom.terms if term.startswith("?") and term not in bound]
    if len(atom.terms) != wanted or free or (head != "=" and len(set(atom.terms)) < wanted):
        raise ValueError(f"the goal holds {formula!r}: wanted {wanted} different arguments, variables only where exists binds them")
    return [atom]


def _words(formula: Any) -> bool:
    return isinstance(formula, list) and all(isinstance(word, str) for word in formula)


def _selective(atoms: list[Atom]) -> tuple[Atom, ...]:
    """The order with the fewest unbound variables first; what only tests (a negation, "=") comes once all of it is bound."""
    ordered: list[Atom] = []
    bound: set[str] = set()
    while atoms:
        best = min(atoms, key=lambda atom: _cost(atom, bound))
        if _cost(best, bound)[0]:
            raise ValueError(f"the goal holds a test of {best.predicate} {' '.join(best.terms)}, whose variables no fact binds")
        atoms.remove(best)
        ordered.append(best)
        bound.update(term for term in best.terms if term.startswith("?"))
    return tuple(ordered)


def _cost(atom: Atom, bound: set[str]) -> tuple[bool, int]:
    free = sum(term.startswith("?") and term not in bound for term in atom.terms)
    return free > 0 and (not atom.positive or atom.predicate == "="), free
