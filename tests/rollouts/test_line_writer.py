"""What is appended, in which form, and who may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rollouts.line_writer import LineWriter, written_aside
from rollouts.lines import LogError, lines, parts
from tests.rollouts.framed import HEAD, NAMES, texts, write


def test_a_shard_begins_with_the_head_and_is_followed_by_the_next_where_it_is_large(tmp_path: Path) -> None:
    path = write(tmp_path / "log", *[[bytes([65 + i]) * 30] for i in range(5)], shard=60)
    assert [part.name for part in parts(path)] == [f"part-0000{i}.jsonl.zst" for i in range(len(parts(path)))]
    assert len(parts(path)) > 2
    assert all(next(lines(part)).text == HEAD for part in parts(path))


def test_the_name_says_what_is_written_and_the_content_what_is_read(tmp_path: Path) -> None:
    packed = write(tmp_path / "a.jsonl.zst", [b"a"]).rename(tmp_path / "a.part")
    plain = write(tmp_path / "b.jsonl", [b"b"]).rename(tmp_path / "b.jsonl.zst")
    assert write(packed, [b"c"]) == packed and texts(packed) == [HEAD, b"a\n", b"c\n"]
    assert write(plain, [b"c"]) == plain and plain.read_bytes() == HEAD + b"b\nc\n"


@pytest.mark.parametrize("name", NAMES)
def test_cut_to_any_size_that_it_had(tmp_path: Path, name: str) -> None:
    sizes: list[int] = []
    with LineWriter(tmp_path / name, HEAD, 50) as writer:
        writer.begin()
        for text in (b"a" * 40, b"b" * 40, b"c" * 40):
            sizes.append(writer.size)
            writer.write(text + b"\n")
            writer.flush()
        for number in (2, 1, 0):
            writer.cut(sizes[number])
            assert writer.size == sizes[number]
            assert [text for text in texts(tmp_path / name) if text != HEAD] == [c * 40 + b"\n" for c in (b"a", b"b")[:number]]
        writer.write(b"d\n")
    assert [text for text in texts(tmp_path / name) if text != HEAD] == [b"d\n"]


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LogError, match="is a folder of other things"):
        LineWriter(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_one_writer_at_a_time(tmp_path: Path, name: str) -> None:
    code = "import sys; from pathlib import Path; from rollouts.line_writer import *; LineWriter(Path(sys.argv[1]))"
    with LineWriter(tmp_path / name, HEAD, 1) as writer:
        writer.begin()
        writer.write(b"a\n")
        writer.flush()  # in a folder, the next shard is begun: it is not free either
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True)
    assert "is being written by another process" in other.stderr


def test_a_slow_line_does_not_wait_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("rollouts.line_writer.time.monotonic", lambda: now[0])
    with LineWriter(tmp_path / "log.jsonl.zst", HEAD) as writer:
        writer.begin()
        writer.write(b"a\n")
        assert texts(tmp_path / "log.jsonl.zst") == [HEAD]
        now[0] = 5.0
        writer.write(b"b\n")
        assert texts(tmp_path / "log.jsonl.zst") == [HEAD, b"a\n", b"b\n"]


def test_a_frame_is_written_when_there_is_enough_text(tmp_path: Path) -> None:
    with LineWriter(tmp_path / "log.jsonl.zst", HEAD) as writer:
        writer.begin()
        for _ in range(5):
            writer.write(b"x" * (100 << 10) + b"\n")
        assert len(texts(tmp_path / "log.jsonl.zst")) == 1 + 3


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_aside_takes_the_place_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, [b"before"])
    with pytest.raises(KeyError), written_aside(tmp_path / name) as writer:
        writer.follow(HEAD)
        raise KeyError
    assert texts(tmp_path / name) == [HEAD, b"before\n"]
    with written_aside(tmp_path / name) as writer:
        writer.follow(HEAD)
        writer.write(b"after\n")
        writer.follow(HEAD)
        writer.follow(b"other\n")
    assert texts(tmp_path / name) == [HEAD, b"after\n", b"other\n"]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "log", [b"a"])
    (tmp_path / "log" / "notes.txt").write_text("mine")
    with pytest.raises(OSError), written_aside(tmp_path / "log") as writer:
        writer.follow(HEAD)
    assert (tmp_path / "log" / "notes.txt").read_text() == "mine"
