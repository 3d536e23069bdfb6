"""Collection on a Ray cluster: every worker has a model and environments of its own, and the log is written here.

    python -m rollouts.collect --env math --agent RUN/sft --ray local --workers 2 --out rollouts.jsonl
    python -m rollouts.collect --env math --agent RUN/sft --ray auto --out rollouts.jsonl

`local` starts Ray on this machine, `auto` joins the cluster that this machine is part of, anything else is the address of one. The
models and games must be found under the same names on every machine. Episodes are logged as they end; those of a worker that dies
are given to another, so that each is in the log once.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from agents.sampling import Sampling
from rollouts.collect import Args
from rollouts.episodes import EpisodeKey, Player, play
from rollouts.progress import console
from rollouts.resolve import env_maker, parse_pairs, resolve_agent
from rollouts.trajectory import Trajectory

SHARE = 4
"""A worker is given so many times as many episodes as it plays at once."""

DEATHS = 3
"""So many workers may die without an episode between them."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to play."""

    env: str
    env_args: dict[str, Any]
    env_id: str
    agent: str
    sampling: Sampling
    base: str | None = None
    agent_args: dict[str, Any] = field(default_factory=dict)
    parallel: int = 64


class Worker:
    """Plays episodes in a process of its own, somewhere in the cluster."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.agent, _ = resolve_agent(job.agent, job.sampling, job.base, job.agent_args)
        self.make = env_maker(job.env, job.env_args)

    def play(self, keys: Sequence[EpisodeKey]) -> Iterator[bytes]:
        """Play these episodes; each as a line of a log, as it ends."""
        waiting = iter(keys)
        for _, trajectory in play(self.make, self.agent, lambda: next(waiting, None), self.job.parallel, self.job.env_id):
            yield msgspec.json.encode(trajectory)


def collect_on_ray(
    job: Job, keys: Sequence[EpisodeKey], sink: Callable[[Trajectory], None], address: str = "local", workers: int | None = None
) -> None:
    """Play every episode of `keys` and hand each to `sink` as it ends.

    Args:
        job: what the workers play, and who.
        keys, sink: as `rollouts.episodes.collect`'s.
        address: "local", "auto" or a cluster's.
        workers: how many; None: one for each GPU of the cluster, or for each two cores where it has none.

    Raises:
        ValueError: Ray is not installed.
        ConnectionError: there is no cluster at the address, or worker after worker dies.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError("--ray needs the package ray: pip install 'reasoning-gym-offline[ray]'") from error
    ours = not ray.is_initialized()
    if ours:
        _reach(address)
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address == "local" else None)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConnectionError(f"no Ray cluster at {address!r} ({error}): give --ray local, auto or HOST:PORT") from error
    try:
        _Crew(job, keys, sink, workers).run()
    finally:
        if ours:
            ray.shutdown()


def _reach(address: str) -> None:
    """Ray itself would try for minutes. Raises ConnectionError where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Ray cluster at {address!r} ({error}): give --ray local, auto or HOST:PORT") from error


def ray_player(args: Args) -> Player:
    """Plays on the cluster that the command line names, with the agent that it names."""
    agent_args = parse_pairs(args.agent_args, "--agent-args")
    job = Job(args.env, args.environment(), "", args.agent, args.sampling, args.base, agent_args)
    # Neither environment nor agent: every worker makes its own.
    return lambda _make, _agent, keys, sink, parallel, env_id: collect_on_ray(
        replace(job, parallel=parallel, env_id=env_id), keys, sink, args.ray or "local", args.workers or None
    )


class _Crew:
    """The workers, what each has still to play, and what nobody has yet."""

    def __init__(self, job: Job, keys: Sequence[EpisodeKey], sink: Callable[[Trajectory], None], workers: int | None) -> None:
        import ray

        self.ray, self.job, self.sink = ray, job, sink
        found = ray.cluster_resources()
        gpus = int(found.get("GPU", 0))
        self.count = workers or gpus or max(1, int(found.get("CPU", 1)) // 2)
        share = min(1.0, gpus / self.count)  # several workers on a GPU, where there are more of them
        self.make = ray.remote(num_cpus=1, num_gpus=share, max_restarts=0)(Worker)
        self.waiting = deque(keys)
        self.playing: dict[Any, tuple[Any, dict[tuple[str, int], EpisodeKey]]] = {}
        self.deaths = 0

    def run(self) -> None:
        while len(self.playing) < self.count and self.waiting:
            self._give(self.make.remote(self.job))
        while self.playing:
            ready, _ = self.ray.wait(list(self.playing), num_returns=1)
            self._next(ready[0])

    def _give(self, worker: Any) -> None:
        """Give a worker its share of what nobody has yet; without one it is done."""
        even = -(-len(self.waiting) // self.count)
        share = [self.waiting.popleft() for _ in range(min(len(self.waiting), max(1, even), SHARE * self.job.parallel))]
        if share:
            stream = worker.play.options(num_returns="streaming").remote(share)
            self.playing[stream] = worker, {(key.task, key.seed): key for key in share}
        else:
            self.ray.kill(worker)

    def _next(self, stream: Any) -> None:
        """Take an episode of a worker, or its end."""
        worker, left = self.playing[stream]
        try:
            trajectory = msgspec.json.decode(self.ray.get(next(stream)), type=Trajectory)
        except StopIteration:
            del self.playing[stream]
            self._give(worker)
        except self.ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except self.ray.exceptions.RayError as error:  # the worker is gone: killed, out of memory, its machine lost
            del self.playing[stream]
            self.deaths += 1
            console.print(f"a worker died with {len(left)} episodes to play; they go to another ({type(error).__name__})")
            if self.deaths >= DEATHS:
                raise ConnectionError(f"{self.deaths} workers died without an episode between them; the last: {error}") from error
            self.waiting.extendleft(left.values())
            self._give(self.make.remote(self.job))
        else:
            del left[trajectory.task, trajectory.seed]
            self.deaths = 0
            self.sink(trajectory)
