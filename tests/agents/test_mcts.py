"""The search against a second one that keeps no sums and asks the whole tree every time."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.mcts import Node, Search, select, values

Below = Node[int]


def ends(node: Below) -> list[float]:
    """All outcomes found at a node or below it."""
    own = [] if node.outcome is None else [node.outcome]
    return own + node.rollouts + [outcome for child in node.children for outcome in ends(child)]


def is_open(node: Below) -> bool:
    """Whether something is left to expand at a node or below it."""
    return node.outcome is None and (not node.children or any(is_open(child) for child in node.children))


def mean(node: Below) -> float:
    """Of all outcomes below; 0 where there is none."""
    found = ends(node)
    return float(sum(map(Fraction, found)) / len(found)) if found else 0.0


def score(node: Below, child: Below, c: float) -> float:
    """Q(s, a) + c pi(a|s) sqrt(N(s)) / (1 + N(s'))."""
    return mean(child) + c * child.prior * math.sqrt(len(ends(node))) / (1 + len(ends(child)))


def chosen(node: Below, c: float) -> Below:
    """The best open child, from the root down."""
    if not node.children:
        return node

    return chosen(max((child for child in node.children if is_open(child)), key=lambda child: score(node, child, c)), c)


def part_at_equals(one: Below, other: Below, c: float) -> bool:
    """Whether two ways down part at children of the same score, to rounding: chance decides there."""
    mine, theirs = next(pair for pair in zip(one.path(), other.path(), strict=False) if pair[0] is not pair[1])
    assert mine.parent is not None
    return math.isclose(score(mine.parent, mine, c), score(mine.parent, theirs, c), rel_tol=1e-9, abs_tol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), c=st.floats(0.0, 3.0), rollouts=st.booleans())
def test_a_whole_search_expands_what_the_plain_one_would(seed: int, c: float, rollouts: bool) -> None:
    """Trees of random priors and outcomes: every choice with a single best is the same, every value the mean of all ends below."""
    rng = np.random.default_rng(seed)
    root: Below = Node(0)
    for expansion in range(25):
        if not is_open(root):
            assert root.closed
            break
        node = select(root, c, rng)
        expected = chosen(root, c)
        assert node is expected or part_at_equals(node, expected, c)
        children: list[Below] = [
            Node(expansion, prior=float(rng.uniform(0.05, 1)), outcome=float(rng.choice([-1, 1])) if rng.random() < 0.4 else None)
            for _ in range(rng.integers(1, 4))
        ]
        node.expand(children)
        for child in children:
            if rollouts and child.outcome is None and rng.random() < 0.5:
                child.simulate(float(rng.choice([-1, 1])))
    found = values(root, Search())
    for node in root.nodes():
        assert found[node] == mean(node)
        assert (node.visits, node.closed) == (len(ends(node)), not is_open(node))
