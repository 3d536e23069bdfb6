from __future__ import annotations

from rollouts.stats.contents import Contents, Repeats, Tasks
from rollouts.trajectory import End, Step, Trajectory


def contents(*episodes: Trajectory) -> Contents:
    found = Contents()
    for episode in episodes:
        found.add(episode)
    return found


def episode(task: str, reward: float = 1.0, action: str = "x", **step: object) -> Trajectory:
    return Trajectory("E", task, 0, (Step("ob", action, reward, **step),), End.TERMINATED, "lm", final="f")  # type: ignore[arg-type]


def test_tasks_by_hand() -> None:
    """a is solved in both episodes, b in one of three, c in its only one not: 1, 1, 1; episodes of a task 2, 3, 1."""
    found = contents(*(episode(task, reward) for task, reward in [("a", 1), ("a", 1), ("b", 0), ("b", 1), ("b", 0), ("c", 0)]))
    assert Tasks.of(found.tally) == Tasks(tasks=3, least=1, median=2.0, most=3, always=1, sometimes=1, never=1)


def test_repeats_by_hand() -> None:
    """Task a: y once, x three times; task b: x once, which is no repetition of a's."""
    found = contents(episode("a", action="y"), episode("a"), episode("b"), episode("a"), episode("a", 0.0))
    assert found.repeats() == Repeats(again=2, most=3, first=1)


def test_lengths_by_hand() -> None:
    """An observation of 2 characters, an action of 3, a final one of 1."""
    found = contents(episode("a", action="abc", tokens=(1, 2), logps=(0.0, 0.0)), episode("b", action="abc")).to_json()
    assert found["steps"]["sum"] == 2
    assert (found["characters"]["min"], found["characters"]["max"]) == (6, 6)
    assert found["sampled_tokens"]["sum"] == 2
    assert found["held"] == {"tokens": 0.5, "logps": 0.5, "value": 0.0, "target": 0.0}


def test_kinds_of_tasks_are_counted_apart() -> None:
    found = contents(episode("x/1"), episode("x/2", 0.0), episode("y/1")).to_json()
    assert {name: (group["episodes"], group["solved"]) for name, group in found["groups"].items()} == {"x": (2, 1), "y": (1, 1)}
