"""Furnishing a floor plan: which receptacles stay, what lies where, and the PDDL facts of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from random import Random

from envs.alfworld import rooms
from envs.alfworld.problem import Fact
from envs.alfworld.tasks import APPLIANCES, LAMP, LAMP_STANDS, Difficulty, Task

_FLOOR = ("BaseballBat", "BasketBall", "Boots", "PaperTowelRoll", "ScrubBrush", "TeddyBear")
"""Things that lie on the floor where no receptacle takes them."""
_ONE = {
    "BaseballBat",
    "BasketBall",
    "Boots",
    "Box",
    "HandTowel",
    "PaperTowelRoll",
    "Plunger",
    "ScrubBrush",
    "TeddyBear",
    "TennisRacket",
    "Towel",
}
"""Things that nearly every official game has one of, where it has any."""

# How many times as much as a cabinet holds a receptacle holds in the official games, by its kind: large and open ones most.
_ROOMY = {
    "ArmChair": 1, "BathtubBasin": 6, "Bed": 5, "Cabinet": 1, "Cart": 4, "CoffeeMachine": 8, "CoffeeTable": 4,
    "CounterTop": 4, "Desk": 5, "DiningTable": 6, "Drawer": 1, "Dresser": 5, "Fridge": 4, "GarbageCan": 1.5,
    "HandTowelHolder": 18, "Microwave": 1.3, "Ottoman": 2, "Safe": 4, "Shelf": 1.7, "SideTable": 2.4, "SinkBasin": 1.8,
    "Sofa": 4, "StoveBurner": 7, "Toilet": 3.4, "ToiletPaperHanger": 3, "TowelHolder": 2.4,
}  # fmt: skip


class Room:
    """A floor plan being furnished."""

    def __init__(self, plan: rooms.FloorPlan, random: Random) -> None:
        self.plan, self.random = plan, random
        self.start = random.choice(plan.spots)
        self.receptacles: list[str] = []
        self.things: dict[str, tuple[str, str]] = {}
        """id -> receptacle ("" for the floor) and location"""

    def furnish(self, task: Task, dials: Difficulty) -> None:
        """Place the task's things and others."""
        holds, of = rooms.rules().holds, rooms.kind
        lamp = task.kind == "look_at_obj_in_light"
        # The thing starts in another kind of place than the one it is to be brought to: the task is never done at the start.
        elsewhere = [name for name in self.plan.receptacles if task.thing in holds[of(name)] and of(name) != task.place]
        needed = [self._choose(elsewhere)]
        needed.append(
            self._choose([name for name in self.plan.receptacles if of(name) in (LAMP_STANDS if lamp else (task.place,))])
        )
        if tool := APPLIANCES.get(task.kind):
            needed.append(self._choose([name for name in self.plan.receptacles if of(name) == tool[0]]))
        self.receptacles = self._keep(needed, dials.receptacles)
        copies = self.random.randint(1, dials.copies + 1 if dials.copies > 2 else dials.copies)
        for number in range(max(copies, 2) if task.kind == "pick_two_obj_and_place" else copies):
            self._put(task.thing, needed[0] if not number else self._place(task.thing, task.place))
        if lamp:
            self._put(LAMP, needed[1])
        self._scatter(task, dials)

    def types(self) -> dict[str, str]:
        """Every id of the problem, with its PDDL type."""
        kinds = {rooms.kind(name) for name in self.receptacles}
        return {
            "agent1": "agent",
            **dict.fromkeys(sorted(set(self._locations())), "location"),
            **{f"{kind}Type": "rtype" for kind in sorted(kinds)},
            **{f"{kind}Type": "otype" for kind in sorted({rooms.kind(thing) for thing in self.things})},
            **dict.fromkeys(self.receptacles, "receptacle"),
            **dict.fromkeys(self.things, "object"),
        }

    def facts(self) -> Iterator[Fact]:
        """The facts at the start, each with its predicate first."""
        holds, can, of = rooms.rules().holds, rooms.rules().can, rooms.kind
        yield "atLocation", "agent1", self.start
        for name in self.receptacles:
            yield "receptacleType", name, f"{of(name)}Type"
            yield "receptacleAtLocation", name, self.plan.receptacles[name]
            if name in self.plan.openable:
                yield "openable", name
        kinds = sorted({of(thing) for thing in self.things})
        for place in sorted({of(name) for name in self.receptacles}):
            yield from (("canContain", f"{place}Type", f"{kind}Type") for kind in kinds if kind in holds[place])
        for thing, (receptacle, location) in self.things.items():
            kind = of(thing)
            yield "objectType", thing, f"{kind}Type"
            yield "objectAtLocation", thing, location
            if receptacle:
                yield "inReceptacle", thing, receptacle
            if _portable(kind):
                yield "pickupable", thing
            if kind in rooms.rules().containers:
                yield "isReceptacleObject", thing
            for verb, able in can.items():
                if kind in able:
                    yield verb.lower(), thing

    def _locations(self) -> Iterator[str]:
        yield self.start
        yield from (self.plan.receptacles[name] for name in self.receptacles)
        yield from (location for _, location in self.things.values())

    def _choose(self, names: Sequence[str]) -> str:
        return self.random.choices(names, [_ROOMY.get(rooms.kind(name), 1) for name in names])[0]

    def _keep(self, needed: Sequence[str], most: int | None) -> list[str]:
        """The receptacles that stand in the room: what is needed, and others in an order that only the floor plan decides."""
        names = list(self.plan.receptacles)
        Random(f"order of floor plan {self.plan.number}").shuffle(names)
        names = list(dict.fromkeys([*needed, *names]))
        return sorted(names if most is None else names[: max(most, len(set(needed)))])

    def _scatter(self, task: Task, dials: Difficulty) -> None:
        """Lay about what else belongs into the room."""
        kinds = [kind for kind in self.plan.objects if kind not in (task.thing, LAMP) or (kind == LAMP and task.place != LAMP)]
        things = []
        for kind in kinds:
            single = kind in _ONE or kind == LAMP
            copies = self.random.randint(1, dials.copies) if _portable(kind) and not single else rooms.numbered(kind)
            things += [kind] * copies
        self.random.shuffle(things)
        for kind in things if dials.objects is None else things[: dials.objects]:
            self._put(kind, self._place(kind))

    def _place(self, kind: str, but: str = "") -> str:
        """A receptacle for a thing, not of the kind `but`; "" is the floor."""
        holds, of = rooms.rules().holds, rooms.kind
        stands = LAMP_STANDS if kind == LAMP else ()
        fit = [name for name in self.receptacles if (kind in holds[of(name)] or of(name) in stands) and of(name) != but]
        return self._choose(fit) if fit else ""

    def _put(self, kind: str, receptacle: str) -> None:
        location = self.plan.receptacles[receptacle] if receptacle else self.random.choice(self.plan.spots)
        while True:
            name = rooms.place_id(kind, *(round(self.random.uniform(low, 3), 2) for low in (-3, 0, -3)))
            if name not in self.things:
                self.things[name] = receptacle, location
                return


@functools.cache
def _portable(kind: str) -> bool:
    return kind in _FLOOR or any(kind in things for things in rooms.rules().holds.values())
