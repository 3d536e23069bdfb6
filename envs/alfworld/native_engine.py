"""The fast engine: plays a game file by `envs.alfworld.rules`, text for text as TextWorld does, and runs no code of the file."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from envs.alfworld.engine import Scene, without_banner
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

    def reset(self, path: Path) -> Scene:
        """Start a game. Raises ValueError for a file that is not a game, with what is wrong with it."""
        world = self._world = World(_read(path, self._wording))
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

    def restore(self, path: Path, state: Any) -> Scene:
        """Go to a state of a game."""
        game = _read(path, self._wording)
        if self._world is None or self._world.game is not game:
            self._world = World(game)
        self._world.restore(state)
        return Scene("", self._world.commands, self._world.won)

    def close(self) -> None:
        """Let go of the game."""
        self._world = None


def _read(path: Path, wording: str) -> Game:
    stat = os.stat(path)
    return _read_version(str(path), stat.st_mtime_ns, stat.st_size, wording)


@functools.lru_cache(maxsize=KEPT_GAMES)
def _read_version(path: str, _modified: int, _size: int, wording: str) -> Game:
    try:
        return load_game(Path(path).read_text(encoding="utf-8"), wording)
    except ValueError as error:
        raise ValueError(f"{path} is not an ALFWorld game that can be played: {error}") from error


def forget_games() -> None:
    """Let go of all games that this process has read."""
    _read_version.cache_clear()
