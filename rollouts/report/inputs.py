"""What a report is made of: run directories, logs, and budget curves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents import checkpoint
from rollouts.lines import is_log
from rollouts.runs import run_checkpoint
from rollouts.trajectory import LogError

METRICS = "-metrics.jsonl"


@dataclass(frozen=True)
class LogFile:
    """A log and what it is called in the report."""

    name: str
    path: Path
    run: str = ""
    """the run that it lies in; "" where it was given by itself"""
    evaluation: bool = False
    """whether it lies in a run's `evaluation/`"""


@dataclass(frozen=True)
class Stage:
    """What one training of a run wrote: a line of numbers for every optimiser step."""

    run: str
    name: str
    lines: list[dict[str, float]]

    def column(self, metric: str) -> tuple[list[float], list[float]]:
        """The steps where a metric was written, and what it was there."""
        found = [(line["step"], line[metric]) for line in self.lines if metric in line]
        return [step for step, _ in found], [value for _, value in found]


@dataclass(frozen=True)
class Run:
    """A run directory."""

    name: str
    path: Path
    logs: list[LogFile] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    critic: Path | None = None
    """the final checkpoint where that has a critic, else the youngest that has one"""

    def main_log(self) -> LogFile | None:
        """The youngest log that the agent collected: what the last stage learnt from."""
        own = [log for log in self.logs if not log.evaluation and log.path.name != "demos.jsonl"] or self.logs
        return max(own, key=lambda log: (not log.evaluation, log.path.stat().st_mtime, log.name), default=None)

    def held_out_log(self) -> LogFile | None:
        """An evaluation of the checkpoint with the critic on tasks that were not trained on, sampled where there is such a one."""
        if self.critic is None:
            return None
        own = [log for log in self.logs if log.evaluation and _names(log.path, self.critic.name) and "-train" not in log.path.name]
        return max(own, key=lambda log: ("sampled" in log.path.name, log.path.name), default=None)

    def start(self) -> str:
        """The name of the model that the final training started from, "" where it is not known."""
        return Path(str(_meta(self.critic).get("started_from", ""))).name if self.critic else ""


@dataclass(frozen=True)
class CurvePoint:
    """Success of a search with one budget (fractions), and the tokens that an episode took."""

    search: str
    budget: float
    success: float
    low: float
    high: float
    tokens: float | None


@dataclass(frozen=True)
class Curves:
    """The budget curves of one file."""

    name: str
    points: list[CurvePoint]
    env: str = ""
    agent: str = ""
    """the last part of its path"""
    env_args: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """All that was given."""

    runs: list[Run]
    logs: list[LogFile]
    """the runs' logs too, in the order in which they were given"""
    curves: list[Curves]


def gather(paths: Sequence[Path]) -> Inputs:
    """What lies at the paths.

    Raises:
        FileNotFoundError: nothing does.
        ValueError: it is neither a run directory, nor a log, nor a JSON file with curves, or it is given twice.
        LogError: a broken line in a run's metrics.
    """
    whole = [path.resolve() for path in paths]
    if twice := [path for path, place in zip(paths, whole, strict=True) if whole.count(place) > 1]:
        raise ValueError(f"{twice[0]} is given twice: give everything once")
    runs, logs, curves = [], [], []
    for path, name in zip(paths, distinct(paths), strict=True):
        if not path.exists():
            raise FileNotFoundError(f"there is nothing at {path}: give a run's folder, a log, or a JSON file with curves")
        if is_log(path):
            logs.append(LogFile(name, path))
        elif path.suffix == ".json":
            found = read_curves(path, name)
            if found is None:
                raise ValueError(f'{path} has no "curves": give what python -m rollouts.evaluate writes of several budgets')
            curves.append(found)
        else:
            run = read_run(path, name, prefix=f"{name}/" if len(paths) > 1 else "")
            runs.append(run)
            logs += run.logs
            beside = ((file, f"{name}/{file.stem}") for file in sorted((path / "evaluation").glob("*.json")))
            curves += [found for file, label in beside if (found := read_curves(file, label))]
    return Inputs(runs, logs, curves)


def distinct(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell it from the others."""
    whole = [path.resolve() for path in paths]
    return [_last_parts(path, [other for other in whole if other != path]) for path in whole]


def _last_parts(path: Path, others: Sequence[Path]) -> str:
    counts = range(1, len(path.parts) + 1)
    count = next((n for n in counts if all(other.parts[-n:] != path.parts[-n:] for other in others)), len(path.parts))
    return "/".join(path.parts[-count:]).removesuffix(".zst").removesuffix(".jsonl")


def read_run(path: Path, name: str, prefix: str = "") -> Run:
    """A run directory; `prefix` stands before the names of its logs.

    Raises:
        ValueError: it is none.
        LogError: as `read_metrics`.
    """
    metrics = sorted(path.glob(f"*{METRICS}"), key=lambda file: file.stat().st_mtime)
    own = [
        file for file in sorted(path.iterdir()) if is_log(file) and not file.name.endswith(METRICS) and ".trees." not in file.name
    ]
    played = [file for file in sorted((path / "evaluation").glob("*")) if is_log(file)]
    if not metrics and not own and not played:
        hint = " (it is a checkpoint: give the folder that it lies in)" if checkpoint.is_checkpoint(path) else ""
        raise ValueError(f"{path} is no run directory{hint}: expected rollouts.jsonl, *{METRICS} or evaluation/*.jsonl in it")
    logs = [LogFile(prefix + _stem(file), file, name) for file in own]
    logs += [LogFile(prefix + _stem(file), file, name, evaluation=True) for file in played]
    stages = [Stage(name, file.name.removesuffix(METRICS), read_metrics(file)) for file in metrics]
    return Run(name, path, logs, stages, _critic(path))


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The finite numbers of every line. One that a running or killed training has not finished at the end is left out.

    Raises:
        LogError: another line is broken, or says no step.
    """
    texts = path.read_text().split("\n")
    found = []
    for number, text in enumerate(texts, 1):
        if not text:
            continue
        try:
            line = json.loads(text)
            found.append({"step": float(line["step"])} | {str(k): float(v) for k, v in line.items() if _finite(v)})
        except (ValueError, LookupError, TypeError) as error:
            if number == len(texts):
                break
            raise LogError(f"{path}:{number}: expected the numbers of a step as a JSON object, got {text[:60]!r}") from error
    return found


def read_curves(path: Path, name: str) -> Curves | None:
    """The budget curves of a JSON file; None where it has none.

    Raises:
        ValueError: it is no JSON, or a curve lacks a number.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error})") from error
    if not isinstance(content, dict) or "curves" not in content:
        return None
    try:
        points = [_point(entry) for entry in content["curves"]]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: every entry of curves has search, budget, success, low, high and tokens, and one has not ({error!r})"
        ) from error
    env_args, sampling = (content[key] if isinstance(content.get(key), dict) else {} for key in ("env_args", "sampling"))
    return Curves(name, points, str(content.get("env", "")), Path(str(content.get("agent", ""))).name, env_args, sampling)


def reference_of(critic: Path) -> Path | None:
    """The model that a checkpoint's policy was held to, where it lies where it lay then, or beside the checkpoint."""
    named = str(_meta(critic).get("reference") or "")
    places = [Path(named), critic.parent / Path(named).name] if named else []
    return next((place for place in places if checkpoint.is_checkpoint(place)), None)


def _point(entry: Any) -> CurvePoint:
    numbers = [float(entry[name]) for name in ("budget", "success", "low", "high")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"a number is not finite in {entry}")
    tokens = entry.get("tokens")
    return CurvePoint(str(entry["search"]), *numbers, tokens=None if tokens is None else float(tokens))


def _critic(path: Path) -> Path | None:
    """Where a run's critic lies."""
    final = run_checkpoint(path)
    inside = [file.parent for file in path.glob("*/config.json") if checkpoint.is_checkpoint(file.parent)]
    by_age = sorted(inside, key=lambda folder: ((folder / "config.json").stat().st_mtime, folder.name), reverse=True)
    return next((folder for folder in _checkpoints([final, *by_age]) if _meta(folder).get("critic")), None)


def _checkpoints(folders: Iterable[Path]) -> Iterable[Path]:
    return (folder for folder in folders if checkpoint.is_checkpoint(folder))


def _meta(folder: Path | None) -> dict[str, Any]:
    return checkpoint.read_config(folder) if folder else {}


def _names(log: Path, model: str) -> bool:
    return log.name.startswith(f"{model}-")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".zst").removesuffix(".jsonl")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
