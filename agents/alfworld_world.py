"""What an ALFWorld player can know from the texts alone: the goal, and a map of the house that grows with every answer.

Nothing here sees the game's files, its facts or its list of admissible commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

NOTHING = "Nothing happens."

_THING = re.compile(r"\ban? (\w+ \d+)")  # the lists read "a bed 1, a desk 2, and a desk 1"
_ROOM = re.compile(r"you see (.*?)\.\s", re.DOTALL)
_GOAL = re.compile(r"Your task is to: (.*)", re.DOTALL)
_LYING = re.compile(r"(?:On the (\w+ \d+)|The (\w+ \d+) is open\. In it), you see (.*?)\.")
_CLOSED = re.compile(r"The (\w+ \d+) is closed\.|You close the (\w+ \d+)\.")
_TAKEN = re.compile(r"You pick up the (\w+ \d+) from the (\w+ \d+)\.")
# "move X to Y" is the newer release's wording, "put X in/on Y" the older one's.
_PUT = re.compile(r"You (?:move|put) the (\w+ \d+) (?:to|in/on|in|on) the (\w+ \d+)\.")
_CHANGED = re.compile(r"You (clean|heat|cool) the (\w+ \d+) using")
_CARRYING = re.compile(r"You are (?:not carrying anything|carrying: an? (\w+ \d+))\.")
_COMMAND = re.compile(
    r"(?P<verb>go to|open|examine|take|move|put|use|clean|heat|cool) (?P<thing>\w+ \d+)"
    r"(?: (?:from|to|with|in/on) (?P<place>\w+ \d+))?"
)

# The twelve sentences of the official games.
_SENTENCES = (
    r"(?:look at|examine)(?: an?| the| some)? (?P<thing>\w+) (?P<light>under|with) the (?P<place>\w+)",
    r"(?P<change>clean|heat|cool)(?: an?| the| some)? (?P<thing>\w+) and put it (?:in|on)(?: the)? (?P<place>\w+)",
    r"(?:put|find) (?P<two>two) (?P<thing>\w+) (?:and put them )?(?:in|on)(?: the)? (?P<place>\w+)",
    r"put (?:an?|some|the) (?:(?P<change>clean|hot|cool) )?(?P<thing>\w+) (?:in|on)(?: the)? (?P<place>\w+)",
)


@dataclass(frozen=True)
class Goal:
    """A task sentence taken apart.

    `count` things of the kind `thing`, changed by `change` ("clean", "heat", "cool" or ""), put into one receptacle of
    the kind `place`; or with `light`, one thing held where a lamp of the kind `place` is on.
    """

    thing: str
    place: str
    change: str = ""
    count: int = 1
    light: bool = False


def read_goal(text: str) -> Goal:
    """Read the goal in a first observation. Raises ValueError where there is none in one of the twelve wordings."""
    found = _GOAL.search(text)
    if found is None:
        raise ValueError(f"No 'Your task is to: ...' in the first observation; is this ALFWorld? It begins {text[:80]!r}.")
    sentence = found[1].strip().rstrip(".").lower()
    for pattern in _SENTENCES:
        if match := re.fullmatch(pattern, sentence):
            part = match.groupdict()
            change = (part.get("change") or "").replace("hot", "heat")
            return Goal(part["thing"], part["place"], change, 2 if part.get("two") else 1, bool(part.get("light")))
    raise ValueError(f"Cannot read the task {sentence!r}: wanted one of ALFWorld's own sentences, as 'put a clean mug in desk'.")


def command_in(action: str) -> str:
    """The command of an action: what stands after the first "Action:" (one line), or all of it where there is none."""
    _, said, rest = action.partition("Action:")
    return rest.strip().partition("\n")[0].rstrip() if said else action.strip()


def kind(name: str) -> str:
    """Drop the number: "mug 2" is a mug."""
    return name.split()[0]


@dataclass
class World:
    """The house as far as the texts have told. Names are as in the texts: "cabinet 3", "mug 1"."""

    goal: Goal
    receptacles: list[str]
    contents: dict[str, list[str]] = field(default_factory=dict)  # only of receptacles that were looked into
    closed: set[str] = field(default_factory=set)
    here: str = ""
    held: str = ""
    changes: dict[str, str] = field(default_factory=dict)  # thing -> the last change made to it
    useless: set[str] = field(default_factory=set)  # commands that did nothing and would do nothing again
    beside: dict[str, set[str]] = field(default_factory=dict)  # receptacles that are reached from the same spot
    turns_read: int = 0
    older: bool = False  # the older release's wording, which the first arrival tells

    @classmethod
    def first(cls, text: str) -> World:
        """Read a first observation: the room's receptacles in the order of the text, and the goal."""
        room = _ROOM.search(text)
        return cls(read_goal(text), _THING.findall(room[1]) if room else [])

    def at(self, receptacle: str) -> bool:
        """Whether the player stands where this receptacle is within reach."""
        return receptacle == self.here or receptacle in self.beside.get(self.here, ())

    def put(self, thing: str, receptacle: str) -> str:
        """The command that puts a thing down, in the wording of this house."""
        return f"put {thing} in/on {receptacle}" if self.older else f"move {thing} to {receptacle}"

    def lying(self, thing: str) -> Iterator[tuple[str, str]]:
        """Every (receptacle, object) seen of a kind of object."""
        for receptacle, things in self.contents.items():
            yield from ((receptacle, name) for name in things if kind(name) == thing)

    def read(self, action: str, text: str) -> None:
        """Learn from the answer to a command, or to an action in the ReAct form, of which the command matters."""
        command = command_in(action)
        if text.strip() == NOTHING:
            self._refused(command)
            return
        if text.startswith("You arrive at "):
            self.here = command.removeprefix("go to ")
            self.older = text.startswith("You arrive at loc ")
        for on, inside, things in _LYING.findall(text):
            self.contents[on or inside] = _THING.findall(things)
            self.closed.discard(inside)
        for names in _CLOSED.findall(text):
            self.closed.update(name for name in names if name)
        self._read_hands(text)

    def _read_hands(self, text: str) -> None:
        if match := _TAKEN.match(text):
            self.held = match[1]
            self._remove(match[1], match[2])
        elif match := _PUT.match(text):
            self.held = ""
            self.contents.setdefault(match[2], []).append(match[1])
        elif match := _CARRYING.match(text):
            self.held = match[1] or ""
        elif match := _CHANGED.match(text):
            self.changes[match[2]] = match[1]

    def _remove(self, thing: str, receptacle: str) -> None:
        if thing in self.contents.get(receptacle, ()):
            self.contents[receptacle].remove(thing)

    def _refused(self, command: str) -> None:
        """Learn from "Nothing happens.", so that no plan repeats a command for ever.

        A command that could not work where the player stood (given by another agent, perhaps) teaches nothing.
        """
        match = _COMMAND.fullmatch(command)
        if match is None:
            return
        verb, thing, place = match["verb"], match["thing"], match["place"]
        if verb == "go to" and self.here:
            self._join(self.here, thing)
        elif verb == "open" and self.at(thing):
            self.closed.discard(thing)
        elif verb == "examine" and self.at(thing):
            self.contents.setdefault(thing, [])
        elif verb == "take" and not self.held and place and self._within(place):
            self._remove(thing, place)
        elif verb == "use":
            lamps_here = [name for at, names in self.contents.items() if self.at(at) for name in names]
            self.useless.update({command} if thing in lamps_here else ())
        elif thing == self.held and place and self.at(place) and (verb not in ("move", "put") or self._within(place)):
            self.useless.add(command)

    def _within(self, receptacle: str) -> bool:
        """Whether the player can put its hands into a receptacle, as far as it knows."""
        return self.at(receptacle) and receptacle in self.contents and receptacle not in self.closed

    def _join(self, one: str, other: str) -> None:
        """Going from one spot to itself does nothing: that tells that two receptacles share a spot."""
        if other in self.receptacles and other != one:
            group = self.beside.get(one, {one}) | self.beside.get(other, {other})
            self.beside.update(dict.fromkeys(group, group))
