"""Fitted Q evaluation (Le, Voloshin and Yue 2019) with a linear head on given features.

Each round fits the head to what the one before says of the next state:

    theta_k = argmin_theta sum_t rho_t (theta x(s_t) - r_t - theta_{k-1} x(s_{t+1}))^2 + ridge |theta|^2,    x = 0 after the end

The paper fits Q(s, a) and takes the mean over pi's actions at s_{t+1}; a head on states cannot. Where an action decides the next
state, as tokens do, Q(s, a) = r + V(s'), and V is fitted in its place: the ratio rho_t = pi / mu of the one action turns mu's mean
over actions into pi's (as in off-policy least-squares TD, Bertsekas and Yu 2009). No product of ratios occurs, which is why it
holds where weights collapse; its price is the bias of what a linear head of these features cannot say.

Sums of all rounds are two matrices of the features' width, so that a round costs nothing and tasks can be left out or drawn anew
by parts: blocks of tasks. What is said of a block's states was fitted without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOCKS = 20
"""Into how many parts tasks are dealt."""

RIDGE = 1e-3
"""In units of the features' mean square."""

ROUNDS, SETTLED = 2000, 1e-9
"""Most rounds of fitting, and the change of V at the first states that ends them."""

CHUNK = 4096
"""States that are worked on at once."""


@dataclass(frozen=True)
class Transitions:
    """The M decisions of N episodes one after the other."""

    states: np.ndarray
    """features of the state before each decision, float [M, D] (an array on disk will do)"""
    ratio: np.ndarray
    """pi / mu of each decision, float [M]"""
    reward: np.ndarray
    """float [M]"""
    first: np.ndarray
    """where each episode begins, rising from 0, int [N]"""
    block: np.ndarray
    """the block of each episode's task, int [N]"""

    @property
    def last(self) -> np.ndarray:
        """The last decision of each episode, bool [M]."""
        found = np.zeros(len(self.ratio), bool)
        found[np.append(self.first[1:], len(found)) - 1] = True
        return found

    def by_decision(self, x: np.ndarray) -> np.ndarray:
        """What episodes have, for each of their decisions: [N] -> [M]."""
        return np.repeat(x, np.diff(np.append(self.first, len(self.ratio))))


@dataclass(frozen=True)
class FittedValue:
    """V of pi, fitted on the log."""

    values: np.ndarray
    """V of the state before each decision, by a head that was fitted without the state's block, float [M]"""
    mean: float
    """the mean V of the first states, by the head of all blocks"""
    draws: np.ndarray
    """the same, fitted anew on blocks drawn with replacement; NaN where that did not settle; float [draws]"""


def fit_value(data: Transitions, draws: int = 200, seed: int = 0, advance: Callable[[], None] = lambda: None) -> FittedValue:
    """V of the policy whose ratios these are. `advance` is called after each of the `BLOCKS` + `draws` fits.

    Raises:
        ValueError: fewer than two blocks have episodes, so that nothing can be said of one by the others.
        FloatingPointError: rounds of fitting do not settle.
    """
    names, block = np.unique(data.block, return_inverse=True)
    if len(names) < 2:
        raise ValueError("all episodes are of one task: fitted Q evaluation needs episodes of at least two")
    normal = _Normal.of(data, block, len(names))
    ones = np.ones(len(names))
    values = np.zeros(len(data.ratio))
    owner = data.by_decision(block)
    for number in range(len(names)):
        head = normal.head(ones - (np.arange(len(names)) == number))
        for chosen in np.array_split(np.flatnonzero(owner == number), max(1, (owner == number).sum() // CHUNK)):
            values[chosen] = _features(data.states[chosen]) @ head
        advance()
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        count = rng.multinomial(len(names), ones / len(names)).astype(float)
        try:
            drawn.append(normal.first_value(normal.head(count), count))
        except FloatingPointError:
            drawn.append(np.nan)
        advance()
    return FittedValue(values, normal.first_value(normal.head(ones), ones), np.array(drawn))


@dataclass(frozen=True)
class _Normal:
    """The sums of each of K blocks, over D features and a constant (E = D + 1)."""

    square: np.ndarray
    """sum rho x x', float [K, E, E]"""
    next: np.ndarray
    """sum rho x x(s_t+1)', float [K, E, E]"""
    gain: np.ndarray
    """sum rho x r, float [K, E]"""
    first: np.ndarray
    """sum x of first states, float [K, E]"""
    episodes: np.ndarray
    """float [K]"""

    @classmethod
    def of(cls, data: Transitions, block: np.ndarray, blocks: int) -> _Normal:
        width = data.states.shape[1] + 1
        found = cls(
            square=np.zeros((blocks, width, width)),
            next=np.zeros((blocks, width, width)),
            gain=np.zeros((blocks, width)),
            first=np.zeros((blocks, width)),
            episodes=np.bincount(block, minlength=blocks).astype(float),
        )
        last, ends = data.last, np.append(data.first[1:], len(data.ratio))
        for episode in np.array_split(np.arange(len(block)), max(1, len(data.ratio) // CHUNK)):
            begin, end = int(data.first[episode[0]]), int(ends[episode[-1]])
            x = _features(data.states[begin:end])
            after = np.concatenate([x[1:], x[:1]]) * ~last[begin:end, None]
            weighted = x * data.ratio[begin:end, None]
            owner = np.repeat(block[episode], ends[episode] - data.first[episode])
            for number in np.unique(owner):
                own = owner == number
                found.square[number] += weighted[own].T @ x[own]
                found.next[number] += weighted[own].T @ after[own]
                found.gain[number] += data.reward[begin:end][own] @ weighted[own]
            np.add.at(found.first, block[episode], x[data.first[episode] - begin])
        return found

    def head(self, count: np.ndarray) -> np.ndarray:
        """The head that rounds of fitting settle at with block k taken `count[k]` times, float [E]."""
        square, after, gain, first = (np.tensordot(count, x, 1) for x in (self.square, self.next, self.gain, self.first))
        penalty = np.full(len(gain), RIDGE * np.trace(square) / len(gain))
        penalty[-1] = 0  # of the constant
        solved = np.linalg.solve(square + np.diag(penalty), np.column_stack([gain, after]))
        step, carry = solved[:, 0], solved[:, 1:]
        head, first = step, first / (count @ self.episodes)
        for _ in range(ROUNDS):
            head, before = step + carry @ head, head
            change = abs(float(first @ (head - before)))
            if not np.isfinite(change):
                break
            if change < SETTLED:
                return head
        raise FloatingPointError(
            f"fitted Q evaluation does not settle in {ROUNDS} rounds: the policy is too far from the one that played the log, or "
            "has too few episodes"
        )

    def first_value(self, head: np.ndarray, count: np.ndarray) -> float:
        return float(count @ (self.first @ head) / (count @ self.episodes))


def _features(states: np.ndarray) -> np.ndarray:
    """Features and a constant, float64 [m, E]."""
    return np.concatenate([np.asarray(states, np.float64), np.ones((len(states), 1))], axis=1)
