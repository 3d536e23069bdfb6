"""Rows on disk are the rows, and light."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.batch import Row
from algorithms.store import RowStore, StoredRow

numbers = st.floats(allow_nan=False, allow_infinity=False)


def several(element: st.SearchStrategy) -> st.SearchStrategy:  # type: ignore[type-arg]
    return st.lists(element, max_size=5).map(tuple)


rows = st.builds(
    Row,
    tokens=several(st.integers(0, 2**40)),
    step=several(st.integers(-1, 300)),
    reward=several(numbers),
    target=st.none() | several(numbers),
    logps=st.none() | several(numbers),
    solved=st.booleans(),
    process_score=st.none() | several(numbers),
    task=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    seed=st.integers(-(2**53), 2**53),
    cut=st.booleans(),
)


def stored(*given_rows: Row, folder: Path) -> list[StoredRow]:
    store = RowStore(folder)
    for row in given_rows:
        store.append(row)
    return store.rows()


@given(st.lists(rows, max_size=4))
def test_a_stored_row_says_what_the_row_says(tmp_path_factory: pytest.TempPathFactory, known: list[Row]) -> None:
    found = stored(*known, folder=tmp_path_factory.mktemp("rows"))
    assert [row.loaded() for row in found] == known
    assert [repr(row) for row in found] == [repr(row) for row in known]  # a run's state names its rows by this
    assert [len(row) for row in found] == [len(row) for row in known]
    for name in (field.name for field in fields(Row)):
        assert [getattr(row, name) for row in reversed(found)] == [getattr(row, name) for row in reversed(known)]


ROW = Row((1, 2), (-1, 0), (1.0,), logps=(0.0, -0.5), task="t")


def test_replaced_fields(tmp_path: Path) -> None:
    (row,) = stored(ROW, folder=tmp_path)
    assert replace(row, sign=-1).loaded() == replace(ROW, sign=-1)
    assert replace(row, logged=False).loaded() == replace(ROW, logps=None)
    assert replace(row, logged=False).logps is None
    assert replace(replace(row, logged=False), sign=1).loaded() == replace(ROW, logps=None, sign=1)


def test_what_a_row_does_not_have_is_said(tmp_path: Path) -> None:
    (row,) = stored(ROW, folder=tmp_path)
    with pytest.raises(AttributeError, match="rows have no 'rewards', only cut, logps"):
        row.rewards  # noqa: B018


def test_no_file_is_left_in_the_folder(tmp_path: Path) -> None:
    found = stored(ROW, folder=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    assert found[0].tokens == ROW.tokens


def test_a_row_takes_as_much_memory_whatever_its_length(tmp_path: Path) -> None:
    """Less than 200 bytes: itself, its number, its places; a row in memory of 2,000 tokens takes tens of thousands."""
    store, long = RowStore(tmp_path), replace(ROW, tokens=tuple(range(2000)), step=(0,) * 2000)
    store.append(ROW)
    store.row(0)  # the decoder is made on first use
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            store.append(long)
        found = store.rows()
        assert (tracemalloc.get_traced_memory()[0] - before) / len(found) < 200
    finally:
        tracemalloc.stop()
    assert sys.getsizeof(found[0]) < 100
