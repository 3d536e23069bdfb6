from __future__ import annotations

from collections import Counter

from benchmarks.deal import dealt
from rollouts.trajectory import End, Step, Trajectory


def episode(number: int, solved: bool) -> Trajectory:
    steps = Step("o", f"a{number}", 0.0), Step("p", "b", float(solved))
    return Trajectory("Env-v0", str(number), 0, steps, End.TERMINATED if solved else End.TRUNCATED, "lm")


def test_outcomes_change_places_and_nothing_else() -> None:
    log = [episode(number, number < 30) for number in range(100)]
    found = dealt(log, seed=0)
    assert Counter((t.end, t.success, t.total_reward) for t in found) == Counter((t.end, t.success, t.total_reward) for t in log)
    assert [[s.action for s in t.steps] for t in found] == [[s.action for s in t.steps] for t in log]
    assert sum(a.success and b.success for a, b in zip(log, found, strict=True)) < 20  # 9 by chance, 30 if nothing had moved
    assert found == dealt(log, seed=0) != dealt(log, seed=1)


def test_broken_episodes_deal_nothing() -> None:
    broken = Trajectory("Env-v0", "x", 0, (), End.ERROR, "lm")
    assert len(dealt([episode(0, True), broken], seed=0)) == 1
