"""ALFWorld's rules: what can be done where, what it changes, and what is told about it.

The rules are those of ALFRED's PDDL domain, which every release of ALFWorld shares (0.4 adds `help`); a game file with
another domain is refused. The problem and the text grammar are the file's own.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from envs.alfworld.grammar import Grammar, Narrator, parse_grammar
from envs.alfworld.logic import Facts, facts_with, parse_goal
from envs.alfworld.problem import Fact, Problem, parse_problem
from envs.alfworld.wording import reword

NOTHING = "Nothing happens."
"""The answer to a command that is not admissible."""


class Schema(NamedTuple):
    """An action's parameters, and the facts that it makes true and false; "?x" are parameters."""

    parameters: tuple[str, ...]
    adds: tuple[tuple[str, ...], ...] = ()
    deletes: tuple[tuple[str, ...], ...] = ()


ACTIONS: dict[str, Schema] = {
    "look": Schema(("?a", "?l")),
    "inventory": Schema(("?a",)),
    "help": Schema(("?a",)),
    "examinereceptacle": Schema(("?a", "?r")),
    "examineobject": Schema(("?a", "?o")),
    "gotolocation": Schema(
        ("?a", "?lstart", "?lend", "?r"), adds=(("atlocation", "?a", "?lend"),), deletes=(("atlocation", "?a", "?lstart"),)
    ),
    "openobject": Schema(("?a", "?l", "?r"), adds=(("opened", "?r"),)),
    "closeobject": Schema(("?a", "?l", "?r"), deletes=(("opened", "?r"),)),
    "pickupobject": Schema(
        ("?a", "?l", "?o", "?r"),
        adds=(("holds", "?a", "?o"), ("holdsany", "?a")),
        deletes=(("inreceptacle", "?o", "?r"), ("objectatlocation", "?o", "?l")),
    ),
    "putobject": Schema(
        ("?a", "?l", "?o", "?r", "?ot", "?rt"),
        adds=(("inreceptacle", "?o", "?r"), ("objectatlocation", "?o", "?l")),
        deletes=(("holds", "?a", "?o"), ("holdsany", "?a")),
    ),
    "cleanobject": Schema(("?a", "?l", "?r", "?o"), adds=(("isclean", "?o"),)),
    "heatobject": Schema(("?a", "?l", "?r", "?o"), adds=(("ishot", "?o"),), deletes=(("iscool", "?o"),)),
    "coolobject": Schema(("?a", "?l", "?r", "?o"), adds=(("iscool", "?o"),), deletes=(("ishot", "?o"),)),
    "toggleobject": Schema(("?a", "?l", "?o", "?r"), adds=(("istoggled", "?o"),)),
    "sliceobject": Schema(("?a", "?l", "?co", "?ko"), adds=(("issliced", "?co"),)),
}
"""The domain's actions, less what no text and no rule reads (`checked`, costs, the switch `ison` beside `istoggled`)."""

_KNIVES = ("knifetype", "butterknifetype")


class Domain(NamedTuple):
    """In what the released domains differ: their actions, and the types of receptacle that clean."""

    actions: tuple[str, ...]
    cleaners: tuple[str, ...]


_DOMAINS = {
    "12f8e07eea75ef3b": Domain(tuple(action for action in ACTIONS if action != "help"), ("sinkbasintype",)),  # package 0.2, 0.3
    "9f953aecdc35af60": Domain(tuple(ACTIONS), ("sinkbasintype",)),  # package 0.4
    "abd977daed3ce87d": Domain(tuple(ACTIONS), ("sinktype", "sinkbasintype")),  # the official games
}
"""By digest, see `domain_digest`."""

Move = tuple[str, Fact]
"""An action and the objects that its parameters stand for."""


class Game:
    """What never changes in one game: read once, shared by everybody who plays it."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """Read the content of a game file.

        Raises ValueError for a part that is missing, cut off or unknown.
        """
        for part in ("pddl_domain", "grammar", "pddl_problem"):
            if not isinstance(data, Mapping) or not isinstance(data.get(part), str):
                raise ValueError(f"there is no text under {part!r}")
        domain = _known(data["pddl_domain"])
        self.actions = domain.actions
        self.appliances = (
            ("cleanobject", "cleanable", domain.cleaners),
            ("heatobject", "heatable", ("microwavetype",)),
            ("coolobject", "coolable", ("fridgetype",)),
        )
        self.problem: Problem = parse_problem(data["pddl_problem"])
        self.grammar: Grammar = parse_grammar(data["grammar"], self.actions)
        self.goal = parse_goal(self.problem.goal)
        named = {term for atoms in self.goal.conjunctions for atom in atoms for term in atom.terms if not term.startswith("?")}
        if unknown := named - self.problem.objects.keys():
            raise ValueError(f"the goal names {', '.join(sorted(unknown))}, which is not among the objects")
        facts = self.problem.facts
        self.names = object_names({argument for rows in facts.values() for row in rows for argument in row})
        if len(facts["atlocation"]) != 1:
            raise ValueError(f"{len(facts['atlocation'])} agents have a place, wanted one")
        self.receptacles_at: dict[str, list[str]] = {}
        for receptacle, location in sorted(facts["receptacleatlocation"]):
            self.receptacles_at.setdefault(location, []).append(receptacle)
        self.types_of: dict[str, list[str]] = {}
        for name, kind in sorted(facts["objecttype"] | facts["receptacletype"]):
            self.types_of.setdefault(name, []).append(kind)
        self._commands: dict[Move, str] = {}
        self._travel: dict[str, dict[str, Move]] = {}

    def narrator(self, facts: Facts) -> Narrator:
        """Tells what the facts are, in the words of the game."""
        return Narrator(facts, self.names, self.grammar.rules)

    def command(self, move: Move) -> str:
        """How a move is written."""
        if move not in self._commands:
            action, arguments = move
            scope = dict(zip(ACTIONS[action].parameters, arguments, strict=True))
            self._commands[move] = self.narrator(self.problem.facts).tell(self.grammar.actions[action].template, scope)
        return self._commands[move]

    def travel(self, agent: str, here: str) -> dict[str, Move]:
        """The ways to every other place, by command, sorted."""
        if here not in self._travel:
            places = ((receptacle, there) for there, near in self.receptacles_at.items() if there != here for receptacle in near)
            moves: list[Move] = [("gotolocation", (agent, here, there, receptacle)) for receptacle, there in places]
            self._travel[here] = dict(sorted((self.command(move), move) for move in moves))
        return self._travel[here]


def _known(domain: str) -> Domain:
    """A domain by the digest of its text. Raises ValueError for an unknown domain."""
    digest = domain_digest(domain)
    if digest not in _DOMAINS:
        raise ValueError(
            f"its PDDL domain (digest {digest}) is none that ALFWorld has released: the rules may differ. "
            "engine='textworld' plays any domain"
        )
    return _DOMAINS[digest]


@functools.lru_cache(maxsize=16)
def domain_digest(domain: str) -> str:
    """Name a domain by what it says: comments, case and white space do not count."""
    plain = re.sub(r";.*", "", domain).lower()
    return hashlib.sha256("".join(plain.split()).encode()).hexdigest()[:16]


def object_names(ids: Iterable[str]) -> dict[str, str]:
    """Give every object its name: `mug_bar_...` is "mug 2".

    Objects of a kind are numbered downwards in the order of their ids, so that the first has the highest number, as
    upstream's demangler does. What is not of the form `kind_bar_place` has its id for a name, with a blank after it.
    """
    kinds = {one: _kind(one) for one in sorted(ids)}
    left = Counter(kind for kind in kinds.values() if kind)
    found: dict[str, str] = {}
    for one, kind in kinds.items():
        found[one] = f"{kind} {left[kind]}" if kind else f"{_plain(one)} "
        left[kind] -= 1
    return found


def _kind(identifier: str) -> str:
    """The word that the text uses for an object; "" for what has none."""
    kind, bar, _ = identifier.partition("_bar_")
    # A sink's basin is an object of its own: Sink|...|SinkBasin is the "sinkbasin".
    return kind + ("basin" if "basin" in identifier else "") if bar else ""


def _plain(identifier: str) -> str:
    for code, sign in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
        identifier = identifier.replace(code, sign)
    return identifier


class World:
    """One game being played."""

    def __init__(self, game: Game) -> None:
        """Start at the beginning."""
        self.game = game
        self.facts: dict[str, frozenset[Fact]] = dict(game.problem.facts)
        self._refresh()
        self._won = game.goal.holds(self.facts)

    @property
    def won(self) -> bool:
        """Whether the goal holds."""
        return self._won

    @property
    def commands(self) -> list[str]:
        """The admissible commands, sorted."""
        return list(self._sorted)

    def intro(self) -> str:
        """What is told at the start."""
        return self.game.narrator(self.facts).tell(self.game.grammar.intro(), {})

    def do(self, command: str) -> str:
        """Carry out a command and tell what came of it."""
        move = self._moves.get(command.strip())
        if move is None:
            return NOTHING
        action, arguments = move
        scope = dict(zip(ACTIONS[action].parameters, arguments, strict=True))
        self._apply(action, scope)
        return self.game.narrator(self.facts).tell(self.game.grammar.actions[action].feedback, scope)

    def snapshot(self) -> dict[str, frozenset[Fact]]:
        """The state: the facts that differ from the start's."""
        start = self.game.problem.facts
        return {predicate: rows for predicate, rows in self.facts.items() if rows is not start.get(predicate)}

    def restore(self, state: dict[str, frozenset[Fact]]) -> None:
        """Go back (or on) to a state of this game."""
        self.facts = self.game.problem.facts | state
        self._refresh()
        self._won = self.game.goal.holds(self.facts)

    def _apply(self, action: str, scope: dict[str, str]) -> None:
        _, adds, deletes = ACTIONS[action]
        if not adds and not deletes:
            return
        for predicate, *terms in deletes:
            self._set(predicate, tuple(scope[term] for term in terms), False)
        for predicate, *terms in adds:
            self._set(predicate, tuple(scope[term] for term in terms), True)
        self._refresh()
        if any(one[0] in self.game.goal.predicates for one in adds + deletes):
            self._won = self.game.goal.holds(self.facts)

    def _set(self, predicate: str, fact: Fact, holds: bool) -> None:
        """Make a fact true or false. What an action makes false is a fact of its own, `not_...`, which the grammar may ask for."""
        negation = "not_" + predicate
        true, false = (predicate, negation) if holds else (negation, predicate)
        self.facts[true] = self.facts.get(true, frozenset()) | {fact}
        self.facts[false] = self.facts.get(false, frozenset()) - {fact}

    def _refresh(self) -> None:
        """Find what can be done now."""
        ((agent, here),) = self.facts["atlocation"]
        moves = dict(self.game.travel(agent, here))
        for move in self._local(agent, here):
            moves.setdefault(self.game.command(move), move)
        self._moves = moves
        self._sorted = sorted(moves)

    def _local(self, agent: str, here: str) -> Iterator[Move]:
        """All moves but those to other places."""
        facts, near = self.facts, self.game.receptacles_at.get(here, ())
        held = [thing for _, thing in facts["holds"]]
        yield "look", (agent, here)
        yield "inventory", (agent,)
        if "help" in self.game.actions:
            yield "help", (agent,)
        for receptacle in near:
            yield from self._at_receptacle(agent, here, receptacle, held)
        for thing in held:
            # The domain means to let what lies in reach be examined too, but a stray comma ("?l - location, ?r - receptacle")
            # asks for a type that nothing has: only what is held can be.
            yield "examineobject", (agent, thing)
            yield from self._with_held(agent, here, near, thing)

    def _at_receptacle(self, agent: str, here: str, receptacle: str, held: list[str]) -> Iterator[Move]:
        facts = self.facts
        yield "examinereceptacle", (agent, receptacle)
        inside = [thing for thing, _ in facts_with(facts["inreceptacle"], 1, receptacle)]
        for thing in inside:
            if (thing,) in facts["toggleable"]:
                yield "toggleobject", (agent, here, thing, receptacle)
        if (receptacle,) in facts["openable"]:
            if (receptacle,) not in facts["opened"]:
                yield "openobject", (agent, here, receptacle)
                return
            yield "closeobject", (agent, here, receptacle)
        for thing in inside:
            if not facts["holdsany"] and (thing,) in facts["pickupable"]:
                yield "pickupobject", (agent, here, thing, receptacle)
        for thing in held:
            for kind in self.game.types_of.get(thing, ()):
                for place in self.game.types_of.get(receptacle, ()):
                    if (place, kind) in facts["cancontain"]:
                        yield "putobject", (agent, here, thing, receptacle, kind, place)

    def _with_held(self, agent: str, here: str, near: Iterable[str], thing: str) -> Iterator[Move]:
        facts, types_of = self.facts, self.game.types_of
        for receptacle in near:
            for action, property_, places in self.game.appliances:
                if (thing,) in facts[property_] and any(place in types_of.get(receptacle, ()) for place in places):
                    yield action, (agent, here, receptacle, thing)
        if any(kind in types_of.get(thing, ()) for kind in _KNIVES):
            for other, _ in facts_with(facts["objectatlocation"], 1, here):
                if (other,) in facts["sliceable"]:
                    yield "sliceobject", (agent, here, other, thing)


def load_game(text: str, wording: str = "file") -> Game:
    """Read a game file's text, reworded if so wanted. Raises ValueError that says what is wrong with it."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error}); a cut-off download looks like this") from error
    try:
        return Game(reword(data, wording) if isinstance(data, dict) else data)
    except RecursionError as error:
        raise ValueError("its goal is nested too deeply") from error
