"""What another policy would have earned, from the episodes of one: importance weights, self-normalised or not, with V or without.

Episodes are of the behaviour policy mu; pi is the policy that is asked for. With the ratios rho_t = pi(a_t | s_t) / mu(a_t | s_t)
and the weights w_t = rho_0 ... rho_t of n episodes (nothing is discounted):

    IS      1/n sum_i w_T G                                                    Precup, Sutton and Singh 2000
    WIS     sum_i w_T G / sum_i w_T                                            the same, self-normalised
    PDIS    1/n sum_i sum_t w_t r_t                                            the same, per decision
    PDWIS   sum_t (sum_i w_t r_t / sum_i w_t)                                  the consistent one of Thomas 2015
    DR      1/n sum_i [V(s_0) + sum_t w_t (r_t + V(s_t+1) - Q(s_t, a_t))]      Jiang and Li 2016, written out
    WDR     1/n sum_i V(s_0) + sum_t (sum_i w_t (r_t + V(s_t+1) - Q(s_t, a_t)) / sum_i w_t)     Thomas and Brunskill 2016

So PDIS and PDWIS are DR and WDR without V, IS and WIS those of whole episodes as one decision. An episode that is over keeps its
last weight, so that all of them share each sum. IS, PDIS and DR are unbiased whatever Q is, as long as V is its mean under pi; the
others are consistent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decisions:
    """N episodes of the behaviour policy, of at most S decisions each; what lies behind an episode's last decision is 0.

    Raises ValueError where there is none, where the shapes differ, and for a number that is not finite.
    """

    log_ratio: np.ndarray
    """log pi - log mu of each decision, float [N, S]"""
    reward: np.ndarray
    """float [N, S]"""
    task: np.ndarray
    """which task was played, int [N]; tasks are what is drawn at random, their samples are not independent"""

    def __post_init__(self) -> None:
        """Raises ValueError as the class says."""
        if self.log_ratio.ndim != 2 or 0 in self.log_ratio.shape:
            raise ValueError(f"log_ratio has the shape {self.log_ratio.shape}: wanted [episodes, decisions], at least one of each")
        if self.reward.shape != self.log_ratio.shape or self.task.shape != self.log_ratio.shape[:1]:
            raise ValueError(
                f"reward {self.reward.shape} and task {self.task.shape} do not fit log_ratio {self.log_ratio.shape}: wanted "
                "[episodes, decisions] and [episodes]"
            )
        for name in ("log_ratio", "reward"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(
                    f"{name} is not finite everywhere: wanted log-probabilities of actions that both policies can take"
                )

    def log_weights(self, clip: float = math.inf) -> np.ndarray:
        """The logarithm of min(w_t, clip), float [N, S]; that of the last decision stays after it."""
        return np.minimum(self.log_ratio.cumsum(1), math.log(clip))

    @property
    def returns(self) -> np.ndarray:
        """The sum of an episode's rewards, float [N]."""
        return self.reward.sum(1)


@dataclass(frozen=True)
class Sums:
    """What an estimator adds up, by task (G of them), so that tasks can be drawn anew without the episodes."""

    episodes: np.ndarray
    """float [G]"""
    first: np.ndarray
    """V before the first decision, float [G]"""
    gain: np.ndarray
    """w_t (r_t + V(s_t+1) - Q(s_t, a_t)), each column over exp of its `scale`; float [G, S]"""
    weight: np.ndarray
    """w_t, scaled alike; float [G, S]"""
    scale: np.ndarray
    """log of the largest weight of each column, float [S]: its sums neither overflow nor vanish"""

    @classmethod
    def of(
        cls, log_weight: np.ndarray, reward: np.ndarray, task: np.ndarray, q: np.ndarray | None = None, v: np.ndarray | None = None
    ) -> Sums:
        """The sums of N episodes.

        Args:
            log_weight, reward: float [N, S].
            task: int [N].
            q: Q of the action that was taken, float [N, S], 0 behind the end; without it, 0.
            v: the mean of Q under pi, float [N, S], 0 behind the end; by default `q`, which does not depend on the action then.
        """
        q = np.zeros_like(reward) if q is None else q
        v = q if v is None else v
        scale = log_weight.max(0)
        weight = np.exp(log_weight - scale)
        after = np.concatenate([v[:, 1:], np.zeros_like(v[:, :1])], axis=1)
        return cls(
            episodes=_by_task(np.ones(len(task)), task),
            first=_by_task(v[:, 0], task),
            gain=_by_task(weight * (reward + after - q), task),
            weight=_by_task(weight, task),
            scale=scale,
        )

    def plain(self, count: np.ndarray) -> float:
        """IS, PDIS or DR with task g taken `count[g]` times, float [G]."""
        with np.errstate(over="ignore"):  # an estimate that no float holds is infinite
            return float((count @ self.first + (count @ self.gain) @ np.exp(self.scale)) / (count @ self.episodes))

    def normalised(self, count: np.ndarray) -> float:
        """WIS, PDWIS or WDR with task g taken `count[g]` times, float [G]. NaN where no weight is left."""
        with np.errstate(invalid="ignore", divide="ignore"):
            steps = (count @ self.gain) / (count @ self.weight)
        return float(count @ self.first / (count @ self.episodes) + steps.sum())


def whole(decisions: Decisions, clip: float = math.inf) -> Sums:
    """Each episode as one decision: for IS and WIS."""
    return Sums.of(decisions.log_weights(clip)[:, -1:], decisions.returns[:, None], decisions.task)


def per_decision(decisions: Decisions, clip: float = math.inf, q: np.ndarray | None = None, v: np.ndarray | None = None) -> Sums:
    """For PDIS and PDWIS, and with `q` (and `v`, as in `Sums.of`) for DR and WDR."""
    return Sums.of(decisions.log_weights(clip), decisions.reward, decisions.task, q, v)


def effective_size(log_weight: np.ndarray) -> float:
    """How many episodes of equal weight would vary as little: (sum w)^2 / sum w^2 (Kish 1965). log_weight float [N]."""
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.sum() ** 2 / np.square(weight).sum())


def largest_share(log_weight: np.ndarray) -> float:
    """The share of all weight that one episode has at most. log_weight float [N]."""
    return float(1 / np.exp(log_weight - log_weight.max()).sum())


def _by_task(x: np.ndarray, task: np.ndarray) -> np.ndarray:
    """Sums over the episodes of each task: [N, ...] -> [G, ...], tasks in the order of their numbers."""
    place = np.unique(task, return_inverse=True)[1]
    found = np.zeros((place.max() + 1, *x.shape[1:]))
    np.add.at(found, place, x)
    return found
