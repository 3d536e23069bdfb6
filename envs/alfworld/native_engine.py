"""The fast engine: plays a game file by `envs.alfworld.rules`, text for text as TextWorld does, and runs no code of the file."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any

from envs.alfworld.engine import Scene, Source, without_banner
from envs.alfworld.rules import Game, World, load_game
from envs.alfworld.wording import WORDINGS
from envs.hints import choose

KEPT_GAMES = 512
"""Games of a process that stay read, some 200 kilobytes each."""


class NativeEngine:
    """Plays games; engines of one process share what they have read."""

    def __init__(self, wording: str = "file") -> None:
        self._wording = choose("wording", wording, WORDINGS)
        self._world: World | None = None

    def reset(self, source: Source) -> Scene:
        """Start a game. Raises ValueError for what is not a game, with what is wrong with it."""
        world = self._world = World(_read(source, self._wording))
        return Scene(without_banner(world.intro()), world.commands, world.won)

    def step(self, command: str) -> Scene:
        """Carry out a command, with surrounding white space ignored as upstream does."""
        assert self._world is not None, "reset() comes first"
        text = self._world.do(command)
        return Scene(text.strip(), self._world.commands, self._world.won)

    def snapshot(self) -> Any:
        """The facts that are not as they were at the start."""
        assert self._world is not None, "reset() comes first"
        return self._world.snapshot()

    def restore(self, source: Source, state: Any) -> Scene:
        """Go to a state of a game."""
        game = _read(source, self._wording)
        if self._world is None or self._world.game is not game:
            self._world = World(game)
        self._world.restore(state)
        return Scene("", self._world.commands, self._world.won)

    def close(self) -> None:
        """Let go of the game."""
        self._world = None


def _read(source: Source, wording: str) -> Game:
    return _read_version(source, source.version(), wording)


@functools.lru_cache(maxsize=KEPT_GAMES)
def _read_version(source: Source, _version: Hashable, wording: str) -> Game:
    try:
        return load_game(source.read(), wording)
    except ValueError as error:
        raise ValueError(f"{source} is not an ALFWorld game that can be played: {error}") from error


def forget_games() -> None:
    """Let go of all games that this process has read."""
    _read_version.cache_clear()
