"""Rollout logs as Minari datasets: texts, rewards, ends and infos of every episode, in Minari's Arrow storage.

    python -m rollouts.export minari rollouts.jsonl --out datasets/math-sft-v0
    python -m rollouts.convert minari datasets/math-sft-v0 --out rollouts.jsonl

    MINARI_DATASETS_PATH=datasets python -c 'import minari; print(minari.load_dataset("math-sft-v0"))'

The folder's name is the dataset's id. Observations are the texts before each action and, last, what came after the last one (an
error's text where one ended the episode); both spaces are `Text` with the log's own alphabet and longest text. As Minari's
collector does, `infos` have a row for each observation. The row of an action has its `tokens` and `logps` (JSON, "null" where
there are none), `value` and `target` (NaN where there are none); the row after it has the step's `info` (JSON). Minari knows two
ends: an episode that ended by an error counts as truncated. What it has no place for (agent, environment, true end, the log's
headers) is in the metadata of episodes and dataset; `options` and `seed` are those of the `reset` that starts the task again. So
nothing is lost but headers without an episode and repetitions of one header.

Datasets of others are read too, where both spaces are `Text`: their infos of plain values become the steps' `info`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import tyro

import envs
from rollouts.exchange.files import Count, logged, need, watched, whole, write_log
from rollouts.trajectory import VERSION, End, Header, LogError, Step, Trajectory, decode_line

CHUNK = 200
"""Episodes whose files are open at a time while a dataset is read."""

OURS = "rollout_log"
"""The key, in both kinds of metadata, of what Minari has no place for."""


@dataclass(frozen=True)
class Export:
    """Write a log as a Minari dataset."""

    log: tyro.conf.Positional[Path]
    """the log"""
    out: Path
    """the dataset's folder, whose name is its id, such as datasets/math-sft-v0"""


@dataclass(frozen=True)
class Import:
    """Read a Minari dataset of texts."""

    dataset: tyro.conf.Positional[Path]
    """the dataset's folder"""
    out: Path
    """the log"""
    env: str | None = None
    """id of the environment, where the dataset is not from a log: alfworld, math, commonsense or any (default: its own)"""
    agent: str | None = None
    """the agent's name in the log, where the dataset is not from a log (default: its algorithm's)"""


@dataclass
class Contents:
    """What a dataset must say before its first episode."""

    headers: list[Header] = field(default_factory=list)
    letters: set[str] = field(default_factory=set)
    observation: int = 0
    """characters of the longest"""
    action: int = 0

    def add(self, header: Header, trajectory: Trajectory) -> None:
        """Count an episode in."""
        if header not in self.headers:
            self.headers.append(header)
        for text in _observations(trajectory):
            self.letters.update(text)
            self.observation = max(self.observation, len(text))
        for step in trajectory.steps:
            self.letters.update(step.action)
            self.action = max(self.action, len(step.action))

    def space(self, longest: int) -> gym.spaces.Text:
        """All texts of the log's letters."""
        return gym.spaces.Text(max_length=max(longest, 1), min_length=0, charset="".join(sorted(self.letters)) or " ")

    def env_spec(self) -> Any:
        """How to make the environment; None where the log has several, or one that is not registered here."""
        made = {(header.env_id, msgspec.json.encode(header.env_args)) for header in self.headers}
        if len(made) > 1 or self.headers[0].env_id not in gym.registry:
            return None
        return replace(gym.spec(self.headers[0].env_id), kwargs=self.headers[0].env_args)


def to_minari(args: Export) -> Count:
    """Write the dataset, whole or not at all. The log is read twice: Minari wants the spaces first.

    Raises:
        ValueError: minari is not installed, `out` is there, or its name is no dataset's id.
        LogError: as `rollouts.trajectory.read`.
    """
    minari = need("minari", "minari")
    storages = need("minari.dataset.minari_storage", "minari")
    try:
        minari.dataset.minari_dataset.parse_dataset_id(args.out.name)
    except (ValueError, TypeError):
        raise ValueError(f"--out {args.out}: its name is the dataset's id and ends with a version, such as math-sft-v0") from None
    need("minari.dataset._storages.arrow_storage", "minari")
    contents, count, about = Contents(), Count(), []
    for header, trajectory in logged(args.log, "read"):
        contents.add(header, trajectory)
    with whole(args.out) as aside:
        aside.mkdir()
        storage = storages.MinariStorage.new(
            (aside / "data").resolve(),  # Minari cannot measure a folder by a relative path
            observation_space=contents.space(contents.observation),
            action_space=contents.space(contents.action),
            env_spec=contents.env_spec(),
            data_format="arrow",
        )
        storage.update_metadata(
            {
                "dataset_id": args.out.name,
                "minari_version": minari.__version__,
                "algorithm_name": ", ".join(sorted({header.agent for header in contents.headers})),
                OURS: {"headers": [json.loads(header.encode()) for header in contents.headers]},
            }
        )

        def buffers() -> Iterator[Any]:
            for header, trajectory in logged(args.log, "exported"):
                count.add(trajectory)
                about.append({OURS: _about(trajectory, contents.headers.index(header))})
                yield _buffer(minari, trajectory)

        # Minari measures the whole folder after every episode, which takes minutes for some thousands: once is enough.
        measure, storage.get_size = storage.get_size, lambda: 0.0
        storage.update_episodes(buffers())
        storage.update_episode_metadata(watched("metadata", about, len(about)), range(len(about)))
        storage.update_metadata({"dataset_size": float(measure())})
    return count


def _observations(trajectory: Trajectory) -> list[str]:
    return [*(step.observation for step in trajectory.steps), trajectory.final]


def _about(trajectory: Trajectory, header: int) -> dict[str, Any]:
    """What Minari has no place for; its `seed` would not do for those below 0."""
    kept = ("env_id", "task", "seed", "end", "agent", "version")
    return {name: getattr(trajectory, name) for name in kept} | {"header": header}


def _buffer(minari: Any, trajectory: Trajectory) -> Any:
    """An episode of n steps: n + 1 observations and rows of infos, n of the rest."""
    steps = trajectory.steps
    last = np.arange(len(steps)) == len(steps) - 1

    def numbers(found: Sequence[float | None]) -> list[float]:  # Minari 0.5.4 cannot read a one-dimensional array back
        return [*(np.nan if number is None else number for number in found), np.nan]

    return minari.data_collector.episode_buffer.EpisodeBuffer(
        seed=trajectory.seed,
        options={"task": trajectory.task},
        observations=_observations(trajectory),
        actions=[step.action for step in steps],
        rewards=np.array([step.reward for step in steps], dtype=np.float64),  # type: ignore[arg-type]
        terminations=last & (trajectory.end is End.TERMINATED),  # type: ignore[arg-type]
        truncations=last & (trajectory.end is not End.TERMINATED),  # type: ignore[arg-type]
        infos={
            "tokens": [*(_json(step.tokens) for step in steps), "null"],
            "logps": [*(_json(step.logps) for step in steps), "null"],
            "value": numbers([step.value for step in steps]),
            "target": numbers([step.target for step in steps]),
            "info": ["{}", *(_json(step.info) for step in steps)],
        },
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def from_minari(args: Import) -> Count:
    """Write the log, whole or not at all.

    Raises:
        ValueError: minari is not installed, `out` is there, or there is no dataset, or one that is not of texts.
        LogError: an episode that is none of a log's, with dataset, episode and field.
    """
    storages = need("minari.dataset.minari_storage", "minari")
    folder = args.dataset / "data" if (args.dataset / "data").is_dir() else args.dataset
    metadata = _metadata(folder)
    try:
        storage = storages.MinariStorage.read(folder)
    except ImportError as error:  # the package of the dataset's own format
        raise ValueError(f"{folder} is in the format {metadata['data_format']!r}: {error}") from error
    total = int(metadata["total_episodes"])
    read = _own(folder, metadata) if OURS in metadata else _foreign(args, metadata)
    chunks = (range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK))
    episodes = (
        read(f"{folder}: episode {episode['id']}", episode, about)
        for chunk in chunks
        for episode, about in zip(storage.get_episodes(chunk), storage.get_episode_metadata(chunk), strict=True)
    )
    return write_log(args.out, watched("imported", episodes, total))


def _metadata(folder: Path) -> dict[str, Any]:
    """A dataset's metadata.

    Minari makes a dataset's environment where its spaces are not given, which would run what a stranger's file names: such a
    dataset is refused.
    """
    try:
        metadata = json.loads((folder / "metadata.json").read_text())
    except FileNotFoundError:
        raise ValueError(f"no Minari dataset at {folder}: wanted a folder with metadata.json, or with data/metadata.json") from None
    except ValueError as error:
        raise ValueError(f"{folder / 'metadata.json'}: {error}") from error
    for name in ("observation_space", "action_space"):
        try:
            kind = json.loads(metadata[name])["type"]
        except (KeyError, TypeError, ValueError):
            kind = None
        if kind != "Text":
            raise ValueError(f"{folder}: its {name} is {kind or 'not given'}, wanted Text: a rollout log holds texts only")
    return metadata


def _own(folder: Path, metadata: dict[str, Any]) -> Any:
    """Reads episodes of a dataset that was a log."""
    where = f"{folder / 'metadata.json'}: headers"
    headers = [decode_line(json.dumps(header).encode(), where, first=True) for header in metadata[OURS]["headers"]]

    def read(where: str, episode: dict[str, Any], about: dict[str, Any]) -> tuple[Header, Trajectory]:
        infos, count = episode["infos"], len(episode["rewards"])
        try:
            steps = [
                {
                    "observation": episode["observations"][i],
                    "action": episode["actions"][i],
                    "reward": float(episode["rewards"][i]),
                    "tokens": json.loads(str(infos["tokens"][i])),
                    "logps": json.loads(str(infos["logps"][i])),
                    "value": None if np.isnan(infos["value"][i]) else float(infos["value"][i]),
                    "target": None if np.isnan(infos["target"][i]) else float(infos["target"][i]),
                    "info": json.loads(str(infos["info"][i + 1])),
                }
                for i in range(count)
            ]
            own = dict(about[OURS])
            header = headers[own.pop("header")]
            row = own | {"steps": steps, "final": episode["observations"][count]}
            trajectory = msgspec.convert(row, Trajectory)
        except (msgspec.ValidationError, LookupError, TypeError, ValueError) as error:
            raise LogError(f"{where}: {error}; wanted what python -m rollouts.export minari writes") from error
        if trajectory.version != VERSION or not isinstance(header, Header):
            raise LogError(f"{where}: version {trajectory.version}, wanted {VERSION}")
        return header, trajectory

    return read


def _foreign(args: Import, metadata: dict[str, Any]) -> Any:
    """Reads episodes of a dataset that something else has collected."""
    spec = json.loads(metadata.get("env_spec") or "{}")
    env_id = envs.ENVIRONMENTS.get(args.env or "", args.env) or spec.get("id")
    if not env_id:
        raise ValueError(f"{args.dataset} does not name its environment: give --env")
    agent = args.agent or metadata.get("algorithm_name") or str(metadata.get("dataset_id", "minari"))
    header = Header(env_id, agent, spec.get("kwargs") or {} if args.env is None else {})

    def read(where: str, episode: dict[str, Any], about: dict[str, Any]) -> tuple[Header, Trajectory]:
        count, texts = len(episode["rewards"]), episode["observations"]
        if len(texts) != count + 1:
            raise LogError(f"{where}: {len(texts)} observations of {count} steps, wanted one more than steps")
        ended = bool(count) and bool(episode["terminations"][-1])
        options = about.get("options") or {}
        task = str(options.get("task", f"episode-{episode['id']}")) if isinstance(options, dict) else f"episode-{episode['id']}"
        steps = [
            Step(texts[i], episode["actions"][i], float(episode["rewards"][i]), info=_plain(episode["infos"] or {}, i + 1, count))
            for i in range(count)
        ]
        end = End.TERMINATED if ended else End.TRUNCATED
        seed = int(about.get("seed") or 0)
        return header, Trajectory(env_id, task, seed, tuple(steps), end, agent, final=texts[count])

    return read


def _plain(infos: dict[str, Any], row: int, count: int) -> dict[str, Any]:
    """The numbers, truths and texts of one row; other infos, such as arrays, have no place in a log."""
    found = {}
    for name, column in infos.items():
        if isinstance(column, np.ndarray) and column.shape == (count + 1,):
            value = column[row].item() if isinstance(column[row], np.generic) else column[row]
            value = value.decode() if isinstance(value, bytes) else value
            if isinstance(value, str | bool | int) or (isinstance(value, float) and np.isfinite(value)):
                found[name] = value
    return found
