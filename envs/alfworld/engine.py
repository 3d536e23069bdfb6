"""What an engine gives: the rules of one game at a time, behind a few methods; the environment knows none of them."""

from __future__ import annotations

from collections.abc import Hashable
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from envs.hints import choose

# Engine name -> "module:class"; imported when first asked for, since a simulator takes seconds to import.
ENGINES = {
    "native": "envs.alfworld.native_engine:NativeEngine",
    "textworld": "envs.alfworld.textworld_engine:TextWorldEngine",
}


BANNER = "-= Welcome to TextWorld, ALFRED! =-"


class Scene(NamedTuple):
    """What follows a command: the text shown, the commands that can be given now (sorted), whether the goal holds."""

    text: str
    commands: list[str]
    won: bool


class Source(Protocol):
    """Where the text of a game comes from. `str()` names it in errors; equal sources of the same version are the same game."""

    @property
    def max_steps(self) -> int:
        """Commands that an episode has where the environment is not told otherwise."""
        ...

    def read(self) -> str:
        """The text of the game file. Raises OSError where it cannot be read."""
        ...

    def version(self) -> Hashable:
        """What changes when the text does."""
        ...


class Engine(Protocol):
    """Plays one game at a time. The same commands after `reset` of the same game give the same scenes."""

    def reset(self, source: Source) -> Scene:
        """Start a game afresh. Raises ValueError where the source is no game."""
        ...

    def step(self, command: str) -> Scene:
        """Carry out a command; one that is not admissible gives "Nothing happens." and changes nothing."""
        ...

    def snapshot(self) -> Any:
        """The state of the game, as plain picklable data. Raises NotImplementedError where the engine cannot tell."""
        ...

    def restore(self, source: Source, state: Any) -> Scene:
        """Go to a state of a game; the scene's text is empty. Raises as `snapshot` and `reset`."""
        ...

    def close(self) -> None:
        """Free what the engine holds. It may be called twice."""
        ...


def without_banner(text: str) -> str:
    """A text of the game without TextWorld's greeting and the white space around it."""
    return text.strip().removeprefix(BANNER).strip()


def make_engine(name: str, wording: str = "file") -> Engine:
    """Make an engine by its name in `ENGINES`, for a wording of `envs.alfworld.wording`. Raises ValueError for an unknown one."""
    module, kind = ENGINES[choose("engine", name, ENGINES)].split(":")
    return getattr(import_module(module), kind)(wording)
