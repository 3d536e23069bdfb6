from __future__ import annotations

from pathlib import Path

import pytest

from rollouts.lines import LogError
from rollouts.stats.contamination import Contamination, first_texts
from rollouts.trajectory import End, Header, Step, Trajectory
from tests.rollouts.logs import write

PLAIN = "Ann has 2 red apples and 3 green ones. How many has she?"


def episode(task: str, text: str, env_id: str = "MathReason-v0") -> Trajectory:
    return Trajectory(env_id, task, 0, (Step(text, "x", 0.0),), End.TERMINATED, "lm")


@pytest.mark.parametrize(
    ("task", "text", "kind"),
    [
        ("there/1", "Another text.", "id"),
        ("here/1", "  ann HAS 2 red apples, and 3 green ones; how many has she", "exact"),
        ("here/1", "Ann has 4 red apples and 5 green ones. How many has she?", "numbers"),
        ("here/1", "Ann has 2 red apples and 3 green ones. How many has she now?", "near"),
        ("here/1", "Bob sells books.", None),
    ],
)
def test_problems(task: str, text: str, kind: str | None) -> None:
    found = Contamination("there", {"there/0": "Something else here.", "there/1": PLAIN}, household=False)
    found.add(episode(task, text))
    assert found.pairs == ([(task, "there/1", kind)] if kind else [])
    assert found.hit == ({1: kind} if kind else {})


HOUSE = {
    "pick_and_place_simple-Mug-None-Desk-308/trial_1": "You see a desk 1. Your task is to: put a mug in desk.",
    "pick_and_place_simple-Pen-None-Desk-301/trial_1": "You see a desk 1. Your task is to: put a pen in desk.",
}


@pytest.mark.parametrize(
    ("task", "text", "kinds", "rooms"),
    [
        ("pick_and_place_simple-Mug-None-Desk-308/trial_2", "Another room.", ["name"], {308}),
        ("look_at-Mug-None-Desk-308/trial_1", "You see a desk 1. Your task is to: put a mug in desk.", ["exact"], {308}),
        ("look_at-Mug-None-Desk-308/trial_1", "You see a desk 2. Your task is to: put a mug in desk.", [], {308}),
        ("look_at-Mug-None-Desk-5/trial_1", "Another room.", [], set()),
    ],
)
def test_households(task: str, text: str, kinds: list[str], rooms: set[int]) -> None:
    """Rooms are alike in their words, so that nothing is near, and other numbers are other furniture."""
    found = Contamination("there", HOUSE, household=True)
    found.add(episode(task, text, "AlfWorld-v0"))
    assert [kind for _, _, kind in found.pairs] == kinds
    assert found.rooms == rooms


def test_a_task_counts_once_whatever_its_samples() -> None:
    found = Contamination("there", {"a": PLAIN}, household=False)
    for _ in range(3):
        found.add(episode("a", PLAIN))
    found.add(episode("b", "Something else."))
    assert (found.tasks, dict(found.found), found.hit) == (2, {"id": 1}, {0: "id"})


def test_the_strictest_kind_counts_on_both_sides() -> None:
    """The log has the very task, after one with other numbers: there the task is the same, whatever came first."""
    found = Contamination("there", {"a": PLAIN}, household=False)
    found.add(episode("b", PLAIN.replace("2", "7")))
    found.add(episode("a", PLAIN))
    assert (dict(found.found), found.hit) == ({"numbers": 1, "id": 1}, {0: "id"})


def test_the_other_set_is_a_log_or_a_split(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [Header("E", "a"), episode("a", "one"), episode("a", "two"), episode("b", "three")])
    assert first_texts(str(log), Header("MathReason-v0", "lm")) == {"a": "one", "b": "three"}
    split = first_texts("test", Header("MathReason-v0", "lm", {"split": "train", "count": 3}))
    assert list(split) == [f"arithmetic-d2/test/{i:06d}" for i in range(3)]
    assert all(text.endswith("?") for text in split.values())


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [("none.jsonl", LogError, "no log at none.jsonl"), ("tset", ValueError, "Did you mean 'test'")],
)
def test_no_such_set(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        first_texts(name, Header("MathReason-v0", "lm"))


def test_an_environment_without_a_list_of_tasks_asks_for_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        unwrapped = object()

    monkeypatch.setattr("envs.make", lambda *_, **__: Endless())
    with pytest.raises(ValueError, match="E does not list its tasks: give a log of the split 'test'"):
        first_texts("test", Header("E", "lm"))
