"""Trees of many tasks, grown side by side through an agent's engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

import gymnasium as gym

from agents.agent import Action, Agent, History, segment_of
from agents.mcts import Node, Search
from rollouts.episodes import EpisodeKey, Playing
from rollouts.task_tree import Rollout, State, Tree
from rollouts.trajectory import Trajectory


@dataclass
class _Growth:
    """A node of a tree that is being expanded, and what has come of it so far."""

    node: Node[State]
    histories: list[History]
    given: dict[int, Action] = field(default_factory=dict)
    """by the histories' identity"""
    rollouts: list[Rollout] = field(default_factory=list)
    ended: dict[Rollout, Trajectory] = field(default_factory=dict)


class _Forest:
    """Trees that grow side by side, each at its own pace: one whose samples and rollouts are there does not wait for the others."""

    def __init__(self, make: Callable[[], gym.Env], agent: Agent, search: Search, rollouts: int) -> None:
        """At most so many `rollouts` are played at once."""
        self.make, self.search, self.limit = make, search, rollouts
        self.idle = [make()]
        self.stepwise = _stepwise(agent, self.idle[0])
        # A sampler has one engine: where a step is a whole action, that of the rollouts.
        self.engines = [self.stepwise.engine()] + ([] if self.stepwise is agent else [agent.engine()])
        self.growing: dict[Tree, _Growth] = {}
        self.done: list[Tree] = []
        self._asked: dict[int, Tree] = {}
        self._waiting: deque[Rollout] = deque()
        self._playing: Playing[Rollout] = Playing(make, agent, self.engines[-1], idle=self.idle)

    def plant(self, key: EpisodeKey) -> None:
        """Begin a tree."""
        self._go_on(Tree(self.idle.pop() if self.idle else self.make(), key, self.search))

    def step(self) -> None:
        """Let the engines answer something, and the trees that it was for go on."""
        while self._waiting and self._playing.count < self.limit:
            self._playing.begin(self._waiting.popleft())
        for rollout, ended in self._playing.ended():
            self._played(rollout, ended)
        for engine in self.engines:
            for history, action in engine.step():
                if id(history) in self._asked:
                    self._sampled(history, action)
                else:
                    self._playing.give(history, action)

    def _go_on(self, tree: Tree) -> None:
        """Ask for the steps after the next node, or be done."""
        if tree.done:
            self.growing.pop(tree, None)
            if tree.error:
                tree.env.close()
            else:
                self.idle.append(tree.env)
            self.done.append(tree)
            return
        node = tree.select()
        growth = self.growing[tree] = _Growth(node, tree.histories(node))
        for history in growth.histories:
            self._asked[id(history)] = tree
            self.engines[0].add_request(history)

    def _sampled(self, history: History, action: Action) -> None:
        """Expand the node where this was the last sample."""
        tree = self._asked.pop(id(history))
        growth = self.growing[tree]
        growth.given[id(history)] = action
        if len(growth.given) < len(growth.histories):
            return
        tree.expand(growth.node, [growth.given[id(history)] for history in growth.histories], self.stepwise)
        growth.rollouts = tree.rollouts(growth.node)
        self._waiting += growth.rollouts
        if not growth.rollouts:
            self._go_on(tree)

    def _played(self, rollout: Rollout, ended: Trajectory) -> None:
        """Back up the rollouts where this was the last; in their own order: which ends first hangs on what is played beside it."""
        growth = self.growing[rollout.tree]
        growth.ended[rollout] = ended
        if len(growth.ended) == len(growth.rollouts):
            for each in growth.rollouts:
                each.tree.simulate(each.node, growth.ended[each])
            self._go_on(rollout.tree)

    def close(self) -> None:
        """Give up what is asked for, and close the environments that no tree has."""
        for engine in self.engines:
            engine.close()
        for env in self.idle:
            env.close()


def grow(
    make: Callable[[], gym.Env],
    agent: Agent,
    keys: Iterable[EpisodeKey],
    search: Search = Search(),
    parallel: int = 16,
    watch: Callable[[Collection[Tree]], None] | None = None,
) -> Iterator[Tree]:
    """Yield the tree of each key as it is done; `parallel` trees grow at once, each by one node at a time.

    `watch` is called with the growing trees now and then. An agent that raises ends all.
    """
    waiting, forest = iter(keys), _Forest(make, agent, search, parallel * search.breadth)
    try:
        while True:
            while len(forest.growing) < parallel and (key := next(waiting, None)) is not None:
                forest.plant(key)
            while forest.done:
                yield forest.done.pop(0)
            if not forest.growing:
                break
            forest.step()
            if watch:
                watch(forest.growing)
    finally:
        forest.close()


def _stepwise(agent: Agent, env: gym.Env) -> Agent:
    """The agent, stopped where the environment's rule says that a step has ended."""
    segment = segment_of(env)
    return agent if segment is None else agent.stopping(lambda text: len(segment(text)) > 1)
