"""From names on a command line to agents and environments."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym

import envs
from agents.agent import Agent, Turn
from agents.sampling import Sampling
from agents.scripted import SCRIPTED, ReplayAgent
from envs.hints import did_you_mean
from rollouts.episodes import logged_actions
from rollouts.index import LogIndex
from rollouts.keys import digest
from rollouts.lines import CHUNK, is_log
from rollouts.runs import run_checkpoint
from rollouts.trajectory import End, Header, Trajectory, log_files, records

A = TypeVar("A", bound=Agent)


def parse_pairs(pairs: Sequence[str], flag: str) -> dict[str, Any]:
    """`["difficulty=3", "split=test"]` -> keyword arguments; values are read as JSON where they are JSON, else as text.

    Raises:
        ValueError: an entry without `=`.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"{flag} takes KEY=VALUE entries, got {pair!r}")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


def env_maker(env: str, env_args: dict[str, Any]) -> Callable[[], gym.Env]:
    """A function that makes the environment, after trying it once for its faults.

    Raises:
        ValueError: no such environment or argument, or one that observes or takes something else than text.
    """
    tried = envs.make(env, **env_args)
    for role, space in (("observes", tried.observation_space), ("takes", tried.action_space)):
        if space.dtype is not None and space.dtype.kind not in "OUS":
            raise ValueError(f"{env} {role} {space}, agents here read and write text: choose an environment of text, or wrap it")
    tried.close()
    return partial(envs.make, env, **env_args)


def short_names(paths: Sequence[str]) -> list[str]:
    """As many of each path's last parts as tell them all apart.

    Raises:
        ValueError: one is given twice.
    """
    if twice := [path for index, path in enumerate(paths) if path in paths[:index]]:
        raise ValueError(f"{twice[0]} is given twice: give each once")
    parts = [Path(path).parts for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


class LoggedEpisodes(Mapping[tuple[str, int], list[Turn]]):
    """The turns of a log's episodes by (task, seed), read from the log when they are asked for; without those that failed.

    Raises:
        LogError: as `rollouts.trajectory.read`.
    """

    def __init__(self, log: Path) -> None:
        self.index = LogIndex(log)

    def __getitem__(self, key: tuple[str, int]) -> list[Turn]:
        found = self.index.find(*key)
        if found is None or found.end is End.ERROR:
            raise KeyError(key)
        return [Turn(step.observation, action=action) for step, action in zip(found.steps, logged_actions(found), strict=True)]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Their keys in the log's order, in a pass over it."""
        given = set[int]()
        for record in records(self.index.path):
            if isinstance(record, Trajectory) and record.end is not End.ERROR and digest(record.task, record.seed) not in given:
                given.add(digest(record.task, record.seed))
                yield record.task, record.seed

    def __len__(self) -> int:
        return sum(1 for _ in self)


def scripted_agent(name: str, arguments: Mapping[str, Any]) -> Agent:
    """A scripted agent with its arguments.

    Raises:
        ValueError: an argument that it does not take, or a value that makes no sense.
    """
    return _made(name, SCRIPTED[name], arguments)


def remote_agent(url: str, sampling: Sampling, arguments: Mapping[str, Any]) -> Agent:
    """An agent on a server. `arguments` are `RemoteAgent`'s, the tokenizer by name: by default the served model's, on the hub.

    Raises:
        ValueError: an argument that it does not take, or what `RemoteAgent` raises.
        FileNotFoundError: no such tokenizer.
    """
    named = dict(arguments)
    tokenizer = named.pop("tokenizer", named.get("model"))
    if tokenizer is None:
        raise ValueError(f"the prompt for {url} is made here: give --agent-args tokenizer=DIR (or the model's id on the hub)")
    from agents import checkpoint  # torch, which scripted agents do without
    from agents.remote import RemoteAgent

    make = partial(RemoteAgent, url, checkpoint.load_tokenizer(tokenizer), sampling=sampling)
    return _made(url, make, named)


def _made(name: str, make: Callable[..., A], arguments: Mapping[str, Any]) -> A:
    known = [key for key in inspect.signature(make).parameters if key != "sampling"]
    if unknown := [key for key in arguments if key not in known]:
        raise ValueError(f"{name} takes no argument {unknown[0]!r}, only {', '.join(known)}.{did_you_mean(unknown[0], known)}")
    try:
        return make(**arguments)
    except TypeError as error:  # a number was wanted
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ValueError(f"cannot make the agent {name} with the arguments ({given}): {error}") from error


def _digest(log: str) -> str:
    """Names the content of a log: another log of this name is another agent."""
    found = hashlib.blake2b(digest_size=8)
    for file in log_files(log):
        with open(file, "rb") as source:
            while chunk := source.read(CHUNK):
                found.update(chunk)
    return found.hexdigest()


CHOICES = "choices:"
"""Before the name of a model: it picks among what the environment lists, as a choice policy does, and writes nothing of its own."""


def resolve_agent(
    name: str, sampling: Sampling, base: str | None = None, arguments: Mapping[str, Any] | None = None
) -> tuple[Agent, Header]:
    """An agent by name, log to replay, run directory, checkpoint or model, and the header (without environment) for it.

    `arguments` are a scripted agent's.

    Raises:
        FileNotFoundError: neither a scripted agent nor anything that can be loaded, with the nearest name.
        ValueError: arguments that the agent does not take.
    """
    if name in SCRIPTED:
        scripted = scripted_agent(name, arguments or {})
        return scripted, Header("", scripted.name)
    if arguments and not name.startswith(("http://", "https://")):
        raise ValueError(f"only scripted agents ({', '.join(SCRIPTED)}) take arguments, not {name!r}: got {dict(arguments)}")
    if is_log(name):
        return ReplayAgent(LoggedEpisodes(Path(name))), Header("", f"replay of {_digest(name)}")
    if name.startswith(("http://", "https://")):
        served = remote_agent(name, sampling, arguments or {})
        return served, Header("", served.name, sampling=asdict(sampling))
    from agents import checkpoint  # torch, which scripted agents do without
    from rollouts.policies import policy_agent

    path = name.removeprefix(CHOICES)
    try:
        loaded = checkpoint.load_policy(run_checkpoint(path), base)
    except FileNotFoundError as error:
        near = get_close_matches(name, SCRIPTED, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FileNotFoundError(f"no agent {name!r}: scripted agents are {', '.join(SCRIPTED)}{hint} ({error})") from error
    choosing = path != name
    agent = policy_agent(loaded, (CHOICES if choosing else "") + Path(path).name, sampling, choosing, base)
    return agent, Header("", agent.name, sampling=asdict(sampling), model=checkpoint.fingerprint(loaded.lm))
