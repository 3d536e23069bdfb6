"""Trees of a task, an environment and an agent, grown in lock-step; the search itself is in `rollouts/mcts.py`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np

from agents.agent import Action, Agent, History
from rollouts import mcts
from rollouts.collect import Episode, EpisodeKey
from rollouts.journal import TreeRecord
from rollouts.mcts import Node, Search
from rollouts.trajectory import End, Trajectory

VISITS = "tree_visits"
"""Key of `Step.info`."""


@dataclass(frozen=True)
class State:
    """A state of a task: the episode up to it, and the environment's snapshot where it gives one."""

    episode: Episode[EpisodeKey]
    snapshot: Any = None


class Tree:
    """The tree of one task, grown by `select`, `histories` and `expand` in turn until it is `done`.

    Its random streams are its own, named by the search's seed, the task and the expansion: what else grows beside it makes no
    difference. What the environment raises ends the tree: `error` says it, and nothing of the tree is used.
    """

    def __init__(self, env: gym.Env, key: EpisodeKey, search: Search) -> None:
        self.env, self.key, self.search = env, key, search
        self.rng = np.random.default_rng(self._stream("tree"))
        self.expansions = self.steps = self.tokens = 0
        self.nodes = 1
        self.error = ""
        episode = Episode(env, key, History(key.task, key.seed))
        self.root: Node[State] = Node(State(episode))
        try:
            episode.start()
            self.root.state = State(episode, _snapshot(env))
        except Exception as error:
            self._fail(error)

    @property
    def done(self) -> bool:
        """All iterations are made, every path has ended, or the environment failed."""
        return bool(self.error) or self.expansions >= self.search.iterations or self.root.closed

    def select(self) -> Node[State]:
        """The node to expand next."""
        return mcts.select(self.root, self.search.c, self.rng)

    def histories(self, node: Node[State]) -> list[History]:
        """What the agent is asked at an expansion: the node's history once for each sample, each with a random stream."""
        turns = node.state.episode.history.turns
        names = [f"{self.expansions}|{sample}" for sample in range(self.search.breadth)]
        return [History(self.key.task, self._stream(name), list(turns)) for name in names]

    def expand(self, node: Node[State], actions: Sequence[Action], agent: Agent) -> None:
        """Add the first step of each action below a node; steps of the same text (surrounding white space left out) are one child.

        The prior of a step is exp(its mean log-probability per token), or its share of the samples where an agent gives no
        log-probabilities.
        """
        steps = [node.state.episode.cut(agent, action)[0] for action in actions]
        share = {text: count / len(steps) for text, count in Counter(step.text.strip() for step in steps).items()}
        self.expansions += 1
        self.steps += len(steps)
        self.tokens += sum(len(action.tokens or ()) for action in actions)
        children: dict[tuple[str, End | None], Node[State]] = {}
        try:
            for step in _first(steps):
                state, text = self._after(node.state, step), step.text.strip()
                prior = math.exp(sum(step.logps) / len(step.logps)) if step.logps else share[text]
                # The same text may end the response once, and go on to the next line another time.
                children.setdefault((text, state.episode.end), Node(state, prior, self._outcome(state.episode)))
        except Exception as error:
            self._fail(error)
        else:
            node.expand(list(children.values()))
            self.nodes += len(children)

    def record(self) -> TreeRecord:
        """What the journal says of it."""
        ends = [node.outcome == self.search.outcome(True) for node in self.root.nodes() if node.outcome is not None]
        return TreeRecord(
            self.key.task, self.nodes, sum(ends), len(ends) - sum(ends), self.root.q, self.steps, self.tokens, self.root.closed
        )

    def paths(self, agent: Agent, env_id: str) -> list[Trajectory]:
        """The chosen paths as episodes; path number i has the key's seed + i. Their targets add up to z - V(root)."""
        value = mcts.values(self.root, self.search)
        found = []
        for number, end in enumerate(mcts.draw(self.root, self.search, self.rng)):
            path, episode = end.path(), end.state.episode.record(agent, env_id)
            steps = [
                msgspec.structs.replace(
                    step, value=value[before], target=value[after] - value[before], info=step.info | {VISITS: after.visits}
                )
                for step, (before, after) in zip(episode.steps, pairwise(path), strict=True)
            ]
            found.append(msgspec.structs.replace(episode, seed=self.key.seed + number, steps=tuple(steps)))
        return found

    def _after(self, state: State, step: Action) -> State:
        """The state after a step."""
        episode = self._return(state)
        episode.play([step])
        if episode.end is None and len(episode.steps) >= self.search.depth:
            episode.end, episode.final = End.TRUNCATED, episode.history.turns[-1].observation
        return State(episode, _snapshot(self.env) if episode.end is None and state.snapshot is not None else None)

    def _return(self, state: State) -> Episode[EpisodeKey]:
        """Bring the environment to a state; a new episode that has come as far. Raises ValueError where it goes another way."""
        before = state.episode
        if state.snapshot is not None:
            self.env.unwrapped.restore(state.snapshot)  # type: ignore[attr-defined]
            history = History(self.key.task, self.key.seed, list(before.history.turns))
            return Episode(self.env, self.key, history, list(before.steps))
        prefix = tuple(turn.action for turn in before.history.turns if turn.action is not None)
        episode = Episode(self.env, replace(self.key, prefix=prefix), History(self.key.task, self.key.seed))
        episode.start()
        if [turn.observation for turn in episode.history.turns] != [turn.observation for turn in before.history.turns]:
            raise ValueError(f"the environment does not repeat the first {len(prefix)} steps of {self.key.task}")
        return episode

    def _outcome(self, episode: Episode[EpisodeKey]) -> float | None:
        if episode.end is None:
            return None
        return self.search.outcome(episode.end is End.TERMINATED and sum(step.reward for step in episode.steps) > 0)

    def _stream(self, name: str) -> int:
        text = f"{self.search.seed}|{self.key.task}|{name}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")

    def _fail(self, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {error}"


def _first(steps: Iterable[Action]) -> list[Action]:
    """The first of each text."""
    found: dict[tuple[str, bool], Action] = {}
    for step in steps:
        found.setdefault((step.text, step.closed), step)
    return list(found.values())


def _stepwise(agent: Agent, env: gym.Env) -> Agent:
    """The agent, stopped where the environment's rule says that a step has ended."""
    segment = getattr(env.unwrapped, "segment", None)
    return agent if segment is None else agent.stopping(lambda text: len(segment(text)) > 1)


def _snapshot(env: gym.Env) -> Any:
    """The environment's state, or None where it cannot tell."""
    try:
        return env.unwrapped.snapshot() if hasattr(env.unwrapped, "snapshot") else None  # type: ignore[attr-defined]
    except NotImplementedError:
        return None


def grow(
    make: Callable[[], gym.Env],
    agent: Agent,
    keys: Iterable[EpisodeKey],
    search: Search = Search(),
    parallel: int = 16,
    watch: Callable[[Sequence[Tree]], None] | None = None,
) -> Iterator[Tree]:
    """Yield the tree of each key as it is done; `parallel` trees are expanded at once, each by one node a round.

    `watch` is called with the growing trees after each round. An agent that raises ends all.
    """
    waiting = iter(keys)
    idle, active = [make()], list[Tree]()
    agent = _stepwise(agent, idle[0])
    while True:
        while len(active) < parallel and (key := next(waiting, None)) is not None:
            active.append(Tree(idle.pop() if idle else make(), key, search))
        if not active:
            break
        growing = [(tree, tree.select()) for tree in active if not tree.done]
        asked = [history for tree, node in growing for history in tree.histories(node)]
        given = iter(agent.act(asked) if asked else [])
        for tree, node in growing:
            tree.expand(node, [next(given) for _ in range(search.breadth)], agent)
        if watch:
            watch(active)
        for tree in [tree for tree in active if tree.done]:
            active.remove(tree)
            if tree.error:
                tree.env.close()
            else:
                idle.append(tree.env)
            yield tree
    for env in idle:
        env.close()
