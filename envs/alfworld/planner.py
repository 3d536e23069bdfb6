"""The shortest solution of a game, from its facts: what says that a game can be solved, and in how many commands.

A solution of ALFWorld's six task types is made of a few errands: fetch a thing, change it at an appliance, bring it to its
place, light a lamp. An errand is a walk, the opening of what is closed, and the deed, so that a search by cost over errands
(Dijkstra's) finds a shortest solution among some hundred states, where single commands would have millions. Nothing else
helps: a receptacle that is no errand's place is never worth a visit, and places have no capacity.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from envs.alfworld.problem import Fact
from envs.alfworld.rules import Game, Move

_CHANGES = {"isclean": "cleanobject", "ishot": "heatobject", "iscool": "coolobject"}


class Errands(NamedTuple):
    """What a goal asks for."""

    thing: str
    """type of object"""
    place: str
    """type of receptacle that `amount` of them must be in together; "" where one must be held beside a lamp"""
    amount: int = 1
    change: str = ""
    """predicate that must hold of it: isclean, ishot, iscool or none"""
    lamp: str = ""
    """type of lamp to be lit"""


class _State(NamedTuple):
    here: str
    held: str
    opened: frozenset[str]
    lying: frozenset[Fact]
    """(thing, receptacle) of the wanted things"""
    changed: frozenset[str]
    lit: frozenset[str]


_Step = tuple[list[Move], _State]


def errands(game: Game) -> Errands:
    """Take a goal apart. Raises ValueError for one that is not of ALFWorld's six types."""
    goal = game.goal
    atoms = [atom for conjunction in goal.conjunctions for atom in conjunction]
    kinds = {atom.terms[0]: atom.terms[1] for atom in atoms if atom.predicate == "objecttype"}
    places = {atom.terms[1] for atom in atoms if atom.predicate == "receptacletype"}
    changes = {atom.predicate for atom in atoms} & _CHANGES.keys()
    lamps = {kinds.get(atom.terms[0], "") for atom in atoms if atom.predicate == "istoggled"}
    if lamps and not places and not changes and len(kinds) == 2:
        (lamp,) = lamps
        (thing,) = set(kinds.values()) - {lamp} or {lamp}
        return Errands(thing, "", lamp=lamp)
    if len(places) == 1 and len(set(kinds.values())) == 1 and len(changes) + len(kinds) in (1, 2) and not lamps:
        return Errands(next(iter(kinds.values())), places.pop(), len(kinds), next(iter(changes), ""))
    raise ValueError(f"its goal is none of ALFWorld's six types, so that no plan can be made: {game.problem.goal}")


def shortest_plan(game: Game) -> list[str] | None:
    """A shortest sequence of commands that reaches the goal from the start; None where there is none.

    Raises ValueError for a goal that is not of ALFWorld's six types.
    """
    moves = _Planner(game).search()
    return None if moves is None else [game.command(move) for move in moves]


class _Planner:
    """The errands of one game."""

    def __init__(self, game: Game) -> None:
        self.wanted = errands(game)
        self.game, self.facts = game, game.problem.facts
        ((self.agent, self.start),) = self.facts["atlocation"]
        self.location = {receptacle: place for place, near in game.receptacles_at.items() for receptacle in near}
        self.things = frozenset(thing for thing, kind in self.facts["objecttype"] if kind == self.wanted.thing)
        self.places = frozenset(place for place, kind in self.facts["receptacletype"] if kind == self.wanted.place)
        self.takes = (self.wanted.place, self.wanted.thing) in self.facts["cancontain"]

    def search(self) -> list[Move] | None:
        """Dijkstra's search by the number of commands."""
        order = count()  # of two equally good states, the one found first
        queue: list[tuple[int, int, _State, list[Move]]] = [(0, next(order), self._first(), [])]
        best: dict[_State, int] = {}
        while queue:
            cost, _, state, path = heappop(queue)
            if self._done(state):
                return path
            if best.get(state, cost + 1) <= cost:
                continue
            best[state] = cost
            for moves, after in self._errands(state):
                heappush(queue, (cost + len(moves), next(order), after, path + moves))
        return None

    def _first(self) -> _State:
        facts = self.facts
        if facts["holds"]:
            raise ValueError("something is in the player's hands at the start, which no plan here begins with")
        lying = frozenset(pair for pair in facts["inreceptacle"] if pair[0] in self.things)
        changed = frozenset(thing for thing in self.things if self.wanted.change and (thing,) in facts[self.wanted.change])
        lit = frozenset(lamp for (lamp,) in facts["istoggled"])
        return _State(self.start, "", frozenset(name for (name,) in facts["opened"]), lying, changed, lit)

    def _done(self, state: _State) -> bool:
        wanted = self.wanted
        if wanted.lamp:
            lit = any(self.location.get(place) == state.here for lamp, place in self._lamps() if lamp in state.lit)
            return lit and state.held in self.things
        good = [pair for pair in state.lying if not wanted.change or pair[0] in state.changed]
        return any(sum(place == target for _, place in good) >= wanted.amount for target in self.places)

    def _lamps(self) -> Iterator[Fact]:
        for lamp, place in self.facts["inreceptacle"]:
            if (lamp, self.wanted.lamp) in self.facts["objecttype"] and (lamp,) in self.facts["toggleable"]:
                yield lamp, place

    def _errands(self, state: _State) -> Iterator[_Step]:
        if not state.held:
            yield from self._fetch(state)
            return
        if self.wanted.lamp:
            yield from self._light(state)
            return
        if self.wanted.change and state.held not in state.changed:
            yield from self._change(state)
        if self.takes:
            yield from self._bring(state)

    def _fetch(self, state: _State) -> Iterator[_Step]:
        for thing, place in sorted(state.lying):
            if (thing,) in self.facts["pickupable"]:
                moves, state_there = self._reach(state, place)
                moves.append(("pickupobject", (self.agent, state_there.here, thing, place)))
                yield moves, state_there._replace(held=thing, lying=state_there.lying - {(thing, place)})

    def _change(self, state: _State) -> Iterator[_Step]:
        for action, able, kinds in self.game.appliances:
            if action != _CHANGES[self.wanted.change] or (state.held,) not in self.facts[able]:
                continue
            for tool, kind in sorted(self.facts["receptacletype"]):
                if kind in kinds and tool in self.location:
                    moves, there = self._walk(state, tool)
                    moves.append((action, (self.agent, there.here, tool, state.held)))
                    yield moves, there._replace(changed=there.changed | {state.held})

    def _bring(self, state: _State) -> Iterator[_Step]:
        for place in sorted(self.places):
            moves, there = self._reach(state, place)
            kinds = (self.wanted.thing, self.wanted.place)
            moves.append(("putobject", (self.agent, there.here, state.held, place, *kinds)))
            yield moves, there._replace(held="", lying=there.lying | {(state.held, place)})

    def _light(self, state: _State) -> Iterator[_Step]:
        for lamp, place in sorted(self._lamps()):
            moves, there = self._walk(state, place)
            if lamp not in state.lit:
                moves.append(("toggleobject", (self.agent, there.here, lamp, place)))
            yield moves, there._replace(lit=there.lit | {lamp})

    def _walk(self, state: _State, place: str) -> _Step:
        there = self.location[place]
        if there == state.here:
            return [], state
        return [("gotolocation", (self.agent, state.here, there, place))], state._replace(here=there)

    def _reach(self, state: _State, place: str) -> _Step:
        """Go to a receptacle and open it if it is closed."""
        moves, there = self._walk(state, place)
        if (place,) in self.facts["openable"] and place not in state.opened:
            moves.append(("openobject", (self.agent, there.here, place)))
            there = there._replace(opened=there.opened | {place})
        return moves, there
