"""Which tasks of a log are among others, such as those that the model will be judged by.

A task is in the other set in the first of these ways that fits:

- id: the same task id
- name (ALFWorld): the same type, thing, place and room, in another trial
- exact: the first observations have the same words, numbers and signs
- numbers: the same words with other numbers
- near: at least so many of the runs of three words of either are in both (Jaccard)

Case, spaces and punctuation do not count (`envs/math_reason/overlap.py`). The last two are for problems: rooms of ALFWorld are all
alike in their words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

import envs
from envs.alfworld.games import scene
from envs.math_reason.overlap import Alike
from rollouts.keys import digest
from rollouts.lines import is_log
from rollouts.progress import console
from rollouts.trajectory import Header, Trajectory, records

KINDS = ("id", "name", "exact", "numbers", "near")
"""The strictest first."""


def first_texts(name: str, header: Header) -> dict[str, str]:
    """Task -> first observation, of a log, or of a split of the environment that `header` names.

    Raises:
        LogError: a log that cannot be read.
        ValueError: the environment has no such split, no list of tasks, or it cannot be made here.
    """
    if is_log(name):
        found: dict[str, str] = {}
        for record in records(Path(name)):
            if isinstance(record, Trajectory) and record.steps:
                found.setdefault(record.task, record.steps[0].observation)
        return found
    env = envs.make(header.env_id, **(header.env_args | {"split": name}))
    tasks: Sequence[str] | None = getattr(env.unwrapped, "tasks", None)
    if tasks is None:
        raise ValueError(f"{header.env_id} does not list its tasks: give a log of the split {name!r} as --against")
    bar = track(tasks, description=f"tasks of {name}", console=console, transient=True, disable=not console.is_terminal)
    found = {task: str(env.reset(options={"task": task})[0]) for task in bar}
    env.close()
    return found


class Contamination:
    """Looks for each task of a log, as it comes, among the tasks of another set, which is in memory."""

    def __init__(self, name: str, others: dict[str, str], household: bool, threshold: float = 0.7) -> None:
        """Raises ValueError for a threshold outside (0, 1]."""
        self.name, self.others = name, list(others)
        self.tasks = 0
        """of the log"""
        self.found: Counter[str] = Counter()
        """tasks of the log by kind"""
        self.hit: dict[int, str] = {}
        """place of a task of the other set -> the strictest kind in which a task of the log is like it"""
        self.pairs: list[tuple[str, str, str]] = []
        """each task of the log that is in the other set, the task there that is most like it, and the kind"""
        self.rooms: set[int | None] = set()
        """floor plans of ALFWorld's that both sets have"""
        self._household = household
        self._ids = {task: place for place, task in enumerate(others)}
        self._names: dict[str, list[int]] = defaultdict(list)
        for place, task in enumerate(others if household else ()):
            self._names[_name(task)].append(place)
        self._rooms = {scene(task) for task in others if household} - {None}
        # Household texts are compared as wholes: with no task that is near, a threshold of 1 keeps the search short.
        self._alike = Alike(others.values(), 1.0 if household else threshold)
        self._seen: set[int] = set()

    def add(self, episode: Trajectory) -> None:
        """Look for the task of an episode, once."""
        key = digest(episode.task, 0)
        if key in self._seen or not episode.steps:
            return
        self._seen.add(key)
        self.tasks += 1
        places = sorted(self._places(episode))
        for rank, place in places:
            self.hit[place] = KINDS[min(rank, KINDS.index(self.hit.get(place, KINDS[-1])))]
        if places:
            rank, place = places[0]
            self.found[KINDS[rank]] += 1
            self.pairs.append((episode.task, self.others[place], KINDS[rank]))
        self.rooms |= self._rooms & {scene(episode.task)} if self._household else set()

    def _places(self, episode: Trajectory) -> Iterator[tuple[int, int]]:
        """The rank in `KINDS` and the place of each task that is like the episode's."""
        if (place := self._ids.get(episode.task)) is not None:
            yield KINDS.index("id"), place
        if self._household:
            yield from ((KINDS.index("name"), place) for place in self._names.get(_name(episode.task), ()))
        for place, _, kind in self._alike.to(episode.steps[0].observation):
            if kind == "exact" or not self._household:
                yield KINDS.index(kind), place

    @property
    def same(self) -> int:
        """Tasks of the log that are the very same: by id or by text."""
        return self.found["id"] + self.found["exact"]

    def example(self, kind: str) -> tuple[str, ...]:
        """The first pair of a kind: a task of the log and one of the other set; () where there is none."""
        return next(((task, other) for task, other, how in self.pairs if how == kind), ())

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, and all pairs."""
        return {
            "against": self.name,
            "tasks": self.tasks,
            "against_tasks": len(self.others),
            "kinds": {
                kind: {"tasks": self.found[kind], "against_tasks": count} for kind, count in Counter(self.hit.values()).items()
            },
            "pairs": self.pairs,
            **({"rooms": sorted(room for room in self.rooms if room is not None)} if self._household else {}),
        }


def _name(task: str) -> str:
    return task.partition("/")[0]
