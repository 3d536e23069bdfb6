"""Read the PDDL problem of a game file: its objects, the facts at the start, and the goal.

The domain of all ALFWorld releases is one set of rules (`envs.alfworld.rules`), so only the problem differs from game to
game. PDDL knows no case: everything is lower case here, as it is in the planner that upstream plays with.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Fact = tuple[str, ...]
"""The arguments of a fact, as object ids."""

TYPES = ("agent", "location", "receptacle", "object", "rtype", "otype")
PREDICATES: dict[str, tuple[str, ...]] = {
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "inreceptacle": ("object", "receptacle"),
    "isreceptacleobject": ("object",),
    "inreceptacleobject": ("object", "object"),
    "isreceptacleobjectfull": ("object",),
    "wasinreceptacle": ("object", "receptacle"),
    "receptacletype": ("receptacle", "rtype"),
    "cancontain": ("rtype", "otype"),
    "objecttype": ("object", "otype"),
    "holds": ("agent", "object"),
    "holdsany": ("agent",),
    "holdsanyreceptacleobject": ("agent",),
    "full": ("receptacle",),
    "isclean": ("object",),
    "cleanable": ("object",),
    "ishot": ("object",),
    "heatable": ("object",),
    "iscool": ("object",),
    "coolable": ("object",),
    "pickupable": ("object",),
    "moveable": ("object",),
    "toggleable": ("object",),
    "ison": ("object",),
    "istoggled": ("object",),
    "sliceable": ("object",),
    "issliced": ("object",),
}
"""Predicate -> types of its arguments: the domain's, less `checked` and `examined`, which no rule, text or goal reads."""

_FACT = re.compile(r"\(\s*([^\s()]+)\s*([^()]*)\)")
_TOKEN = re.compile(r"[()]|[^\s()]+")


@dataclass(frozen=True)
class Problem:
    """One game's world at its start, and what is to be reached."""

    objects: dict[str, str]
    """id -> type"""
    facts: dict[str, frozenset[Fact]]
    """predicate -> the facts that hold; every predicate has an entry"""
    goal: Any
    """nested lists of words, as PDDL's brackets nest them"""


def parse_problem(text: str) -> Problem:
    """Read a problem. Raises ValueError that says what is wrong and where: a cut text, an unknown predicate or object."""
    text = re.sub(r";.*", "", text).lower() if ";" in text else text.lower()
    objects = _objects(_section(text, "objects", "init"))
    facts = _facts(_section(text, "init", "goal"), objects)
    return Problem(objects, facts, _goal(text))


def write_problem(name: str, objects: Mapping[str, str], facts: Iterable[Fact], goal: str) -> str:
    """Write a problem that `parse_problem` reads: ids with their types, facts with their predicate first, the goal's formula."""
    listed = "\n".join(f"  {one} - {kind}" for one, kind in objects.items())
    held = "\n".join(f"  ({' '.join(fact)})" for fact in facts)
    return f"(define (problem {name})\n(:domain alfred)\n(:objects\n{listed}\n)\n(:init\n{held}\n)\n{goal}\n)\n"


def _section(text: str, name: str, following: str) -> str:
    """The inside of `(:name ...)`, which must be followed by the section `following`, as in every game file."""
    start, end = text.find(f"(:{name}"), text.find(f"(:{following}")
    if start < 0 or end < start:
        missing = name if start < 0 else following
        raise ValueError(f"the PDDL problem has no (:{missing} ...) in its place; is the file cut off?")
    inside = text[start + len(name) + 2 : end].rstrip()
    if not inside.endswith(")"):
        raise ValueError(f"(:{name} ...) of the PDDL problem is not closed before (:{following}; it ends in {inside[-40:]!r}")
    return inside[:-1]


def _objects(text: str) -> dict[str, str]:
    """`a b - type c - type` -> id to type."""
    found: dict[str, str] = {}
    names: list[str] = []
    words = map(sys.intern, text.split())
    for word in words:
        if word != "-":
            names.append(word)
            continue
        kind = next(words, "nothing")
        if kind not in TYPES:
            raise ValueError(f"object {names[-1] if names else '?'!r} has the unknown type {kind!r}; known: {', '.join(TYPES)}")
        found.update(dict.fromkeys(names, kind))
        names.clear()
    if names:
        raise ValueError(f"object {names[0]!r} of the PDDL problem has no type")
    return found


def _facts(text: str, objects: dict[str, str]) -> dict[str, frozenset[Fact]]:
    if rest := _FACT.sub("", text).strip():
        raise ValueError(f"(:init ...) holds something that is not a fact: {rest[:60]!r}")
    found: dict[str, set[Fact]] = {predicate: set() for predicate in PREDICATES}
    for predicate, arguments in _FACT.findall(text):
        fact = tuple(map(sys.intern, arguments.split()))  # an id stands in many facts
        if predicate not in PREDICATES:
            raise ValueError(f"unknown predicate {predicate!r} in ({predicate} {arguments}); known: {', '.join(PREDICATES)}")
        if len(fact) != len(PREDICATES[predicate]):
            raise ValueError(f"({predicate} {arguments}) has {len(fact)} arguments, wanted {len(PREDICATES[predicate])}")
        for argument in fact:
            if argument not in objects:
                raise ValueError(f"({predicate} {arguments}) names {argument!r}, which is not among the objects")
        found[predicate].add(fact)
    return {predicate: frozenset(facts) for predicate, facts in found.items()}


def _goal(text: str) -> Any:
    nesting: list[list[Any]] = [[]]
    for token in _TOKEN.findall(text, text.index("(:goal") + len("(:goal")):
        if token == "(":
            nesting.append([])
        elif token != ")":
            nesting[-1].append(token)
        elif len(nesting) > 1:
            inner = nesting.pop()
            nesting[-1].append(inner)
        elif len(nesting[0]) == 1:  # the bracket of (:goal itself
            return nesting[0][0]
        else:
            raise ValueError(f"(:goal ...) holds {len(nesting[0])} formulas, wanted one")
    raise ValueError("the brackets of (:goal ...) are not closed; is the file cut off?")
