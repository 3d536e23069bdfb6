"""V along the kept episodes of a log: a critic's, or the log's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.progress import Progress

from rollouts.progress import bar_columns, console
from rollouts.reading import Reader, StepReading, load_reader
from rollouts.report.facts import Facts
from rollouts.report.inputs import Inputs, LogFile, Run, reference_of
from rollouts.runs import run_checkpoint
from rollouts.trajectory import Trajectory

WINDOW = 64
"""Episodes that are read between two ticks of the bar."""


@dataclass(frozen=True)
class Read:
    """An episode and what is known along it."""

    episode: Trajectory
    steps: list[StepReading]

    @property
    def known(self) -> bool:
        """Whether V of a state is known."""
        return any(step.value is not None for step in self.steps)

    def before_steps(self) -> list[float]:
        """V before each step that has one."""
        return [step.value for step in self.steps if step.value is not None]

    def states(self) -> list[float]:
        """V before each token where it was learnt there, else before each step."""
        return [v for step in self.steps for v in (step.values or (() if step.value is None else (step.value,)))]


@dataclass(frozen=True)
class ReadLog:
    """The kept episodes of a log with V along them."""

    name: str
    source: str
    """whose V it is"""
    reads: list[Read] = field(default_factory=list)
    of: int = 0
    """how many episodes the log has"""
    beta: float | None = None
    """what the log-ratio to the reference is multiplied with, where there is one"""
    held_out: bool = False
    """whether the critic was not trained on these tasks"""
    fault: str = ""
    """why a run's own critic could not be read, where it could not"""


@dataclass(frozen=True)
class Choice:
    """Who reads: the runs' own critics and references, unless others are named."""

    critic: str | None = None
    reference: str | None = None
    base: str | None = None
    episodes: int = 500


def read_logs(inputs: Inputs, facts: Sequence[Facts], choice: Choice) -> list[ReadLog]:
    """The sample of each run's main log, of a held-out one, and of each log that was given by itself, with V where it is known.

    Shows a bar.

    Raises:
        FileNotFoundError, ValueError: as `rollouts.reading.load_reader` and `Reader.read`.
    """
    by_log = {id(found.log): found for found in facts}
    readers = _Readers(choice)
    found = []
    for run in inputs.runs:
        reader, fault = readers.own(run)
        main, held_out = run.main_log(), run.held_out_log()
        for log in (main, held_out if held_out is not main else None):
            if log is not None:
                read = _read(by_log[id(log)], reader, held_out=log is held_out, limit=choice.episodes)
                found.append(replace(read, fault=fault))
    for log in (log for log in inputs.logs if not log.run):
        reader = readers.get(choice.critic)
        found.append(_read(by_log[id(log)], reader, limit=choice.episodes))
    return found


class _Readers:
    """Loads each model once."""

    def __init__(self, choice: Choice) -> None:
        self.choice, self._there = choice, dict[str, Reader]()

    def own(self, run: Run) -> tuple[Reader | None, str]:
        """The reader of a run, or why its own critic has none: then the rest of the page must do."""
        if self.choice.critic:
            return self.get(self.choice.critic), ""
        try:
            return self.get(run.critic), ""
        except (ValueError, FileNotFoundError) as error:
            return None, f"{run.name}: {error}"

    def get(self, source: str | Path | None) -> Reader | None:
        """The reader of a critic with the reference that was named, or that the critic's policy was trained from."""
        if source is None:
            return None
        if str(source) not in self._there:
            reference = self.choice.reference or reference_of(run_checkpoint(source))
            self._there[str(source)] = load_reader(source, self.choice.base, reference)
        return self._there[str(source)]


def _read(facts: Facts, reader: Reader | None, held_out: bool = False, limit: int = 500) -> ReadLog:
    if reader is None:
        own = [Read(episode, [StepReading(value=s.value, advantage=s.target) for s in episode.steps]) for episode in facts.sample]
        return ReadLog(facts.log.name, "the log's own values", own, facts.tally.episodes, None, held_out)
    episodes, reads = facts.sample[:limit], list[Read]()
    with Progress(*bar_columns(f"V in {_short(facts.log)}", "episodes"), console=console) as bar:
        task = bar.add_task("V", total=len(episodes))
        for start in range(0, len(episodes), WINDOW):
            window = episodes[start : start + WINDOW]
            reads += [Read(episode, steps) for episode, steps in zip(window, reader.read(window), strict=True)]
            bar.update(task, advance=len(window))
    source = str(Path(reader.critic.source).name)
    return ReadLog(facts.log.name, f"the critic {source}", reads, facts.tally.episodes, reader.beta, held_out)


def _short(log: LogFile) -> str:
    return log.path.name if len(log.path.name) <= 28 else f"{log.path.name[:27]}…"
