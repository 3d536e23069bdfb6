"""Generated games as files, in the official folders: `json_2.1.1/<split>/<task>/<trial>` with game.tw-pddl and traj_data.json."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from envs.alfworld.games import GAME_FILE
from envs.alfworld.generator import GeneratedGame, traj_data


def write_games(games: Mapping[str, GeneratedGame], split: str, out: Path, done: Callable[[], object] = lambda: None) -> int:
    """Write games below `out`, calling `done` after each; returns how many were new.

    A game's folder appears whole or not at all, and one that is there already is left alone, so that what was stopped can be gone
    on with. Raises OSError where nothing can be written.
    """
    new = 0
    for task, game in games.items():
        folder = out / "json_2.1.1" / split / task
        if not (folder / GAME_FILE).is_file():
            _write(game, folder)
            new += 1
        done()
    return new


def _write(game: GeneratedGame, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        (aside / GAME_FILE).write_text(game.read(), "utf-8")
        (aside / "traj_data.json").write_text(json.dumps(traj_data(game.task), indent=1) + "\n", "utf-8")
        aside.chmod(0o755)  # mkdtemp's folders are its owner's alone
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
