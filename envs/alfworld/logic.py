"""Conjunctive queries over facts: what the text grammar's conditions and the goals of games are made of."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from envs.alfworld.problem import PREDICATES, Fact

Facts = Mapping[str, frozenset[Fact]]
"""predicate -> the facts that hold. `not_p` is a predicate too: what an action has made false."""
Scope = dict[str, str]
"""variable ("?o") -> object id"""

_NONE: frozenset[Fact] = frozenset()


class Atom(NamedTuple):
    """`predicate(terms)`; a term that starts with "?" is a variable, any other an object. "=" compares its two terms."""

    predicate: str
    terms: tuple[str, ...]
    positive: bool = True


def answers(atoms: Iterable[Atom], facts: Facts, scope: Scope, distinct: bool = False) -> list[Scope]:
    """Every extension of `scope` under which all atoms hold, in the order of the atoms and, within one, of its sorted facts.

    `distinct`: a newly bound variable never takes a value that another has, as in TextWorld's queries.
    """
    found = [scope]
    for atom in atoms:
        found = [extended for one in found for extended in _extensions(atom, facts, one, distinct)]
    return found


def _extensions(atom: Atom, facts: Facts, scope: Scope, distinct: bool) -> list[Scope]:
    """The scope extended by one atom: by each of its facts, or not at all where the atom is only a test."""
    predicate, terms, positive = atom
    pattern = tuple([scope.get(term) if term[0] == "?" else term for term in terms])
    if None not in pattern:
        holds = pattern[0] == pattern[1] if predicate == "=" else pattern in facts.get(predicate, _NONE)
        return [scope] if holds == positive else []
    free = [place for place, value in enumerate(pattern) if value is None]
    found = []
    for row in _matching(facts.get(predicate, _NONE), pattern):
        bound = {terms[place]: row[place] for place in free}
        if any(bound[terms[place]] != row[place] for place in free):
            continue  # one variable twice, with two values
        if distinct and (len(set(bound.values())) < len(bound) or not set(bound.values()).isdisjoint(scope.values())):
            continue
        found.append(scope | bound)
    return found


def _matching(rows: frozenset[Fact], pattern: tuple[str | None, ...]) -> list[Fact]:
    """The facts that agree with a pattern (None agrees with everything), sorted."""
    known = [place for place, value in enumerate(pattern) if value is not None]
    if not known:
        return sorted(rows)
    first, *others = known
    return [row for row in facts_with(rows, first, pattern[first]) if all(row[place] == pattern[place] for place in others)]


def facts_with(rows: frozenset[Fact], place: int, value: str | None) -> Sequence[Fact]:
    """The facts that have `value` at `place`, sorted. What was sorted once for a set of facts is kept."""
    return _index(rows, place).get(value, ())


@functools.lru_cache(maxsize=1024)
def _index(rows: frozenset[Fact], place: int) -> dict[str | None, list[Fact]]:
    found: dict[str | None, list[Fact]] = {}
    for row in sorted(rows):
        found.setdefault(row[place], []).append(row)
    return found


@dataclass(frozen=True)
class Goal:
    """A goal: closed conjunctions, all of which must hold."""

    conjunctions: tuple[tuple[Atom, ...], ...]
    predicates: frozenset[str]
    """those that the goal reads"""

    def holds(self, facts: Facts) -> bool:
        """Whether the goal is reached."""
        return all(answers(atoms, facts, {}) for atoms in self.conjunctions)


def parse_goal(formula: Any) -> Goal:
    """Read a goal made of and, exists, not (of an atom) and "=", as the official games' are.

    Raises ValueError for another connective or an unknown predicate.
    """
    parts = formula[1:] if formula and formula[0] == "and" else [formula]
    conjunctions = tuple(_selective(_atoms(part, set())) for part in parts)
    return Goal(conjunctions, frozenset(atom.predicate for atoms in conjunctions for atom in atoms))


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
    if len(atom.terms) != wanted or free:
        raise ValueError(f"the goal holds {formula!r}: wanted {wanted} arguments, variables only where exists binds them")
    return [atom]


def _words(formula: Any) -> bool:
    return isinstance(formula, list) and all(isinstance(word, str) for word in formula)


def _selective(atoms: list[Atom]) -> tuple[Atom, ...]:
    """The order with the fewest unbound variables first; what only tests (a negation, "=") comes once all of it is bound."""
    ordered: list[Atom] = []
    bound: set[str] = set()
    while atoms:
        best = min(atoms, key=lambda atom: _cost(atom, bound))
        atoms.remove(best)
        ordered.append(best)
        bound.update(term for term in best.terms if term.startswith("?"))
    return tuple(ordered)


def _cost(atom: Atom, bound: set[str]) -> tuple[bool, int]:
    free = sum(term.startswith("?") and term not in bound for term in atom.terms)
    return free > 0 and (not atom.positive or atom.predicate == "="), free
