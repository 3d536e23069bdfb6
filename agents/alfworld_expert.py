"""An ALFWorld player that only reads text: it searches where such things are kept, and remembers what it saw.

Where it looks next is decided by `alfworld_priors.json` (written by benchmarks/alfworld_priors.py from the training
games): how often a receptacle of a kind holds the thing wanted, divided by the steps that a look takes, two where it
must be opened first.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.alfworld_world import World, kind

Rank = Callable[[World, str, Sequence[str]], float]

_TOOL = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
_RARE = 1e-4  # the chance given to a place where the training games never keep the thing


@functools.cache
def priors() -> dict[str, dict]:
    """Read the committed table, whose layout `main` of benchmarks/alfworld_priors.py describes."""
    return json.loads(Path(__file__).with_name("alfworld_priors.json").read_text("utf-8"))


def likely(world: World, receptacle: str, things: Sequence[str]) -> float:
    """Score a receptacle by the chance that it holds one of `things` (kinds), over the steps that a look takes."""
    place = kind(receptacle)
    pairs = [priors()["holds"].get(thing, {}).get(place, (0, 1)) for thing in things]
    chance = sum(holding / of for holding, of in pairs) + _RARE
    opening, of = priors()["openable"].get(place, (0, 1))
    opens = 1.0 if receptacle in world.closed else opening / of
    return chance / ((not world.at(receptacle)) + opens or 1.0)


def plan(world: World, rank: Rank = likely) -> str:
    """Choose the next command. `rank` orders the search: the receptacle with the highest value is looked into first."""
    goal, held = world.goal, world.held
    if held and kind(held) != goal.thing:
        return _put_down(world)
    if goal.light:
        return _light(world, rank)
    if not held:
        return _fetch(world, rank, [goal.thing])
    if goal.change and world.changes.get(held) != goal.change:
        return _change(world)
    target = _target(world)
    return "look" if target is None else reach(world, target) or world.put(held, target)


def reach(world: World, receptacle: str) -> str:
    """The next command on the way to handling what is in a receptacle; "" when its inside is seen and within reach."""
    if not world.at(receptacle):
        return f"go to {receptacle}"
    if receptacle in world.closed:
        return f"open {receptacle}"
    return "" if receptacle in world.contents else f"examine {receptacle}"


def _light(world: World, rank: Rank) -> str:
    goal = world.goal
    lamps = [pair for pair in world.lying(goal.place) if f"use {pair[1]}" not in world.useless]
    if not world.held:
        return _fetch(world, rank, [goal.thing] if lamps else [goal.thing, goal.place])
    if not lamps:
        return _search(world, rank, [goal.place])
    receptacle, lamp = max(lamps, key=lambda pair: world.at(pair[0]))
    return reach(world, receptacle) or f"use {lamp}"


def _fetch(world: World, rank: Rank, wanted: Sequence[str]) -> str:
    """Take a thing of the goal's kind that was seen, else look for one (and for whatever else is wanted)."""
    settled = _target(world) if world.goal.count > 1 else None  # what already lies there has arrived
    seen = [pair for pair in world.lying(world.goal.thing) if pair[0] != settled]
    if not seen:
        return _search(world, rank, wanted)
    receptacle, thing = max(seen, key=lambda pair: (world.at(pair[0]), pair[0] not in world.closed))
    return reach(world, receptacle) or f"take {thing} from {receptacle}"


def _search(world: World, rank: Rank, things: Sequence[str]) -> str:
    unseen = [name for name in world.receptacles if name not in world.contents]
    if not unseen:  # the thing was missed or moved: look everywhere again
        world.contents.clear()
        unseen = world.receptacles
    if not unseen:
        return "look"
    return reach(world, max(unseen, key=lambda name: rank(world, name, things))) or "look"


def _change(world: World) -> str:
    change, held = world.goal.change, world.held
    tools = [name for name in world.receptacles if kind(name) == _TOOL[change]]
    tools = [name for name in tools if f"{change} {held} with {name}" not in world.useless]
    if not tools:
        return "look"
    tool = max(tools, key=world.at)
    # A microwave or a fridge works with its door closed, so there is nothing to open.
    return f"{change} {held} with {tool}" if world.at(tool) else f"go to {tool}"


def _target(world: World) -> str | None:
    """Choose the receptacle to put things into: the one with most of them, then the one that is least work."""
    goal = world.goal
    fit = [name for name in world.receptacles if kind(name) == goal.place and world.put(world.held, name) not in world.useless]
    there = {name: sum(kind(thing) == goal.thing for thing in world.contents.get(name, ())) for name in fit}

    def ease(name: str) -> tuple[int, bool, bool]:
        return there[name], world.at(name), name in world.contents and name not in world.closed

    return max(fit, key=ease, default=None)


def _put_down(world: World) -> str:
    """Free the hands of a thing that is not wanted, at the first place that takes it."""
    held = world.held
    fit = [name for name in world.receptacles if world.put(held, name) not in world.useless]
    if not fit:
        return "look"
    place = max(fit, key=lambda name: (world.at(name), name in world.contents, name not in world.closed))
    return reach(world, place) or world.put(held, place)
