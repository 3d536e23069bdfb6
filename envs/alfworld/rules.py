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
from envs.alfworld.logic import Picker, Places, Relation, parse_goal, picker
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

    @property
    def appliances(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """(an action, what a thing must be for it, the types of receptacle that do it)"""
        return (
            ("cleanobject", "cleanable", self.cleaners),
            ("heatobject", "heatable", ("microwavetype",)),
            ("coolobject", "coolable", ("fridgetype",)),
        )


_DOMAINS = {
    "12f8e07eea75ef3b": Domain(tuple(action for action in ACTIONS if action != "help"), ("sinkbasintype",)),  # package 0.2, 0.3
    "9f953aecdc35af60": Domain(tuple(ACTIONS), ("sinkbasintype",)),  # package 0.4
    "abd977daed3ce87d": Domain(tuple(ACTIONS), ("sinktype", "sinkbasintype")),  # the official games
}
"""By digest, see `domain_digest`."""

_FIRST: tuple[Places, Places] = ((1,), (0,))
"""Knows the second of two arguments, and asks for the first."""

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
        self.domain = _known(data["pddl_domain"])
        self.problem: Problem = parse_problem(data["pddl_problem"])
        if "lstart" in data["grammar"]:  # see command()
            raise ValueError("its grammar names the place that one leaves (lstart), which no released one does")
        self.grammar = parse_grammar(data["grammar"], self.domain.actions)
        self._prepare()

    def __getstate__(self) -> tuple[Domain, Problem, Grammar]:
        # Compiled texts are functions, which pickle does not take.
        return self.domain, self.problem, self.grammar

    def __setstate__(self, state: tuple[Domain, Problem, Grammar]) -> None:
        self.domain, self.problem, self.grammar = state
        self._prepare()

    def _prepare(self) -> None:
        """Make of what was read all that playing looks up."""
        self.actions, self.appliances = self.domain.actions, self.domain.appliances
        self.goal = parse_goal(self.problem.goal)
        if unknown := set(self.goal.objects) - self.problem.objects.keys():
            raise ValueError(f"the goal names {', '.join(sorted(unknown))}, which is not among the objects")
        self.start = {predicate: Relation(rows) for predicate, rows in self.problem.facts.items()}
        self.start |= dict.fromkeys(self.grammar.negations, Relation())
        self.names = object_names({argument for one in self.start.values() for row in one.rows for argument in row})
        if len(self.start["atlocation"].rows) != 1:
            raise ValueError(f"{len(self.start['atlocation'].rows)} agents have a place, wanted one")
        self.receptacles_at: dict[str, list[str]] = {}
        for receptacle, location in sorted(self.start["receptacleatlocation"].rows):
            self.receptacles_at.setdefault(location, []).append(receptacle)
        self.types_of: dict[str, list[str]] = {}
        for name, kind in sorted(self.start["objecttype"].rows | self.start["receptacletype"].rows):
            self.types_of.setdefault(name, []).append(kind)
        narrator, texts = Narrator(self.names, self.grammar.rules), self.grammar.actions.items()
        self.intro = narrator.compile(self.grammar.intro(), ())(self.start, ())
        self.feedback = {action: narrator.compile(text.feedback, ACTIONS[action].parameters) for action, text in texts}
        self._templates = {action: narrator.compile(text.template, ACTIONS[action].parameters) for action, text in texts}
        self.effects = {action: list(self._effects(action)) for action in self.actions}
        self._commands: dict[Move, str] = {}
        self._always: dict[str, dict[str, Move]] = {}

    def _effects(self, action: str) -> Iterator[tuple[str, Picker, bool]]:
        """What an action changes: (predicate, which of its arguments are the fact's, whether that holds afterwards).

        What an action makes false is a fact of its own, `not_...`; it is kept where the grammar asks for it.
        """
        parameters, adds, deletes = ACTIONS[action]
        for facts, holds in ((deletes, False), (adds, True)):
            for predicate, *terms in facts:
                pick = picker(tuple(parameters.index(term) for term in terms))
                yield predicate, pick, holds
                if "not_" + predicate in self.start:
                    yield "not_" + predicate, pick, not holds

    def command(self, move: Move) -> str:
        """How a move is written."""
        action, arguments = move
        if action == "gotolocation":  # written alike wherever one comes from, so that one text does for all
            agent, _, there, receptacle = arguments
            move = action, (agent, there, there, receptacle)
        if move not in self._commands:
            self._commands[move] = self._templates[action](self.start, arguments)
        return self._commands[move]

    def always(self, agent: str, here: str) -> dict[str, Move]:
        """What can be done at a place whatever has happened, by command, sorted."""
        if here not in self._always:
            places = ((receptacle, there) for there, near in self.receptacles_at.items() if there != here for receptacle in near)
            moves: list[Move] = [("gotolocation", (agent, here, there, receptacle)) for receptacle, there in places]
            moves += [("look", (agent, here)), ("inventory", (agent,))]
            moves += [("help", (agent,))] if "help" in self.actions else []
            moves += [("examinereceptacle", (agent, receptacle)) for receptacle in self.receptacles_at.get(here, ())]
            self._always[here] = dict(sorted((self.command(move), move) for move in moves))
        return self._always[here]


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
        self.restore({})

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
        return self.game.intro

    def do(self, command: str) -> str:
        """Carry out a command and tell what came of it."""
        move = self._moves.get(command.strip())
        if move is None:
            return NOTHING
        action, arguments = move
        self._apply(action, arguments)
        return self.game.feedback[action](self.facts, arguments)

    def snapshot(self) -> dict[str, frozenset[Fact]]:
        """The state: the facts that hold now and did not at the start, and those that did and do not."""
        start = self.game.start
        changed = [predicate for predicate, relation in self.facts.items() if relation is not start[predicate]]
        return {one: facts for one in changed if (facts := self.facts[one].rows ^ start[one].rows)}

    def restore(self, state: dict[str, frozenset[Fact]]) -> None:
        """Go back (or on) to a state of this game."""
        start = self.game.start
        self.facts = start | {predicate: start[predicate].flipped(facts) for predicate, facts in state.items()}
        self._refresh()
        self._won = self.game.goal.holds(self.facts)

    def _apply(self, action: str, arguments: Fact) -> None:
        effects = self.game.effects[action]
        if not effects:
            return
        for predicate, pick, holds in effects:
            fact, relation = pick(arguments), self.facts[predicate]
            if holds != (fact in relation.rows):
                self.facts[predicate] = relation.flipped({fact})
        self._refresh()
        if any(predicate in self.game.goal.predicates for predicate, _, _ in effects):
            self._won = self.game.goal.holds(self.facts)

    def _refresh(self) -> None:
        """Find what can be done now."""
        ((agent, here),) = self.facts["atlocation"].rows
        moves = dict(self.game.always(agent, here))
        for move in self._passing(agent, here):
            moves.setdefault(self.game.command(move), move)
        self._moves = moves
        self._sorted = sorted(moves)

    def _passing(self, agent: str, here: str) -> Iterator[Move]:
        """What can be done as things are now."""
        near = self.game.receptacles_at.get(here, ())
        held = [thing for _, thing in self.facts["holds"].rows]
        for receptacle in near:
            yield from self._at_receptacle(agent, here, receptacle, held)
        for thing in held:
            # The domain means to let what lies in reach be examined too, but a stray comma ("?l - location, ?r - receptacle")
            # asks for a type that nothing has: only what is held can be.
            yield "examineobject", (agent, thing)
            yield from self._with_held(agent, here, near, thing)

    def _at_receptacle(self, agent: str, here: str, receptacle: str, held: list[str]) -> Iterator[Move]:
        facts = self.facts
        inside = facts["inreceptacle"].index(*_FIRST).get((receptacle,), ())
        for fact in inside:
            if fact in facts["toggleable"].rows:
                yield "toggleobject", (agent, here, *fact, receptacle)
        if (receptacle,) in facts["openable"].rows:
            if (receptacle,) not in facts["opened"].rows:
                yield "openobject", (agent, here, receptacle)
                return
            yield "closeobject", (agent, here, receptacle)
        if not facts["holdsany"].rows:
            for fact in inside:
                if fact in facts["pickupable"].rows:
                    yield "pickupobject", (agent, here, *fact, receptacle)
        for thing in held:
            for kind in self.game.types_of.get(thing, ()):
                for place in self.game.types_of.get(receptacle, ()):
                    if (place, kind) in facts["cancontain"].rows:
                        yield "putobject", (agent, here, thing, receptacle, kind, place)

    def _with_held(self, agent: str, here: str, near: Iterable[str], thing: str) -> Iterator[Move]:
        facts, types_of = self.facts, self.game.types_of
        for receptacle in near:
            for action, property_, places in self.game.appliances:
                if (thing,) in facts[property_].rows and any(place in types_of.get(receptacle, ()) for place in places):
                    yield action, (agent, here, receptacle, thing)
        if any(kind in types_of.get(thing, ()) for kind in _KNIVES):
            for (other,) in facts["objectatlocation"].index(*_FIRST).get((here,), ()):
                if (other,) in facts["sliceable"].rows:
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
        raise ValueError("its goal or its grammar is nested too deeply") from error
