"""Environments in processes of their own, for those that take longer than the model: `rollouts.collect --workers N`."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import gymnasium as gym

from agents.agent import Agent
from rollouts.episodes import Episode, EpisodeKey, Moves, Player, collect
from rollouts.trajectory import Trajectory


class Workers(Moves):
    """Processes with environments, which move while the agent thinks; use it as a context manager.

    Args:
        make: makes an environment; it is sent to the processes.
        count: how many processes. A process that dies ends the episodes whose environments it had, and is replaced.
        threads: most environments that move at once.
    """

    def __init__(self, make: Callable[[], gym.Env], count: int, threads: int = 64) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"--workers must be at least 1, got {count}")
        self._make, self._like = make, make()
        self._hosts = [_Host(make) for _ in range(count)]
        self._next = itertools.cycle(range(count))
        self._threads = ThreadPoolExecutor(threads, "environment")
        self._moving: set[Future[Any]] = set()

    def make(self) -> gym.Env:
        """An environment in one of the processes, each in turn."""
        place = next(self._next)
        if not self._hosts[place].alive:
            self._hosts[place] = _Host(self._make)
        return HostedEnv(self._hosts[place], self._like)

    def submit(self, move: Callable[[], Episode[Any]]) -> None:
        """As `Moves.submit`, beside others."""
        self._moving.add(self._threads.submit(move))

    def finished(self, block: bool) -> list[Episode[Any]]:
        """As `Moves.finished`."""
        done, self._moving = wait(self._moving, timeout=None if block else 0, return_when=FIRST_COMPLETED)
        return [future.result() for future in done]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for host in self._hosts:
            host.stop()
        self._like.close()


def hosted_player(count: int) -> Player:
    """`collect`, with the environments in `count` processes."""

    def play(
        make: Callable[[], gym.Env],
        agent: Agent,
        keys: list[EpisodeKey],
        sink: Callable[[Trajectory], None],
        parallel: int,
        env_id: str,
    ) -> None:
        with Workers(make, count, parallel) as workers:
            collect(workers.make, agent, keys, sink, parallel, env_id, workers)

    return play


class HostedEnv(gym.Env[Any, Any]):
    """An environment in another process: what it has (spaces, tasks, rule of steps) is known here, what it does is done there."""

    def __init__(self, host: _Host, like: gym.Env) -> None:
        self.spec, self.observation_space, self.action_space = like.spec, like.observation_space, like.action_space
        for name in ("tasks", "segment"):
            if hasattr(like.unwrapped, name):
                setattr(self, name, getattr(like.unwrapped, name))
        self._host, self._number = host, host.call(None, "make")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's. Raises what it raises, and ConnectionError where its process has died."""
        return self._host.call(self._number, "reset", seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment's. Raises as `reset`."""
        return self._host.call(self._number, "step", action)

    def close(self) -> None:
        """Close the environment, if its process still lives."""
        if self._host.alive:
            self._host.call(self._number, "close")


class _Host:
    """One process, asked for one thing at a time."""

    def __init__(self, make: Callable[[], gym.Env]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the model's threads
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make), daemon=True)
        self._process.start()
        theirs.close()
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def call(self, number: int | None, name: str, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            try:
                self._pipe.send((number, name, args, kwargs))
                found, error = self._pipe.recv()
            except (EOFError, OSError) as gone:
                self._process.join(timeout=5)
                raise ConnectionError(f"the environment's process died (exit code {self._process.exitcode})") from gone
        if error is not None:
            raise error
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(timeout=5)


def _serve(pipe: Connection, make: Callable[[], gym.Env]) -> None:
    """Do what is asked with this process's environments, until the other end is gone."""
    envs: dict[int, gym.Env] = {}
    while True:
        try:
            number, name, args, kwargs = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        found, fault = None, None
        try:
            if name == "make":
                found = len(envs)
                envs[found] = make()
            else:
                found = getattr(envs[number], name)(*args, **kwargs)
        except Exception as error:
            fault = RuntimeError(f"{type(error).__name__}: {error}")  # the environment's own class may not exist over there
        pipe.send((found, fault))
