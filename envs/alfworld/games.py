"""Find ALFWorld games on disk: by folder and split, or as a list of files.

A task id is the official `task/trial` path, for example
`pick_and_place_simple-Mug-None-Desk-308/trial_T20190908_125200_737896`: it names a game on every machine, which an
index into a listing does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from envs.hints import choose

SPLITS = ("train", "valid_seen", "valid_unseen")
GAME_FILE = "game.tw-pddl"
VARIABLE = "ALFWORLD_DATA"

_HOW_TO_GET = (
    f"To get the official games: run `alfworld-download` (it comes with the pip package alfworld), then "
    f"`export {VARIABLE}=THE_FOLDER`; or pass games=FOLDER or games=[paths of {GAME_FILE} files]."
)
# Upstream's AlfredTWEnv leaves these two kinds of tasks out, and so do the published splits.
_LEFT_OUT = ("movable", "Sliced")


def find_games(games: str | Path | Sequence[str | Path] | None = None, split: str = "train") -> dict[str, Path]:
    """List the games of a split, as task id -> path of the game file, sorted by task id.

    `games` is a folder (read at `json_2.1.1/<split>`, else at `<split>`, else itself; links are followed), one game
    file, or a list of game files (`split` is then ignored). None means `$ALFWORLD_DATA`, else `~/.cache/alfworld`,
    where `alfworld-download` puts them.

    Raises ValueError for an unknown split or two files with the same task id, FileNotFoundError where no game is found.
    """
    choose("split", split, SPLITS)
    if games is None:
        games = os.environ.get(VARIABLE) or Path.home() / ".cache" / "alfworld"
    if isinstance(games, str | Path):
        root = Path(games).expanduser()
        paths = [_checked(root)] if root.is_file() else list(_walk(_split_folder(root, split)))
        if not paths:
            raise FileNotFoundError(f"No {GAME_FILE} under {_split_folder(root, split)}. {_HOW_TO_GET}")
    else:
        paths = [_checked(Path(path).expanduser()) for path in games]
        if not paths:
            raise FileNotFoundError(f"games is an empty list. {_HOW_TO_GET}")
    return _by_task(paths)


def task_id(path: str | Path) -> str:
    """Name a game file by its official `task/trial` path: the two folders it lies in."""
    parts = Path(os.path.abspath(path)).parts
    return "/".join(parts[-3:-1])


def _split_folder(root: Path, split: str) -> Path:
    """Choose the folder to read; a data root that lacks the split is an error, never a silent other split."""
    if not root.is_dir():
        raise FileNotFoundError(f"No ALFWorld games: {root} is not a folder (split {split!r} was wanted). {_HOW_TO_GET}")
    places = [place for place in (root / "json_2.1.1", root) if any((place / name).is_dir() for name in SPLITS)]
    for place in places:
        if (place / split).is_dir():
            return place / split
    if places:
        held = [name for name in SPLITS if (places[0] / name).is_dir()]
        raise FileNotFoundError(f"{places[0]} has no split {split!r}, only {', '.join(held)}. {_HOW_TO_GET}")
    return root


def _walk(folder: Path) -> Iterator[Path]:
    """Yield every game file below `folder`, each real folder once, so that links may point anywhere, upwards too."""
    seen: set[tuple[int, int]] = set()
    stack = [str(folder)]
    while stack:
        here = stack.pop()
        stat = os.stat(here)
        if (stat.st_dev, stat.st_ino) in seen:
            continue
        seen.add((stat.st_dev, stat.st_ino))
        if os.path.isfile(os.path.join(here, GAME_FILE)):
            yield Path(here, GAME_FILE)
            continue
        with os.scandir(here) as entries:
            below = [entry for entry in entries if entry.is_dir() and not any(word in entry.name for word in _LEFT_OUT)]
        # The stack takes from its end: real folders first, so that a task gets its own name and not a link's.
        below.sort(key=lambda entry: (entry.is_symlink(), entry.name), reverse=True)
        stack.extend(entry.path for entry in below)


def _checked(path: Path) -> Path:
    if path.suffix == ".tw-pddl" and path.is_file():
        return path
    why = "it is not a *.tw-pddl file" if path.exists() else "it does not exist"
    raise FileNotFoundError(f"{path} is no ALFWorld game: {why}. {_HOW_TO_GET}")


def _by_task(paths: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        task = task_id(path)
        if task in found:
            raise ValueError(f"Two games have the task id {task!r}: {found[task]} and {path}. Pass only one of them.")
        found[task] = path
    return {task: found[task] for task in sorted(found)}
