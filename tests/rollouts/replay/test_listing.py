"""Which episodes are listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.index import LogIndex
from rollouts.replay.facts import Filter, Order, Result, steps_range
from rollouts.replay.listing import Listing
from rollouts.replay.source import Source
from rollouts.replay.values import Values
from rollouts.step_reading import StepReading
from rollouts.trajectory import End, Trajectory
from tests.rollouts.replay.sessions import Falling, episode, log

EPISODES = (
    episode("x/1", "a", "b", solved=True),
    episode("x/2", "a"),
    episode("y/1", "a", "b", "c"),
    episode("y/2", "a", "b", end=End.TRUNCATED),
    episode("y/1", "a", solved=True, seed=1),
)


def listing(path: Path, *episodes: Trajectory, values: Values | None = None) -> Listing:
    return Listing(Source(LogIndex(log(path / "log.jsonl", *(episodes or EPISODES))), values or Values()))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Filter(), [0, 1, 2, 3, 4]),
        (Filter(Result.WON), [0, 4]),
        (Filter(Result.LOST), [1, 2, 3]),
        (Filter(kind="y"), [2, 3, 4]),
        (Filter(kind="none"), []),
        (Filter(least=2), [0, 2, 3]),
        (Filter(least=2, most=2), [0, 3]),
        (Filter(Result.LOST, "y", order=Order.LONGEST), [2, 3]),
        (Filter(order=Order.LONGEST), [2, 0, 3, 1, 4]),
    ],
)
def test_filters(tmp_path: Path, chosen: Filter, expected: list[int]) -> None:
    found = listing(tmp_path)
    found.choose(chosen)
    assert list(found.rows) == expected


def test_the_largest_drop_first(tmp_path: Path) -> None:
    """By the made-up critic x/2 falls from 0.9 to nothing, y/2 from 0.6, x/1 by 0.3 before it wins; y/1's seed 1 only gains."""
    found = listing(tmp_path, *EPISODES[:2], *EPISODES[3:], values=Values(Falling(), "c"))
    found.choose(Filter(order=Order.DROP))
    assert list(found.rows) == [1, 2, 0, 3]
    assert found.drop(1) == pytest.approx(0.9)


def test_only_what_is_left_is_read(tmp_path: Path) -> None:
    found = listing(tmp_path, values=Values(Falling(), "c"))
    found.choose(Filter(Result.WON, order=Order.DROP))
    assert [found.drop(number) is not None for number in range(5)] == [True, False, False, False, True]


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    class Counting(Falling):
        count = 0

        def read(self, trajectories: Sequence[Trajectory]) -> list[list[StepReading]]:
            self.count += len(trajectories)
            return super().read(trajectories)

    reader = Counting()
    found = listing(tmp_path, values=Values(reader, "c"))
    counts = []
    for result in (Result.WON, Result.WON, Result.ALL):
        found.choose(Filter(result, order=Order.DROP))
        counts.append(reader.count)
    assert counts == [2, 2, 5]


def test_no_values_no_order_by_them(tmp_path: Path) -> None:
    found = listing(tmp_path)
    found.filter = Filter(order=Order.LONGEST)
    with pytest.raises(ValueError, match="--critic RUN"):
        found.next_order()
    assert found.filter == Filter()


def test_a_log_is_listed_without_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollouts.replay.listing.gather", pytest.fail)
    assert len(listing(tmp_path)) == 5


def test_kinds_in_turn(tmp_path: Path) -> None:
    found, seen = listing(tmp_path), []
    for _ in range(3):
        found.next_kind()
        seen.append((found.filter.kind, len(found)))
    assert seen == [("x", 2), ("y", 3), ("", 5)]


@pytest.mark.parametrize(("text", "at"), [("y/1", 4), ("x/2", 1), ("2", 2)])
def test_finding_by_a_part_of_the_name_or_by_number(tmp_path: Path, text: str, at: int) -> None:
    found = listing(tmp_path)
    found.at = 2
    found.find(text)
    assert found.at == at


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the 5 listed episodes has 'z/9'"):
        listing(tmp_path).find("z/9")


@given(st.integers(0, 99), st.integers(0, 99))
def test_ranges_of_steps(low: int, high: int) -> None:
    low, high = sorted((low, high))
    assert [steps_range(text) for text in ("", f"{low}", f"{low}-", f"-{high}", f" {low} - {high} ")] == [
        (0, None),
        (low, low),
        (low, None),
        (0, high),
        (low, high),
    ]


def test_a_range_that_nothing_is_in() -> None:
    with pytest.raises(ValueError, match="the smaller number first"):
        steps_range("9-5")


@pytest.mark.parametrize("text", ["x", "5+", "1-2-3"])
def test_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="such as 5, 5-, -9 or 5-9"):
        steps_range(text)
