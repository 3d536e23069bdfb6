"""Episodes being played: which ones, what an agent and an environment do to each other in them, and many at once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import gymnasium as gym
import numpy as np

from agents.agent import Action, Agent, Engine, History, Turn, cut, segment_of, unfinished
from rollouts.trajectory import End, Step, Trajectory

KINDS = ("level", "subject")
"""What an environment may say of a task at reset that an episode's first step has in the log, to sum up by."""

SAMPLES_LIMIT = 1000
"""An episode's seed is base seed * SAMPLES_LIMIT + sample number."""


@dataclass(frozen=True, slots=True)  # all of a collection are in memory
class EpisodeKey:
    """One episode to play. `index` is the task's place in the environment's list."""

    task: str
    index: int
    seed: int
    prefix: tuple[Action, ...] = ()
    """actions that are played before the agent's first"""
    stream: int | None = None
    """seed of the agent's random stream, where it is not the episode's own"""


def episode_keys(env: gym.Env, tasks: int | None, samples: int = 1, seed: int = 0) -> list[EpisodeKey]:
    """The episodes of `tasks` tasks with `samples` samples each.

    Fewer tasks than there are are chosen by a hash of their names: a fixed, spread-out choice, of which a smaller one is always
    a part. Environments without a list of tasks are keyed by their reset seed.

    Raises:
        ValueError: more samples than seeds can name.
    """
    if not 0 < samples < SAMPLES_LIMIT:
        raise ValueError(f"samples must be between 1 and {SAMPLES_LIMIT - 1}, got {samples}")
    names: Sequence[str] = getattr(env.unwrapped, "tasks", None) or [f"seed-{i}" for i in range(tasks or 100)]
    chosen = range(len(names))
    if tasks is not None and tasks < len(names):
        chosen = sorted(chosen, key=lambda i: (zlib.crc32(names[i].encode()), i))[:tasks]
    # Samples of one task together: what an engine keeps of a game, or a cache of a prompt, serves all of them.
    return [EpisodeKey(names[i], i, seed * SAMPLES_LIMIT + sample) for i in chosen for sample in range(samples)]


def logged_keys(env: gym.Env, episodes: Iterable[tuple[str, int]]) -> list[EpisodeKey]:
    """The keys of logged episodes (task, seed), in the order of the environment's tasks.

    Raises:
        ValueError: the environment has no such task.
    """
    listed = getattr(env.unwrapped, "tasks", None)
    place = None if listed is None else {name: index for index, name in enumerate(listed)}
    found = []
    for task, seed in episodes:
        index = int(task.removeprefix("seed-")) if place is None else place.get(task)
        if index is None:
            raise ValueError(
                f"the log has an episode of task {task!r}, which is none of the environment's {len(listed or ())}: give the "
                "--env-args (and --split) that the log's header names, but for what is to be changed"
            )
        found.append(EpisodeKey(task if listed is None else listed[index], index, seed))
    return sorted(found, key=lambda key: (key.index, key.seed))


def logged_actions(trajectory: Trajectory) -> list[Action]:
    """The actions of a logged episode. The last one of a truncated episode may have been cut off."""
    cut_off = trajectory.end is End.TRUNCATED
    last = len(trajectory.steps) - 1
    return [Action(s.action, s.tokens, s.logps, not (cut_off and i == last)) for i, s in enumerate(trajectory.steps)]


K = TypeVar("K", bound=EpisodeKey)


@dataclass
class Episode(Generic[K]):
    """An episode being played. `end` is None while it goes on."""

    env: gym.Env
    key: K
    history: History
    steps: list[Step] = field(default_factory=list)
    end: End | None = None
    final: str = ""

    def start(self) -> None:
        """Reset the environment and play the key's prefix."""
        listed = getattr(self.env.unwrapped, "tasks", None) is not None
        options = {"task": self.key.task} if listed else None
        observation, info = self.env.reset(seed=self.key.seed if listed else self.key.index, options=options)
        self.history.turns.append(Turn(as_text(observation, self.env), info))
        if self.key.prefix:
            self.play(self.key.prefix)

    def play(self, parts: Sequence[Action]) -> None:
        """Give the environment the actions that the last turn's was cut into.

        A step of reasoning that was cut off is not given: it is logged, and the episode is truncated.
        """
        turn = self.history.turns.pop()
        observation, info = turn.observation, turn.info
        segment = segment_of(self.env)
        for part in parts:
            self.history.turns.append(Turn(observation, info, part))
            before = observation
            kinds = {} if self.steps else {key: info[key] for key in KINDS if key in info}
            if unfinished(self.history, segment):
                info = _plain(kinds) | {"outcome": "unparseable"} | dict(part.info)
                self.steps.append(Step(before, part.text, 0.0, part.tokens, part.logps, part.value, info=info))
                self.end = End.TRUNCATED
                return
            raw, reward, terminated, truncated, info = self.env.step(part.text)
            observation = as_text(raw, self.env)
            logged = _plain(kinds) | _plain(info) | dict(part.info)
            self.steps.append(Step(before, part.text, float(reward), part.tokens, part.logps, part.value, info=logged))
            if terminated or truncated:
                self.end, self.final = (End.TERMINATED if terminated else End.TRUNCATED), observation
                return
        self.history.turns.append(Turn(observation, info))

    def cut(self, agent: Agent, action: Action) -> list[Action]:
        """An action, cut in steps by the environment's own rule where it has one."""
        return cut(agent, self.history, action, segment_of(self.env))

    def guard(self, move: Callable[[], None]) -> Episode[K]:
        """Run `move`; what the environment raises ends this episode and no other."""
        try:
            move()
        except Exception as error:
            self.end, self.final = End.ERROR, _utf8(f"{type(error).__name__}: {error}")
        return self

    def record(self, agent: Agent, env_id: str) -> Trajectory:
        """The episode as it is logged."""
        key, end = self.key, self.end or End.ERROR
        return Trajectory(env_id, key.task, key.seed, tuple(self.steps), end, agent.name, final=self.final)


class Moves:
    """What episodes do in their environments; here one after the other, each at once."""

    def __init__(self) -> None:
        self._done: list[Episode[Any]] = []

    def submit(self, move: Callable[[], Episode[K]]) -> None:
        """Run a move, which returns its episode."""
        self._done.append(move())

    def finished(self, block: bool) -> list[Episode[Any]]:
        """The episodes whose moves are done; `block` waits for one."""
        del block
        done, self._done = self._done, []
        return done


class Playing(Generic[K]):
    """Episodes that are being played: what their agent's engine is asked for, and what it answers, goes through here.

    Args:
        make: makes an environment.
        agent, engine: who plays, and the engine that is asked; whoever steps it gives the answers to what was asked here.
        env_id: what the episodes are logged as.
        idle: environments that are used before others are made, and those of the episodes that are over.
        moves: where the environments move.
    """

    def __init__(
        self,
        make: Callable[[], gym.Env],
        agent: Agent,
        engine: Engine,
        env_id: str = "",
        idle: list[gym.Env] | None = None,
        moves: Moves | None = None,
    ) -> None:
        self.make, self.agent, self.engine, self.env_id = make, agent, engine, env_id
        self.idle, self.moves = [] if idle is None else idle, moves or Moves()
        self.count = 0
        """episodes that are not over"""
        self._asked: dict[int, Episode[K]] = {}

    def begin(self, key: K) -> None:
        """Begin an episode."""
        history = History(key.task, key.seed if key.stream is None else key.stream)
        episode = Episode(self.idle.pop() if self.idle else self.make(), key, history)
        self.moves.submit(partial(episode.guard, episode.start))
        self.count += 1

    def ended(self) -> list[tuple[K, Trajectory]]:
        """Ask for the actions of the episodes that have moved; those that are over."""
        over: list[tuple[K, Trajectory]] = []
        for episode in self.moves.finished(block=not self._asked):
            if episode.end is None:
                self._asked[id(episode.history)] = episode
                self.engine.add_request(episode.history)
                continue
            self.count -= 1
            if episode.end is End.ERROR:
                episode.env.close()
            else:
                self.idle.append(episode.env)
            over.append((episode.key, episode.record(self.agent, self.env_id)))
        return over

    def step(self) -> None:
        """Play what the engine answers. No history is held after it: an agent may free what it keeps of one that is over."""
        for history, action in self.engine.step():
            self.give(history, action)

    def give(self, history: History, action: Action) -> None:
        """Play an action that was asked for."""
        episode = self._asked.pop(id(history))
        self.moves.submit(partial(episode.guard, partial(episode.play, episode.cut(self.agent, action))))


def collect(
    make: Callable[[], gym.Env],
    agent: Agent,
    keys: Iterable[EpisodeKey],
    sink: Callable[[Trajectory], None],
    parallel: int = 64,
    env_id: str = "",
    moves: Moves | None = None,
) -> None:
    """Play every episode of `keys`, at most `parallel` at a time, and hand each to `sink` as it ends.

    An environment that raises ends its own episode with `End.ERROR` and is replaced; an agent that raises ends the collection.
    """
    waiting = iter(keys)
    for _, trajectory in play(make, agent, lambda: next(waiting, None), parallel, env_id, moves=moves):
        sink(trajectory)


def play(
    make: Callable[[], gym.Env],
    agent: Agent,
    following: Callable[[], K | None],
    parallel: int = 64,
    env_id: str = "",
    moves: Moves | None = None,
) -> Iterator[tuple[K, Trajectory]]:
    """The loop of `collect`, for episodes that are not all known before the first has ended.

    `following` names the next episode, or None where there is none now: it is asked again whenever a place is free, until none
    is left. Yields each episode as it ends.
    """
    engine = agent.engine()
    playing: Playing[K] = Playing(make, agent, engine, env_id, moves=moves)
    try:
        while True:
            while playing.count < parallel and (key := following()) is not None:
                playing.begin(key)
            if not playing.count:
                break
            over = playing.ended()
            yield from over
            if not over:  # else their places are taken first
                playing.step()
    finally:
        engine.close()
    for env in playing.idle:
        env.close()


def as_text(observation: Any, env: gym.Env) -> str:
    """An observation as it is logged. Raises TypeError for one that is no text."""
    if not isinstance(observation, str):
        raise TypeError(f"{env.spec.id if env.spec else env} observed a {type(observation).__name__}: wanted a text")
    return _utf8(observation)


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    """What of a step's info goes in the log: plain values (outcomes, flags), no lists of commands."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in info.items() if key != "task"}
    return {key: _utf8(value) for key, value in plain.items() if isinstance(value, str | int | float | bool)}


def _utf8(value: Any) -> Any:
    """Lone surrogates, which no file can hold, become question marks."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


Player = Callable[[Callable[[], gym.Env], Agent, list[EpisodeKey], Callable[[Trajectory], None], int, str], None]
"""What plays episodes: `collect`, or one with its arguments that plays elsewhere."""
