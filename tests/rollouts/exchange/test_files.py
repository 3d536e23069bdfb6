"""Output is whole or not there, and missing packages are said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollouts.exchange import parquet
from rollouts.exchange.files import need, whole, write_log
from rollouts.trajectory import End, Header, LogError, Step, Trajectory
from tests.rollouts.logs import HEADERS, lines, write

EPISODE = Trajectory("Env-v0", "a", 0, (Step("o", "x", 1.0),), End.TERMINATED, "lm")


@pytest.mark.parametrize("folder", [False, True])
def test_what_fails_midway_leaves_nothing(tmp_path: Path, folder: bool) -> None:
    def fail() -> None:
        with whole(tmp_path / "out") as aside:
            if folder:
                aside.mkdir()
            (aside / "half" if folder else aside).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "half").write_text("half")
    with whole(tmp_path / "out") as aside:
        aside.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match="is there already, so it is left alone: give another --out"):
        write_log(tmp_path / "out", [(HEADERS[0], EPISODE)])
    assert (tmp_path / "out").read_text() == "mine"


def test_an_importer_that_fails_leaves_no_log(tmp_path: Path) -> None:
    def episodes() -> Iterator[tuple[Header, Trajectory]]:
        yield HEADERS[0], EPISODE
        raise ValueError("row 2")

    with pytest.raises(ValueError, match="row 2"):
        write_log(tmp_path / "log.jsonl", episodes())
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    wrong = Trajectory("Env-v0", "a", 0, (Step("o", "x", float("nan")),), End.TERMINATED, "lm")
    with pytest.raises(LogError, match=r"a, seed 0: expected a finite number, got nan - at `\$.steps\[0\].reward`"):
        write_log(tmp_path / "log.jsonl", [(HEADERS[0], wrong)])


def test_a_header_stands_where_it_changes(tmp_path: Path) -> None:
    """Headers 0, 0, 1 before three episodes: the second is not written again."""
    write_log(tmp_path / "log.jsonl", [(HEADERS[i], EPISODE) for i in (0, 0, 1)])
    assert lines(tmp_path / "log.jsonl") == [HEADERS[0], EPISODE, EPISODE, HEADERS[1], EPISODE]


def test_a_missing_package_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"needs the package pyarrow .*pip install 'reasoning-gym-offline\[hub\]'"):
        need("pyarrow", "hub")


def test_a_log_without_episodes_is_not_exported(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra hub is not installed")
    write(tmp_path / "log.jsonl", [HEADERS[0]])
    with pytest.raises(LogError, match="has no episode: there is nothing to export"):
        parquet.to_parquet(parquet.Export(tmp_path / "log.jsonl", tmp_path / "log.parquet"))
    assert not (tmp_path / "log.parquet").exists()
