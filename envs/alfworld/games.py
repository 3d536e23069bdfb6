"""Find ALFWorld games: in a folder by split, in an archive, or as a list of files; choose by task type and scene.

A task id is the official `task/trial` path, for example
`pick_and_place_simple-Mug-None-Desk-308/trial_T20190908_125200_737896`: it names a game on every machine, which an
index into a listing does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from envs.hints import choose

SPLITS = ("train", "valid_seen", "valid_unseen")
TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
GAME_FILE = "game.tw-pddl"
VARIABLE = "ALFWORLD_DATA"
HOME = Path.home() / ".cache" / "alfworld"
"""Where `alfworld-download` puts the games."""
ARCHIVES = (".zip", ".tar", ".tar.xz", ".tar.gz", ".tgz")

_HOW_TO_GET = (
    "games='generated' plays without any. "
    f"To get the official games: run `alfworld-download` (it comes with the pip package alfworld), then "
    f"`export {VARIABLE}=THE_FOLDER`; or pass games=FOLDER, games=ARCHIVE or games=[paths of {GAME_FILE} files]."
)
# Upstream's AlfredTWEnv leaves these two kinds of tasks out, and so do the published splits.
_LEFT_OUT = ("movable", "Sliced")


def find_games(
    games: str | Path | Sequence[str | Path] | None = None,
    split: str = "train",
    task_types: Sequence[str] | None = None,
    scenes: Sequence[int] | None = None,
) -> dict[str, Path]:
    """List the games of a split, as task id -> path of the game file, sorted by task id.

    `games` is a folder (read at `json_2.1.1/<split>`, else at `<split>`, else itself; links are followed), a .zip or .tar
    archive of such a folder (unpacked once, into the user's cache), one game file, or a list of game files (`split` is then
    ignored). None means `$ALFWORLD_DATA`, else `~/.cache/alfworld`, where `alfworld-download` puts them. `task_types` and
    `scenes` (the floor plans' numbers) keep only those.

    Raises ValueError for an unknown split or task type or two files with the same task id, FileNotFoundError where no game is
    found.
    """
    choose("split", split, SPLITS)
    for kind in task_types or ():
        choose("task type", kind, TASK_TYPES)
    found = _all_games(games, split)
    if task_types is None and scenes is None:
        return found
    kept = {task: path for task, path in found.items() if _wanted(task, task_types, scenes)}
    if not kept:
        raise FileNotFoundError(f"none of the {len(found)} games of split {split!r} is of task_types={task_types}, scenes={scenes}")
    return kept


def task_id(path: str | Path) -> str:
    """Name a game file by its official `task/trial` path: the two folders it lies in."""
    return "/".join(os.path.abspath(path).split(os.sep)[-3:-1])


def task_type(task: str) -> str:
    """The first part of a task id, one of `TASK_TYPES` where the id is official."""
    return task.split("-", 1)[0]


def scene(task: str) -> int | None:
    """The number of the floor plan that a task id ends its first part with, None where it has none."""
    number = task.split("/", 1)[0].rpartition("-")[2]
    return int(number) if number.isdecimal() else None


def cache_folder() -> Path:
    """Where listings and unpacked archives are kept; everything in it can be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reasoning-gym-offline" / "alfworld"


def _wanted(task: str, task_types: Sequence[str] | None, scenes: Sequence[int] | None) -> bool:
    return (task_types is None or task_type(task) in task_types) and (scenes is None or scene(task) in scenes)


def _all_games(games: str | Path | Sequence[str | Path] | None, split: str) -> dict[str, Path]:
    if games is None:
        games = os.environ.get(VARIABLE) or HOME
    if not isinstance(games, str | Path):
        if not games:
            raise FileNotFoundError(f"games is an empty list. {_HOW_TO_GET}")
        return _by_task([_checked(Path(path).expanduser()) for path in games])
    root = Path(games).expanduser()
    if root.is_file() and root.name.endswith(ARCHIVES):
        root = _unpacked(root)
    elif root.is_file():
        return _by_task([_checked(root)])
    folder = _split_folder(root, split)
    found = _listed(folder)
    if not found:
        raise FileNotFoundError(f"No {GAME_FILE} under {folder}. {_HOW_TO_GET}")
    return found


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


# Listings of folders, kept from one process to the next


class _Listing(NamedTuple):
    """What was found below a folder, and the state of every folder on the way (its modification time changes with its content)."""

    folders: dict[str, int]
    games: dict[str, str]
    """task id -> path, sorted"""


LISTING_VERSION = 1
"""Of the files that listings are kept in; one of another version is made anew."""

_LISTINGS: dict[Path, tuple[_Listing, dict[str, Path]]] = {}
"""What this process has read or found, and the same by task."""


def _listed(folder: Path) -> dict[str, Path]:
    """The games below a folder. Walking 3,553 of them takes a second; looking whether anything changed, some milliseconds."""
    folder = folder.absolute()
    file = cache_folder() / "listings" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.json"
    if folder in _LISTINGS and _unchanged(_LISTINGS[folder][0]):
        return dict(_LISTINGS[folder][1])
    listing = _read_listing(file)
    if listing is None or not _unchanged(listing):
        listing = _walk(folder)
        _write_listing(file, listing)
    found = {task: Path(path) for task, path in listing.games.items()}
    _LISTINGS[folder] = listing, found
    return dict(found)


def _unchanged(listing: _Listing) -> bool:
    try:
        return all(os.stat(folder).st_mtime_ns == modified for folder, modified in listing.folders.items())
    except OSError:
        return False


def _read_listing(file: Path) -> _Listing | None:
    try:
        content = json.loads(file.read_text("utf-8"))
        return _Listing(content["folders"], content["games"]) if content["version"] == LISTING_VERSION else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_listing(file: Path, listing: _Listing) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=file.parent)
        with open(handle, "w", encoding="utf-8") as writer:
            json.dump({"version": LISTING_VERSION} | listing._asdict(), writer)
        os.replace(aside, file)
    except OSError:
        pass  # a home that cannot be written to costs time, nothing else


def _walk(folder: Path) -> _Listing:
    """Find every game file below `folder`, each real folder once, so that links may point anywhere, upwards too."""
    seen: set[tuple[int, int]] = set()
    folders: dict[str, int] = {}
    paths: list[Path] = []
    stack = [str(folder)]
    while stack:
        here = stack.pop()
        stat = os.stat(here)
        if (stat.st_dev, stat.st_ino) in seen:
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[here] = stat.st_mtime_ns
        if os.path.isfile(os.path.join(here, GAME_FILE)):
            paths.append(Path(here, GAME_FILE))
            continue
        with os.scandir(here) as entries:
            below = [entry for entry in entries if _is_folder(entry) and not any(word in entry.name for word in _LEFT_OUT)]
        # The stack takes from its end: real folders first, so that a task gets its own name and not a link's.
        below.sort(key=lambda entry: (entry.is_symlink(), entry.name), reverse=True)
        stack.extend(entry.path for entry in below)
    return _Listing(folders, {task: str(path) for task, path in _by_task(paths).items()})


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


# Archives


def _unpacked(archive: Path) -> Path:
    """The folder that holds an archive's game files, unpacked into the cache the first time."""
    stat = archive.stat()
    name = hashlib.sha256(f"{archive.absolute()}|{stat.st_mtime_ns}|{stat.st_size}".encode()).hexdigest()[:16]
    folder = cache_folder() / "unpacked" / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=folder.parent))
    try:
        for member, open_member in _members(archive):
            target = _inside(aside, member, archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy)
        os.replace(aside, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        if folder.is_dir():  # another process was faster
            return folder
        raise ValueError(f"{archive} cannot be unpacked ({type(error).__name__}: {error}): wanted a whole .zip or .tar") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Name and opener of every game file (and of nothing else: links and devices are not followed)."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if info.filename.endswith("/" + GAME_FILE):
                    yield info.filename, lambda info=info: packed.open(info)
        return
    with tarfile.open(archive, "r|*") as packed:
        for member in packed:
            if member.isfile() and member.name.endswith("/" + GAME_FILE):
                yield member.name, lambda member=member: packed.extractfile(member)  # type: ignore[return-value]


def _inside(folder: Path, member: str, archive: Path) -> Path:
    parts = PurePosixPath(member).parts
    if ".." in parts or PurePosixPath(member).is_absolute():
        raise ValueError(f"{archive} holds {member!r}, which would be written outside of its folder: it is not unpacked")
    return folder.joinpath(*parts)
