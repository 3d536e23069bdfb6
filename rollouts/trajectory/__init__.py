"""The rollout log: one JSON object a line, a header first, then one episode a line.

    python -m rollouts.trajectory validate LOG [LOG ...]                 # also merge, slice, dedupe: rollouts/reshape.py

The header names format, version, environment, agent, sampler settings and the model's hash; another header may follow later in
the file and speaks for the lines after it, so that logs can be joined by `cat`. A log is a .jsonl file, a .jsonl.zst file, or a
folder of such shards (`rollouts/lines.py`). Lines, or frames of lines, are written whole, so a process that is killed loses at
most the one that it was writing: reading leaves it out and says so, appending cuts it off first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import msgspec

from rollouts.keys import Keys
from rollouts.line_writer import LineWriter
from rollouts.lines import Line, LogError, cut_tail, lines, parts

FORMAT, VERSION = "reasoning-rollouts", 1


class End(StrEnum):
    """Why an episode stopped."""

    TERMINATED = "terminated"
    """the task ended: solved, answered, given up"""
    TRUNCATED = "truncated"
    """a limit on steps or tokens"""
    ERROR = "error"
    """the environment failed; kept, never trained on"""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the agent saw, what it did, and what it got for it."""

    observation: str
    """what the environment added before this action ("" where the agent goes on within its own text)"""
    action: str
    """exactly what the agent emitted"""
    reward: float
    """the environment's reward for this action"""
    tokens: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] | None = None
    """the sampled ids, the closing token included"""
    logps: tuple[float, ...] | None = None
    """the model's own log-probabilities of them (temperature 1, nothing cut off)"""
    value: float | None = None
    """the value of the state before this action, a critic's or a search's"""
    target: float | None = None
    """a credit from a search or a frozen critic: r + V(s') - V(s), V(s') by the critic's discount where it has one"""
    info: dict[str, Any] = {}
    """what the environment said of the step, plain values only"""

    @property
    def disturbed(self) -> bool:
        """The action befell the agent, which did not choose it (`info["disturbance"]`): learners take it for the environment's."""
        return self.info.get("disturbance") is True


class Trajectory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One episode. `(task, seed)` is its key in a log."""

    env_id: str
    task: str
    seed: int
    steps: tuple[Step, ...]
    end: End
    agent: str
    version: int = VERSION
    final: str = ""
    """the observation after the last action, or the error's text"""

    @property
    def total_reward(self) -> float:
        """The sum of the step rewards."""
        return sum(step.reward for step in self.steps)

    @property
    def success(self) -> bool:
        """Solved: the task itself ended, with reward. A truncated episode is not solved."""
        return self.end is End.TERMINATED and self.total_reward > 0


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who made the lines that follow."""

    env_id: str
    agent: str
    env_args: dict[str, Any] = {}
    sampling: dict[str, Any] = {}
    model: str = ""
    """fingerprint of the sampling model's weights; "" where no model sampled"""
    process: dict[str, Any] = {}
    """how the process scores were made (`rollouts.process`), where there are any"""
    search: dict[str, Any] = {}
    """how the trees were grown that the episodes are paths of (`rollouts.tree`), where they are"""
    credit: dict[str, Any] = {}
    """the frozen critic that values and targets were read from (`rollouts.credit`), where they were"""
    format: str = FORMAT
    version: int = VERSION

    def encode(self) -> bytes:
        """The header's line; format and version are always written."""
        return msgspec.json.encode({"format": self.format, "version": self.version} | msgspec.to_builtins(self)) + b"\n"


@dataclass
class Log:
    """A log in memory."""

    headers: list[Header] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)


def read(path: str | Path) -> Log:
    """Read and validate a whole log.

    Raises:
        LogError: no such file, no header, another version, or a malformed line (with file, line and field). An unfinished last
            line only warns.
    """
    log = Log()
    for record in records(path):
        (log.headers if isinstance(record, Header) else log.trajectories).append(record)  # type: ignore[arg-type]
    # An episode that ended by an error and was played again has two lines; the later one speaks for it.
    last = {(t.task, t.seed): index for index, t in enumerate(log.trajectories)}
    log.trajectories = [t for i, t in enumerate(log.trajectories) if t.end is not End.ERROR or last[t.task, t.seed] == i]
    return log


class LogWriter:
    """Appends episodes to a log, creating it where there is none; use it as a context manager.

    What is unfinished at its end is cut off (and said). `written` holds the keys of the episodes that were there when it was
    opened; those that ended by an error are not among them, so that they are played again.

    Raises:
        LogError: what is there is no log, was made by another environment, agent or sampler, or is being written by another
            process. It is left as it is.
    """

    def __init__(self, path: str | Path, header: Header) -> None:
        self.path = Path(path)
        self.written = Keys()
        self._header = header
        self._lines = LineWriter(self.path, header.encode())
        try:
            if self._lines.starts_with_head():
                self._lines.cut(0)
            else:
                self._resume()
            self._lines.begin()
        except BaseException:
            self._lines.close()
            raise

    @property
    def size(self) -> int:
        """Bytes written, of all parts."""
        return self._lines.size

    def append(self, *trajectories: Trajectory) -> None:
        """Write episodes, whole and at once (a compressed log: with the frame that they become part of).

        Raises:
            LogError: a reward, log-probability, value or target that is not finite, or logps that do not match tokens. Then none
                of them is written.
        """
        for trajectory in trajectories:
            if fault := fault_of(trajectory):
                raise LogError(f"refused to write {trajectory.task} seed {trajectory.seed} to {self.path}: {fault}")
        self._lines.write(b"".join(msgspec.json.encode(trajectory) + b"\n" for trajectory in trajectories))

    def flush(self) -> None:
        """Write what waits for the rest of its frame."""
        self._lines.flush()

    def rewind(self, size: int) -> None:
        """Cut off all after the first `size` bytes, 0 for all episodes, and forget it."""
        self._lines.cut(size)
        self._lines.begin()
        self.written = Keys(self._there())

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lines.close()

    def _resume(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is unfinished is said below, once it is sure that this is our log
            self.written = Keys(self._there())
        last = self._lines.parts[-1]
        if cut := cut_tail(last):
            what = "frame" if last.name.endswith(".zst") else "line"
            warnings.warn(f"{last}: cut off an unfinished last {what} of {cut} bytes", stacklevel=3)

    def _there(self) -> Iterator[tuple[str, int]]:
        """The keys of the episodes that need not be played again. Raises LogError for lines of another header."""
        for record in records(self.path):
            if isinstance(record, Trajectory):
                if record.end is not End.ERROR:
                    yield record.task, record.seed
            elif differs := [f for f in Header.__struct_fields__ if getattr(record, f) != getattr(self._header, f)]:
                was, now = getattr(record, differs[0]), getattr(self._header, differs[0])
                raise LogError(
                    f"{self.path} was made with {differs[0]}={was!r}, now it is {now!r}: "
                    "give the same settings to go on with it, or another --out"
                )


def records(path: str | Path) -> Iterator[Header | Trajectory]:
    """The lines of a log one after the other, headers too, as they stand (an episode that was played again has two). As `read`."""
    for file in log_files(path):
        for _, record in decoded(file):
            yield record


def log_files(path: str | Path) -> list[Path]:
    """The files of a log. Of a folder's shards, one whose very first frame is unfinished has nothing to say and is left out.

    Raises:
        LogError: there is none, or nothing in it.
    """
    path = Path(path)
    found = parts(path)
    if not found:
        folder = " with part-00000.jsonl.zst" if path.is_dir() else ""
        raise LogError(
            f"no log at {path}: expected a .jsonl or .jsonl.zst file, or a folder{folder}, written by python -m rollouts.collect"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when it is read
        begun = [file for file in found if next(lines(file), None)]
    if not begun:
        raise LogError(f"{path} has no header: expected a log written by python -m rollouts.collect, whose first line is one")
    return begun


def decoded(file: Path, start: int = 0, before: int = 0) -> Iterator[tuple[Line, Header | Trajectory]]:
    """The lines of one file from byte `start` on, and what they say; `before` so many lines were read before."""
    for number, line in enumerate(lines(file, start), before + 1):
        yield line, decode_line(line.text, f"{file}:{number}", first=number == 1)


def decode_line(line: bytes, where: str, first: bool = False) -> Header | Trajectory:
    """What a line says; the first of a file must be a header. Raises LogError, which says `where`."""
    if not first:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):  # what is no sound episode is looked at closely below
            episode = _EPISODE.decode(line)
            if episode.version == VERSION and fault_of(episode) is None:
                return episode
    try:
        version = msgspec.json.decode(line, type=_Peek)
        if version.version not in (None, VERSION):
            raise LogError(
                f"{where}: log version {version.version}, this code reads version {VERSION}; "
                "read it with the release that wrote it, or collect again"
            )
        if version.format is not None and version.format != FORMAT:
            raise LogError(f"{where}: format is {version.format!r}, expected {FORMAT!r}")
        if first and version.format is None:
            raise LogError(f'{where}: expected a header with "format": "{FORMAT}" in the first line, got {line[:60]!r}')
        if first and version.version is None:
            raise LogError(f"{where}: the header names no version, this code reads version {VERSION}")
        record = msgspec.json.decode(line, type=Header if version.format else Trajectory)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogError(f"{where}: {error}") from error
    if isinstance(record, Trajectory) and (fault := fault_of(record)):
        raise LogError(f"{where}: {fault}")
    return record


_EPISODE = msgspec.json.Decoder(Trajectory)


class _Peek(msgspec.Struct):
    format: str | None = None
    version: int | None = None


def fault_of(trajectory: Trajectory) -> str | None:
    """What the types cannot say: finite numbers, as many log-probabilities as tokens."""
    for index, step in enumerate(trajectory.steps):
        numbers = (step.reward, step.value or 0.0, step.target or 0.0, *(step.logps or ()))
        if not all(map(math.isfinite, numbers)):
            return _not_finite(index, step)
        if step.logps is not None and len(step.logps) != len(step.tokens or ()):
            counts = f"{len(step.logps)} for {len(step.tokens or ())}"
            return f"expected one log-probability a token, got {counts} - at `$.steps[{index}].logps`"
    return None


def _not_finite(index: int, step: Step) -> str:
    numbers = [("reward", step.reward), ("value", step.value), ("target", step.target)]
    numbers += [("logps", logp) for logp in step.logps or ()]
    name, number = next((name, number) for name, number in numbers if number is not None and not math.isfinite(number))
    return f"expected a finite number, got {number} - at `$.steps[{index}].{name}`"
