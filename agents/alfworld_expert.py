"""An ALFWorld player that only reads text: it searches where such things are kept, and remembers what it saw.

Where it looks next is decided by `alfworld_priors.json` (written by benchmarks/alfworld_priors.py from the training
games): how often a receptacle of a kind holds the thing wanted, divided by the steps that a look takes, two where it
must be opened first.

Every command comes with its reason, one or two sentences that say no more than the player knows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.alfworld_world import World, kind

_TOOL = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
_MUST = {"clean": "cleaned", "heat": "heated", "cool": "cooled"}
_IS = {"clean": "clean", "heat": "hot", "cool": "cool"}
_RARE = 1e-4  # the chance given to a place where the training games never keep the thing


class Move(NamedTuple):
    """A command, and why it is given."""

    command: str
    why: str


class Order(NamedTuple):
    """How a search goes: to the receptacle with the highest `rank` among those not looked into; `why` says so of a choice.

    Both are given the receptacle and the kinds of things that are searched for.
    """

    rank: Callable[[World, str, Sequence[str]], float]
    why: Callable[[str, Sequence[str]], str]


@functools.cache
def priors() -> dict[str, dict]:
    """Read the committed table, whose layout `main` of benchmarks/alfworld_priors.py describes."""
    return json.loads(Path(__file__).with_name("alfworld_priors.json").read_text("utf-8"))


@functools.lru_cache(maxsize=1024)
def _chance(place: str, things: tuple[str, ...]) -> float:
    """The chance that a receptacle of the kind `place` holds one of `things`, as their sum."""
    return sum(holding / of for holding, of in (priors()["holds"].get(thing, {}).get(place, (0, 1)) for thing in things))


@functools.lru_cache(maxsize=1024)
def _opens(place: str) -> float:
    opening, of = priors()["openable"].get(place, (0, 1))
    return opening / of


def likely(world: World, receptacle: str, things: Sequence[str]) -> float:
    """Score a receptacle by the chance that it holds one of `things` (kinds), over the steps that a look takes."""
    place = kind(receptacle)
    opens = 1.0 if receptacle in world.closed else _opens(place)
    return (_chance(place, tuple(things)) + _RARE) / ((not world.at(receptacle)) + opens or 1.0)


def _why_likely(receptacle: str, things: Sequence[str]) -> str:
    place = kind(receptacle)
    chance = _chance(place, tuple(things))
    if chance == 0:
        return f"None of the places left is a usual one, so I try {receptacle}."
    if chance >= 0.5 and len(things) == 1:
        return f"{_a(place).capitalize()} often has one, so I try {receptacle}."
    return f"No place left is a better bet than {receptacle}."


LIKELY = Order(likely, _why_likely)


def plan(world: World, order: Order = LIKELY) -> Move:
    """Choose the next command."""
    goal, held = world.goal, world.held
    if held and kind(held) != goal.thing:
        return _put_down(world)
    if goal.light:
        return _light(world, order)
    if not held:
        return _fetch(world, order)
    if goal.change and world.changes.get(held) != goal.change:
        return _change(world)
    return _deliver(world)


def reach(world: World, receptacle: str, why: str) -> Move | None:
    """The next command on the way to handling what is in a receptacle; None when its inside is seen and within reach.

    `why` is the sentence that names the receptacle and what it is wanted for.
    """
    if not world.at(receptacle):
        return Move(f"go to {receptacle}", f"{why} I go there.")
    if receptacle in world.closed:
        return Move(f"open {receptacle}", f"{why} The {receptacle} is closed, so I open it.")
    if receptacle in world.contents:
        return None
    return Move(f"examine {receptacle}", f"{why} I do not know what {receptacle} has, so I examine it.")


def _light(world: World, order: Order) -> Move:
    goal, held = world.goal, world.held
    lamps = [pair for pair in world.lying(goal.place) if f"use {pair[1]}" not in world.useless]
    if not held:
        return _fetch(world, order, "" if lamps else goal.place)
    if not lamps:
        return _search(world, order, [goal.place], f"I have the {held} and need {_a(goal.place)}")
    receptacle, lamp = max(lamps, key=lambda pair: world.at(pair[0]))
    there = reach(world, receptacle, f"I have the {held}, and the {lamp} is at {receptacle}.")
    return there or Move(f"use {lamp}", f"I have the {held}, and the {lamp} is right here. I switch it on.")


def _fetch(world: World, order: Order, lamp: str = "") -> Move:
    """Take a thing of the goal's kind that was seen, else look for one (and for a `lamp` of this kind)."""
    goal = world.goal
    settled = _target(world) if goal.count > 1 else None  # what already lies there has arrived
    one = f"another {goal.thing}" if _arrived(world, settled) else _a(goal.thing)
    need = f"I need {one} and {_a(lamp)}" if lamp else f"I need {one}"
    seen = [pair for pair in world.lying(goal.thing) if pair[0] != settled]
    if not seen:
        return _search(world, order, [goal.thing, lamp] if lamp else [goal.thing], need)
    receptacle, thing = max(seen, key=lambda pair: (world.at(pair[0]), pair[0] not in world.closed))
    there = reach(world, receptacle, f"{need}, and the {thing} is at {receptacle}.")
    return there or Move(f"take {thing} from {receptacle}", f"The {thing} is right here. I take it {_purpose(world, settled)}.")


def _search(world: World, order: Order, things: Sequence[str], need: str) -> Move:
    """Look into the next place. `need` says what for, as a sentence without its full stop."""
    unseen = [name for name in world.receptacles if name not in world.contents]
    if not unseen:  # the thing was missed or moved: look everywhere again
        world.contents.clear()
        unseen = world.receptacles
        need += ", but have looked everywhere and start over"
    if not unseen:
        return Move("look", "I see no place to search. I look around.")
    here = world.contents.get(world.here)
    if here is not None and world.here not in world.closed and not any(kind(name) in things for name in here):
        need += f", and {world.here} has {'none' if len(things) == 1 else 'neither'}"
    receptacle = max(unseen, key=lambda name: order.rank(world, name, things))
    if not world.at(receptacle):
        return Move(f"go to {receptacle}", f"{need}. {order.why(receptacle, things)}")
    there = reach(world, receptacle, f"{need}.")
    assert there is not None, "what was not looked into is not within reach"
    return there


def _change(world: World) -> Move:
    change, held = world.goal.change, world.held
    tools = [name for name in world.receptacles if kind(name) == _TOOL[change]]
    tools = [name for name in tools if f"{change} {held} with {name}" not in world.useless]
    must = f"The {held} must be {_MUST[change]}"
    if not tools:
        return Move("look", f"{must}, but I know of nothing left to do it with. I look around.")
    tool = max(tools, key=world.at)
    # A microwave or a fridge works with its door closed, so there is nothing to open.
    if world.at(tool):
        return Move(f"{change} {held} with {tool}", f"{must}, and the {tool} is right here.")
    return Move(f"go to {tool}", f"{must} before I bring it to {_a(world.goal.place)}. The {tool} is for that, so I go there.")


def _deliver(world: World) -> Move:
    goal, held, target = world.goal, world.held, _target(world)
    state = f"The {held} is {_IS[goal.change]} now" if goal.change else f"I have the {held}"
    if target is None:
        return Move("look", f"{state}, but I know of no {goal.place} left that takes it. I look around.")
    other = goal.count > 1 and _arrived(world, target)
    there = reach(world, target, f"{state}, and it belongs at {target}{', where the other one is' if other else ''}.")
    count = "" if goal.count == 1 else ", which makes two" if other else ", the first of two"
    return there or Move(world.put(held, target), f"{state}. I put it down at {target}{count}.")


def _target(world: World) -> str | None:
    """Choose the receptacle to put things into: the one with most of them, then the one that is least work."""
    goal = world.goal
    fit = [name for name in world.receptacles if kind(name) == goal.place and world.put(world.held, name) not in world.useless]
    there = {name: sum(kind(thing) == goal.thing for thing in world.contents.get(name, ())) for name in fit}

    def ease(name: str) -> tuple[int, bool, bool]:
        return there[name], world.at(name), name in world.contents and name not in world.closed

    return max(fit, key=ease, default=None)


def _put_down(world: World) -> Move:
    """Free the hands of a thing that is not wanted, at the first place that takes it."""
    held = world.held
    fit = [name for name in world.receptacles if world.put(held, name) not in world.useless]
    wrong = f"The task does not ask for the {held}"
    if not fit:
        return Move("look", f"{wrong}, but I know of no place left that takes it. I look around.")
    place = max(fit, key=lambda name: (world.at(name), name in world.contents, name not in world.closed))
    there = reach(world, place, f"{wrong}, so I leave it at {place}.")
    return there or Move(world.put(held, place), f"{wrong}. I put it down at {place}.")


# Words


def _a(thing: str) -> str:
    """A kind of thing with its article."""
    return f"some {thing}" if thing.endswith("s") else f"an {thing}" if thing[0] in "aeiou" else f"a {thing}"


def _arrived(world: World, target: str | None) -> bool:
    """Whether one of the things wanted lies in the receptacle that they are brought to."""
    return target is not None and any(kind(name) == world.goal.thing for name in world.contents.get(target, ()))


def _purpose(world: World, settled: str | None) -> str:
    """What a thing is taken for."""
    goal = world.goal
    if goal.light:
        return f"to look at it under {_a(goal.place)}"
    if goal.change:
        return f"to {goal.change} it and then bring it to {_a(goal.place)}"
    if goal.count > 1:
        return f"to {settled}, where the other one is" if _arrived(world, settled) else f"to {_a(goal.place)}, the first of two"
    return f"to bring it to {_a(goal.place)}"
