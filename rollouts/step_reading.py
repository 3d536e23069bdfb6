"""What a model says along a logged step: plain numbers, so that who only shows them loads no model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReading:
    """What a model says along one step of n tokens; empty for a step that its training's length has cut off."""

    texts: tuple[str, ...] = ()
    """what each token adds to the action; together they are the action and what closes it"""
    values: tuple[float, ...] = ()
    """V of the state before each token; empty where the critic learnt none there"""
    log_ratios: tuple[float, ...] = ()
    """log(pi / ref) of each token; empty without a reference"""
    value: float | None = None
    """V of the state before the step"""
    advantage: float | None = None
    """r + gamma V(s') - V(s), V' = 0 after the last step"""

    @property
    def implicit(self) -> float | None:
        """log(pi / ref) of the step: the advantage by the policy, over beta (OREO, eq. 12)."""
        return sum(self.log_ratios) if self.log_ratios else None
