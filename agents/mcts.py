"""Monte Carlo tree search over steps, without environment or agent: selection, backup, values, the choice of paths.

The search of DVO (Zhang et al. 2025, arXiv 2502.13723, section 4.4.1 and its code). A node is a state after a step. What is backed
up are the outcomes z of the terminal nodes that the tree itself reaches, each once, when it is created. That is all in the paper;
with `Search.rollouts` the outcomes of episodes that are played on from a new node count as well, each once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Search:
    """How trees are grown, and read. The defaults are the paper's, section 5."""

    iterations: int = 80
    """expansions of one tree"""
    breadth: int = 5
    """next steps sampled at each expansion"""
    depth: int = 8
    """steps of the longest path; one that has not ended by then counts as failed, or with --rollouts is judged by these"""
    c: float = 1.5
    """exploration in PUCT: Q + c * prior * sqrt(N of the parent) / (1 + N)"""
    reward: Literal["pm1", "01"] = "pm1"
    """outcome z of a solved and of a failed path: +1 and -1, or 1 and 0"""
    soft: float | None = None
    """beta of the soft values beta log sum_children (N_child / N) exp(V_child / beta); by default V is the mean outcome"""
    shrink: float = 0.0
    """k: a value of few visits leans on the one before it, V(s') = (W + k V(s)) / (N + k), so its credit is small; the paper: 0"""
    paths: int = 4
    """most solved paths, and most failed paths, that are logged of a tree"""
    seed: int = 0
    """another seed grows other trees"""
    rollouts: int = 0
    """episodes played to their end from each new node, whose outcomes count as ends below it; the paper: 0"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        for name in ("iterations", "breadth", "depth", "paths"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        for name, number, least in (("c", self.c, 0.0), ("shrink", self.shrink, 0.0), ("rollouts", self.rollouts, 0)):
            if not least <= number < math.inf:
                raise ValueError(f"--{name} must be a finite number of at least {least:g}, got {number}")
        if self.soft is not None and not 0 < self.soft < math.inf:
            raise ValueError(f"--soft must be a finite number above 0, got {self.soft}: leave it out for the mean")

    def outcome(self, solved: bool) -> float:
        """The outcome z of a path."""
        return 1.0 if solved else (-1.0 if self.reward == "pm1" else 0.0)


@dataclass(eq=False)
class Node(Generic[T]):
    """A state after a step, or the root. `state` is whatever the tree's owner needs to go on from there."""

    state: T
    prior: float = 1.0
    """the agent's probability of the step, per token"""
    outcome: float | None = None
    """z of a terminal node"""
    parent: Node[T] | None = None
    children: list[Node[T]] = field(default_factory=list)
    visits: int = 0
    """N: terminal nodes created below, or 1 for a terminal node itself, and episodes played on from here or below"""
    total: float = 0.0
    """W: the sum of their outcomes"""
    rollouts: list[float] = field(default_factory=list)
    """z of the episodes that were played on from this very node"""
    closed: bool = False
    """terminal, as deep as a tree goes, or nothing is left to expand below"""

    @property
    def q(self) -> float:
        """Q = W / N, the mean outcome below; 0 where nothing has ended yet."""
        return self.total / self.visits if self.visits else 0.0

    def path(self) -> list[Node[T]]:
        """From the root to this node."""
        found: list[Node[T]] = [self]
        while (parent := found[-1].parent) is not None:
            found.append(parent)
        return found[::-1]

    def nodes(self) -> Iterator[Node[T]]:
        """The node and all below it, parents first."""
        waiting: list[Node[T]] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)

    def expand(self, children: Sequence[Node[T]]) -> None:
        """Add the children, back up the outcomes of the terminal ones, close what has nothing left to expand.

        The paper's backup V(s) = sum N(s')(r + V(s')) / sum N(s') is the mean outcome of the terminal nodes below s (r is z at the
        end and 0 before), so that two sums are all that is kept.
        """
        self.children = list(children)
        for child in self.children:
            child.parent = self
            if child.outcome is None:
                continue
            child.closed = True
            child._back_up(child.outcome)
        for node in reversed(self.path()):
            if not all(child.closed for child in node.children):
                break
            node.closed = True

    def simulate(self, outcome: float) -> None:
        """Back up the outcome of an episode that was played on from here."""
        self.rollouts.append(outcome)
        self._back_up(outcome)

    def _back_up(self, outcome: float) -> None:
        for node in self.path():
            node.visits += 1
            node.total += outcome


def select(root: Node[T], c: float, rng: np.random.Generator) -> Node[T]:
    """The node to expand next: from the root down, the best open child by PUCT. Raises ValueError where none is left."""
    if root.closed:
        raise ValueError("the tree is exhausted: every path has ended")
    node = root
    while node.children:
        node = _best(node, c, rng)
    return node


def _best(node: Node[T], c: float, rng: np.random.Generator) -> Node[T]:
    """Eq. "Selection" of section 4.4.1; ties are broken at random (all are ties until something has ended)."""
    opened = [child for child in node.children if not child.closed]
    scores = [child.q + c * child.prior * math.sqrt(node.visits) / (1 + child.visits) for child in opened]
    ties = [child for child, score in zip(opened, scores, strict=True) if score == max(scores)]
    return ties[int(rng.integers(len(ties)))] if len(ties) > 1 else ties[0]


def values(root: Node[T], search: Search) -> dict[Node[T], float]:
    """V of every node, in the scale of z: a terminal node's outcome, else the mean or the soft value of what is below.

    The search itself always goes by the mean. Shrinking pulls V(s') towards V(s), so that the credit V(s') - V(s) of an uncertain
    step goes to 0; a terminal node's outcome is certain and stays. Where nothing has ended below a node, its value is 0.
    """
    order = list(root.nodes())
    plain: dict[Node[T], float] = {}
    for node in reversed(order):
        if node.outcome is not None:
            plain[node] = node.outcome
        else:
            plain[node] = node.q if search.soft is None else _soft(node, plain, search.soft)
    found: dict[Node[T], float] = {}
    for node in order:
        found[node] = plain[node]
        if search.shrink and node.parent is not None and node.outcome is None:
            weight = node.visits / (node.visits + search.shrink)
            found[node] = weight * plain[node] + (1 - weight) * found[node.parent]
    return found


def tail(before: float, outcome: float, steps: int, search: Search) -> list[float]:
    """V after each of the `steps` steps that a rollout took from a node with V `before`.

    The rule is the tree's own: below each of these states one end has been found, the rollout's, so that V is its outcome (and is
    shrunk as that of any state with one visit). The last is the end itself. So without shrinking the first step has all the credit.
    """
    found = []
    for _ in range(steps - 1):
        before = (outcome + search.shrink * before) / (1 + search.shrink)
        found.append(before)
    return [*found, outcome]


def _soft(node: Node[T], below: dict[Node[T], float], beta: float) -> float:
    """The soft value beta log sum_children (N_child / N) exp(V_child / beta), the visits standing for the policy.

    An episode that was played on from the node is a child with one visit, of its outcome's value.
    """
    parts = [(child.visits, below[child]) for child in node.children if child.visits] + [(1, z) for z in node.rollouts]
    if not parts:
        return 0.0
    top = max(value for _, value in parts)
    mean = sum(visits / node.visits * math.exp((value - top) / beta) for visits, value in parts)
    return top + beta * math.log(mean)


def draw(root: Node[T], search: Search, rng: np.random.Generator, others: Sequence[Node[T]] = ()) -> list[Node[T]]:
    """The terminal nodes whose paths are logged: solved ones first, then, where there is a solved one, failed ones.

    Of each kind at most `search.paths`, without replacement, each drawn with a probability in proportion to the sum of the visits
    on its path, root and end included. Where the tree itself has too few of a kind, `others` (the ends of rollouts, whose parents
    are nodes of the tree) fill up, drawn likewise.
    """
    ends = [node for node in root.nodes() if node.outcome is not None]
    chosen: list[Node[T]] = []
    for kind in (True, False):
        if not kind and not chosen:
            break
        own, filling = ([end for end in some if end.outcome == search.outcome(kind)] for some in (ends, others))
        drawn = _drawn(own, search.paths, rng)
        chosen += drawn + _drawn(filling, search.paths - len(drawn), rng)
    return chosen


def _drawn(ends: Sequence[Node[T]], count: int, rng: np.random.Generator) -> list[Node[T]]:
    if not ends or not count:
        return []
    weights = np.array([sum(node.visits for node in end.path()) for end in ends], dtype=float)
    picked = rng.choice(len(ends), size=min(count, len(ends)), replace=False, p=weights / weights.sum())
    return [ends[int(index)] for index in picked]
