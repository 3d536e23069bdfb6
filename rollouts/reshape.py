"""Logs made of logs.

python -m rollouts.trajectory validate LOG [LOG ...]                            is every line as it should be
python -m rollouts.trajectory merge LOG LOG ... --out ALL                       several logs of one environment as one
python -m rollouts.trajectory slice LOG --outcome won --sample 0:0.9 --out PART the episodes that fit
python -m rollouts.trajectory dedupe LOG --out ONCE                             of what was done twice, the first

Lines are validated and written as they stand, behind the header that spoke for them. The ending of --out says the form (.jsonl,
.jsonl.zst, or a folder of shards); it is whole or not there, and nothing that is there is overwritten.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import compress, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from rich.progress import Progress

from rollouts.cli import parsed, run
from rollouts.keys import digest, digest_texts
from rollouts.line_writer import written_aside
from rollouts.lines import LogError
from rollouts.progress import bar_columns, console
from rollouts.stats import task_group
from rollouts.stored import survey
from rollouts.trajectory import VERSION, Header, Trajectory, decoded, log_files

Logs = tyro.conf.Positional[tuple[Path, ...]]


class Entry(NamedTuple):
    """An episode, its line, and the header that speaks for it."""

    header: Header
    line: bytes
    episode: Trajectory


@dataclass(frozen=True)
class Validate:
    """Read logs strictly; exit with 1 where one of them is not as it should be."""

    logs: Logs
    """.jsonl or .jsonl.zst files, or folders of shards"""


@dataclass(frozen=True)
class Merge:
    """Join logs of one environment; agents and settings may differ, each episode keeps its header."""

    logs: Logs
    """.jsonl or .jsonl.zst files, or folders of shards"""
    out: Path
    """the log to write"""


@dataclass(frozen=True)
class Dedupe:
    """Keep the first of the episodes of a task in which the same was done, with the same end."""

    logs: Logs
    """.jsonl or .jsonl.zst files, or folders of shards, read as one log"""
    out: Path
    """the log to write"""


@dataclass(frozen=True)
class Slice:
    """Keep the episodes that fit all that is asked for. A range A:B holds both ends, and either may be left out."""

    logs: Logs
    """.jsonl or .jsonl.zst files, or folders of shards, read as one log"""
    out: Path
    """the log to write"""
    tasks: tuple[str, ...] = ()
    """patterns of task ids, such as "arithmetic-d2/*" (* is any text, ? a letter, [ab] one of these)"""
    without: tuple[str, ...] = ()
    """patterns of task ids that are left out"""
    kinds: tuple[str, ...] = ()
    """patterns of kinds of tasks, as rollouts.stats lists them"""
    agents: tuple[str, ...] = ()
    """patterns of agents' names"""
    outcome: Literal["any", "won", "lost"] = "any"
    """solved episodes only, or only those that are not"""
    ends: tuple[Literal["terminated", "truncated", "error"], ...] = ()
    """how episodes ended; default: in any way"""
    seeds: str = ":"
    """a range of seeds, such as 0:3, or one seed"""
    steps: str = ":"
    """a range of how many steps, such as 1:20, or one number"""
    info: tuple[str, ...] = ()
    """names in the info of a step: episodes with a step that has one of them, such as disturbance or corrected"""
    lacks: tuple[str, ...] = ()
    """names in the info of a step: episodes without a step that has any of them"""
    sample: str = "0:1"
    """a share A:B of the tasks, drawn by hash: 0:0.9 and 0.9:1 are two parts without a common task"""
    of: Literal["tasks", "episodes"] = "tasks"
    """what --sample draws: whole tasks, so that the samples of one stay together, or single episodes"""
    seed: int = 0
    """another number is another --sample"""
    head: int | None = None
    """stop after so many"""


def validate(args: Validate) -> int:
    """Say of each log what is in it, or what is wrong with it; 1 where one is not valid, else 0."""
    failed = 0
    for path in args.logs:
        try:
            log = survey(path)
            found = [(len(t.steps), t.success) for t in log.trajectories]
        except LogError as error:
            print(error, file=sys.stderr)
            failed = 1
            continue
        steps, won = sum(steps for steps, _ in found), sum(success for _, success in found)
        print(f"{path}: valid, version {VERSION}, {len(found)} episodes, {steps} steps, {won} solved")
    return failed


def merge(args: Merge) -> str:
    """Join logs; returns what was written.

    Raises:
        LogError: `out` is there, there are episodes of several environments, there is none, or a log cannot be read.
    """
    keys, contents = array("Q"), array("Q")
    env_id = ""

    def joined() -> Iterator[Entry]:
        nonlocal env_id
        for entry in entries(args.logs):
            env_id = env_id or entry.episode.env_id
            if entry.episode.env_id != env_id:
                raise LogError(
                    f"{args.out} would have episodes of {env_id} and of {entry.episode.env_id}, which no learner tells apart: "
                    "merge those of one environment (python -m rollouts.pack joins any logs)"
                )
            keys.append(digest(entry.episode.task, entry.episode.seed))
            contents.append(content(entry.episode))
            yield entry

    written = write(joined(), args.out)
    again = ""
    if several := _repeated(keys):
        again = f"; {several} of them have the (task, seed) of another, {_repeated(contents)} do the same (see dedupe)"
    return f"{written}{again}"


def dedupe(args: Dedupe) -> str:
    """Keep the first of each content; returns what was written. Raises LogError as `merge`, of any environments."""
    _check_free(args.out)
    contents = np.asarray(array("Q", (content(entry.episode) for entry in entries(args.logs))), np.uint64)
    first = np.zeros(len(contents), bool)
    first[np.unique(contents, return_index=True)[1]] = True
    written = write(compress(entries(args.logs), first), args.out)
    return f"{written}; {len(contents) - int(first.sum())} of {len(contents)} did what an earlier one of their task had done"


def cut(args: Slice) -> str:
    """Keep what fits; returns what was written.

    Raises:
        ValueError: a range or a share that makes no sense, or nothing fits.
        LogError: `out` is there, or a log cannot be read.
    """
    if args.head is not None and args.head < 1:
        raise ValueError(f"--head must be at least 1, got {args.head}")
    fits, read = _fitting(args), 0

    def counted() -> Iterator[Entry]:
        nonlocal read
        for entry in entries(args.logs):
            read += 1
            if fits(entry.episode):
                yield entry

    written = write(islice(counted(), args.head), args.out)
    return f"{written}, the first of {read} read" if args.head else f"{written}, of {read}"


def _fitting(args: Slice) -> Callable[[Trajectory], bool]:
    seeds, steps = _range(args.seeds, "--seeds"), _range(args.steps, "--steps")
    low, high = _share(args.sample)

    def fits(episode: Trajectory) -> bool:
        return (
            _matches(episode.task, args.tasks)
            and not (args.without and _matches(episode.task, args.without))
            and _matches(episode.agent, args.agents)
            and (not args.kinds or _matches(task_group(episode.env_id, episode.task), args.kinds))
            and args.outcome in ("any", "won" if episode.success else "lost")
            and (not args.ends or episode.end.value in args.ends)
            and seeds[0] <= episode.seed <= seeds[1]
            and steps[0] <= len(episode.steps) <= steps[1]
            and (not args.info or any(name in step.info for step in episode.steps for name in args.info))
            and not any(name in step.info for step in episode.steps for name in args.lacks)
            and low <= _place(episode, args) < high
        )

    return fits


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


def _range(text: str, flag: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    try:
        ends = (int(low) if low else -np.inf), (int(high) if high else np.inf)
    except ValueError:
        raise ValueError(f"{flag} takes a range such as 0:3, :3, 3: or a number, got {text!r}") from None
    found = ends if colon else (ends[0], ends[0])
    if not text or found[0] > found[1]:
        raise ValueError(f"{flag} {text!r} holds no number: wanted a range such as 0:3, the smaller one first")
    return found


def _share(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        found = float(low or 0), float(high or 1)
    except ValueError:
        found = 1.0, 0.0
    if ":" not in text or not 0 <= found[0] < found[1] <= 1:
        raise ValueError(f"--sample takes a share A:B with 0 <= A < B <= 1, such as 0:0.9 for nine tenths, got {text!r}")
    return found


def _place(episode: Trajectory, args: Slice) -> float:
    """Where an episode, or its task, lies between 0 and 1."""
    named = digest_texts(str(args.seed), episode.task, *([str(episode.seed)] if args.of == "episodes" else []))
    return (named >> 11) / 2**53  # as many bits as a float holds: below 1


def content(episode: Trajectory) -> int:
    """What stands for what was done in an episode of a task, and how it ended."""
    return digest_texts(episode.env_id, episode.task, episode.end.value, *(step.action for step in episode.steps))


def _repeated(digests: array[int]) -> int:
    return len(digests) - len(np.unique(np.asarray(digests, np.uint64)))


def entries(logs: Iterable[Path]) -> Iterator[Entry]:
    """The episodes of logs one after the other, as they stand. Shows a bar. Raises LogError as `rollouts.trajectory.records`."""
    files = [file for log in logs for file in log_files(log)]
    sizes = [file.stat().st_size for file in files]
    with Progress(*bar_columns("reading", "bytes"), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=sum(sizes))
        for place, file in enumerate(files):
            header = None
            for number, (line, record) in enumerate(decoded(file)):
                if isinstance(record, Header):
                    header = record
                    continue
                assert header is not None  # the first line of a file is one
                yield Entry(header, line.text, record)
                if number % 1000 == 0:
                    bar.update(task, completed=sum(sizes[:place]) + line.start)


def write(kept: Iterable[Entry], out: Path) -> str:
    """Write episodes with their headers; says what was written.

    Raises:
        LogError: `out` is there, or there is no episode. Then nothing is written.
    """
    _check_free(out)
    episodes = solved = 0
    with written_aside(out) as writer:
        for entry in kept:
            writer.follow(entry.header.encode())
            writer.write(entry.line)
            episodes += 1
            solved += entry.episode.success
        if not episodes:
            raise LogError(
                f"no episode is left for {out}, which was not written: ask for less, or look at python -m rollouts.stats"
            )
    return f"{out}: {episodes} episodes, {solved} solved"


def _check_free(out: Path) -> None:
    if out.exists():
        raise LogError(f"{out} is there already: give another --out")


COMMANDS: dict[str, tuple[type, Callable[[Any], str | int]]] = {
    "validate": (Validate, validate),
    "merge": (Merge, merge),
    "slice": (Slice, cut),
    "dedupe": (Dedupe, dedupe),
}
"""Name -> its arguments, and what does it: returns what is to be said, or the exit status."""


def _run(argv: Sequence[str]) -> None:
    args, command = parsed(argv, "rollouts.trajectory", __doc__ or "", "command", COMMANDS)
    if not args.logs:
        raise ValueError(f"{argv[0]} needs a log: python -m rollouts.trajectory {argv[0]} rollouts.jsonl")
    said = command(args)
    if isinstance(said, int):
        sys.exit(said)
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def main(argv: Sequence[str]) -> None:
    """The command line."""
    run(lambda: _run(argv))
