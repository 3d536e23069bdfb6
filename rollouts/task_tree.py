"""The tree of a task in an environment; the search itself is in `agents/mcts.py`, the growing of many in `rollouts/grow.py`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np

from agents import mcts
from agents.agent import Action, Agent, History
from agents.mcts import Node, Search
from rollouts.episodes import Episode, EpisodeKey
from rollouts.journal import TreeRecord
from rollouts.trajectory import End, Trajectory

VISITS, ROLLOUT = "tree_visits", "tree_rollout"
"""Keys of `Step.info`: N of the state after a step; True at the steps of a rollout, beyond the tree."""


@dataclass(frozen=True)
class State:
    """A state of a task: the episode up to it, and the environment's snapshot where it gives one."""

    episode: Episode[EpisodeKey]
    snapshot: Any = None


class Tree:
    """The tree of one task, grown by `select`, `histories`, `expand` (and `simulate`) in turn until it is `done`.

    Its random streams are its own, named by the search's seed, the task and the expansion: what else grows beside it makes no
    difference. What the environment raises ends the tree: `error` says it, and nothing of the tree is used.
    """

    def __init__(self, env: gym.Env, key: EpisodeKey, search: Search) -> None:
        self.env, self.key, self.search = env, key, search
        self.rng = np.random.default_rng(self._stream("tree"))
        self.expansions = self.steps = self.tokens = 0
        self.nodes = 1
        self.error = ""
        self.played: dict[tuple[str, ...], Node[State]] = {}
        """ends of rollouts by their actions; nodes that hang on the tree and are no part of it"""
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
                child = Node(state, prior, self._outcome(state.episode), closed=len(state.episode.steps) >= self.search.depth)
                children.setdefault((text, state.episode.end), child)
        except Exception as error:
            self._fail(error)
        else:
            node.expand(list(children.values()))
            self.nodes += len(children)

    def rollouts(self, node: Node[State]) -> list[Rollout]:
        """The episodes to play on from the children of a node that was just expanded, each with a random stream."""
        return [
            Rollout(
                self.key.task,
                self.key.index,
                self.key.seed,
                _actions(child.state.episode),
                self._stream(f"{self.expansions}|{number}|rollout {sample}"),
                tree=self,
                node=child,
            )
            for number, child in enumerate(node.children)
            if child.outcome is None
            for sample in range(self.search.rollouts)
        ]

    def simulate(self, node: Node[State], rollout: Trajectory) -> None:
        """Back up an episode that was played on from a node."""
        begun = node.state.episode
        count, history = len(begun.steps), begun.history
        if rollout.end is End.ERROR:
            self.error = self.error or rollout.final
            return
        seen = [turn.observation for turn in history.turns]
        if [step.observation for step in rollout.steps[: len(seen)]] != seen:
            self._fail(_not_repeated(self.key, count))
            return
        self.steps += len(rollout.steps) - count
        self.tokens += sum(len(step.tokens or ()) for step in rollout.steps[count:])
        episode = Episode(self.env, self.key, history, list(rollout.steps), rollout.end, rollout.final)
        outcome = self._outcome(episode)
        assert outcome is not None  # it has ended
        node.simulate(outcome)
        self.played.setdefault(_texts(episode), Node(State(episode), outcome=outcome, parent=node, visits=1, total=outcome))

    def record(self) -> TreeRecord:
        """What the journal says of it."""
        ends = [z for node in self.root.nodes() for z in ([] if node.outcome is None else [node.outcome]) + node.rollouts]
        solved, rollouts = ends.count(self.search.outcome(True)), sum(len(node.rollouts) for node in self.root.nodes())
        return TreeRecord(
            self.key.task,
            self.nodes,
            solved,
            len(ends) - solved,
            self.root.q,
            self.steps,
            self.tokens,
            self.root.closed,
            rollouts=rollouts,
        )

    def paths(self, agent: Agent, env_id: str) -> list[Trajectory]:
        """The chosen paths as episodes; path number i has the key's seed + i. Their targets add up to z - V(root)."""
        value = mcts.values(self.root, self.search)
        own = {_texts(node.state.episode) for node in self.root.nodes() if node.outcome is not None}
        others = [end for texts, end in self.played.items() if texts not in own]
        found = []
        for number, end in enumerate(mcts.draw(self.root, self.search, self.rng, others)):
            path, episode = end.path()[:-1], end.state.episode.record(agent, env_id)
            beyond, played = len(episode.steps) - len(path), end not in value
            values = [value[node] for node in path]
            values += mcts.tail(values[-1], self._z(end), beyond + 1, self.search)
            last = {VISITS: 1, ROLLOUT: True} if played else {VISITS: 1}
            infos = [{VISITS: node.visits} for node in path[1:]] + [last] * (beyond + 1)
            steps = [
                msgspec.structs.replace(step, value=before, target=after - before, info=step.info | info)
                for step, info, (before, after) in zip(episode.steps, infos, pairwise(values), strict=True)
            ]
            found.append(msgspec.structs.replace(episode, seed=self.key.seed + number, steps=tuple(steps)))
        return found

    @staticmethod
    def _z(end: Node[State]) -> float:
        assert end.outcome is not None  # only ends are drawn
        return end.outcome

    def _after(self, state: State, step: Action) -> State:
        """The state after a step."""
        episode = self._return(state)
        episode.play([step])
        if episode.end is None and len(episode.steps) >= self.search.depth and not self.search.rollouts:
            episode.end, episode.final = End.TRUNCATED, episode.history.turns[-1].observation
        return State(episode, _snapshot(self.env) if episode.end is None and state.snapshot is not None else None)

    def _return(self, state: State) -> Episode[EpisodeKey]:
        """Bring the environment to a state; a new episode that has come as far. Raises ValueError where it goes another way."""
        before = state.episode
        if state.snapshot is not None:
            self.env.unwrapped.restore(state.snapshot)  # type: ignore[attr-defined]
            history = History(self.key.task, self.key.seed, list(before.history.turns))
            return Episode(self.env, self.key, history, list(before.steps))
        episode = Episode(self.env, replace(self.key, prefix=_actions(before)), History(self.key.task, self.key.seed))
        episode.start()
        if [turn.observation for turn in episode.history.turns] != [turn.observation for turn in before.history.turns]:
            raise _not_repeated(self.key, len(before.steps))
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


@dataclass(frozen=True, kw_only=True)
class Rollout(EpisodeKey):
    """An episode that goes on from a node of a tree."""

    tree: Tree
    node: Node[State]


def _actions(episode: Episode[EpisodeKey]) -> tuple[Action, ...]:
    return tuple(turn.action for turn in episode.history.turns if turn.action is not None)


def _texts(episode: Episode[EpisodeKey]) -> tuple[str, ...]:
    return tuple(step.action.strip() for step in episode.steps)


def _not_repeated(key: EpisodeKey, steps: int) -> ValueError:
    return ValueError(f"the environment does not repeat the first {steps} steps of {key.task}")


def _first(steps: Iterable[Action]) -> list[Action]:
    """The first of each text."""
    found: dict[tuple[str, bool], Action] = {}
    for step in steps:
        found.setdefault((step.text, step.closed), step)
    return list(found.values())


def _snapshot(env: gym.Env) -> Any:
    """The environment's state, or None where it cannot tell."""
    try:
        return env.unwrapped.snapshot() if hasattr(env.unwrapped, "snapshot") else None  # type: ignore[attr-defined]
    except NotImplementedError:
        return None
