"""Packing and unpacking give the same lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollouts.lines import parts
from rollouts.pack import pack
from rollouts.trajectory import End, Header, LogError, LogWriter, Step, Trajectory, read

HEADER = Header("Env-v0", "lm")


def log(path: Path, tasks: str, header: Header = HEADER) -> Path:
    with LogWriter(path, header) as writer:
        for number, task in enumerate(tasks):
            writer.append(Trajectory("Env-v0", task, number, (Step("o", task * 300, 1.0),), End.TERMINATED, header.agent))
    return path


@pytest.mark.parametrize("name", ["packed.jsonl", "packed.jsonl.zst", "packed"])
def test_a_log_comes_back_to_the_byte(tmp_path: Path, name: str) -> None:
    plain = log(tmp_path / "plain.jsonl", "abcab")
    assert pack((plain,), tmp_path / name, 1 << 20)[0] == 5
    pack((tmp_path / name,), tmp_path / "back.jsonl", 1 << 20)
    assert (tmp_path / "back.jsonl").read_bytes() == plain.read_bytes()


def test_logs_are_joined_with_their_headers(tmp_path: Path) -> None:
    other = Header("Env-v0", "other")
    one, two, three = log(tmp_path / "1.jsonl", "ab"), log(tmp_path / "2", "c"), log(tmp_path / "3.jsonl.zst", "d", other)
    pack((one, two, three), tmp_path / "all.jsonl.zst", 1 << 20)
    found = read(tmp_path / "all.jsonl.zst")
    assert found.headers == [HEADER, other]
    assert found.trajectories == [t for path in (one, two, three) for t in read(path).trajectories]


def test_shards_each_have_the_header_of_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollouts.line_writer.FRAME_TEXT", 1)
    other = Header("Env-v0", "other")
    pack((log(tmp_path / "1.jsonl", "abc"), log(tmp_path / "2.jsonl", "def", other)), tmp_path / "shards", 300)
    found = [read(part) for part in parts(tmp_path / "shards")]
    assert len(found) > 2
    assert all(t.agent == part.headers[-1].agent for part in found for t in part.trajectories[-1:])
    assert [t.task for part in found for t in part.trajectories] == list("abcdef")


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    good = log(tmp_path / "good.jsonl", "a")
    with pytest.raises(LogError, match=r"good.jsonl is there already: give another --out"):
        pack((good,), good, 1 << 20)
    with open(good, "ab") as file:
        file.write(b"no json\n")
    for name in ("out.jsonl", "out"):
        with pytest.raises(LogError, match=r"good.jsonl:3: "):
            pack((good,), tmp_path / name, 1 << 20)
    with pytest.raises(ValueError, match="--shard-mb must be at least 1, got 0"):
        pack((good,), tmp_path / "out", 0)
    assert [file.name for file in tmp_path.iterdir()] == ["good.jsonl"]
