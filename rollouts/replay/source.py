"""What there is to show: a log, or a run directory with its newest log and its critic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from envs.hints import did_you_mean
from rollouts.index import LogIndex
from rollouts.lines import is_log
from rollouts.replay.values import Values, logged
from rollouts.trajectory import Header, LogError, Trajectory, records


@dataclass
class Source:
    """A log that is open, and what reads values along its episodes."""

    log: LogIndex
    values: Values
    run: Path | None = None
    """the run directory that was named, where one was"""
    note: str = ""
    """what a person should know of where values come from"""

    def header(self, trajectory: Trajectory) -> Header:
        """The header that speaks for an episode of the log."""
        first, *others = self.log.headers
        if all((other.env_id, other.env_args) == (first.env_id, first.env_args) for other in others):
            return next((h for h in self.log.headers if h.agent == trajectory.agent), first)
        for record in records(self.log.path):
            if isinstance(record, Header):
                first = record
            elif (record.task, record.seed, record.steps) == (trajectory.task, trajectory.seed, trajectory.steps):
                break
        return first


def open_source(name: str, critic: str | None = None, reference: str | None = None, base: str | None = None) -> Source:
    """Open LOG_OR_RUN. A critic that was not asked for by name is left out where it says nothing of steps.

    Raises:
        LogError: no log, or one without an episode.
        FileNotFoundError, ValueError: as `rollouts.reading.load_reader`.
    """
    run = None if is_log(name) else run_directory(Path(name))
    log = LogIndex(newest_log(run) if run else name)
    if not len(log):
        raise LogError(f"{log.path} has a header and no episode yet: nothing to show")
    note = "" if logged(log[0]).source else "no values: this log has none; --critic RUN reads those of a critic"
    if critic is None and run is not None:
        critic, note = _own_critic(run, note)
    if critic is None and reference is not None:
        raise ValueError("--reference is compared with the policy beside a critic: give --critic RUN, or the run's directory")
    return Source(log, _values(critic, reference, base), run, note if critic is None else "")


def run_directory(path: Path) -> Path:
    """The path of a run directory. Raises LogError for anything else, which is no log either."""
    if not path.exists():
        near = did_you_mean(path.name, (other.name for other in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise LogError(f"no log or run directory at {path}.{near}")
    file = path / "config.json"
    if not file.is_file():
        raise LogError(f"{path} is no log (.jsonl, .jsonl.zst, a folder of shards) and no run directory (it has no config.json)")
    if "checkpoint" not in json.loads(file.read_text()):
        raise LogError(f"{path} is a checkpoint and has no log: name the run directory, or LOG --critic {path}")
    return path


def newest_log(run: Path) -> Path:
    """The log of a run that was changed last: of an evaluation, or rollouts. Raises LogError where it has none."""
    found = [path for pattern in ("evaluation/*", "rollouts*") for path in run.glob(pattern) if is_log(path)]
    if not found:
        raise LogError(f"{run} has no evaluation/*.jsonl and no rollouts*.jsonl: name a log, with --critic {run} for its values")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def _own_critic(run: Path, note: str) -> tuple[str | None, str]:
    """The run, where its last checkpoint has a critic; else what to say."""
    checkpoint = run / json.loads((run / "config.json").read_text())["checkpoint"]
    described = checkpoint / "config.json"
    trained = json.loads(described.read_text()) if described.is_file() else {}
    if trained.get("critic"):
        return str(run), ""
    return None, f"{checkpoint} has no critic; {note or 'these are the values that the log has'}"


def _values(critic: str | None, reference: str | None, base: str | None) -> Values:
    if critic is None:
        return Values()
    from rollouts.reading import load_reader  # a log alone opens without torch

    return Values(load_reader(critic, base, reference), Path(critic).resolve().name)
