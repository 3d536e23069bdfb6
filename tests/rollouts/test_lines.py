"""Lines in frames and shards: what is written is read, a torn file loses its last frame and nothing else."""

from __future__ import annotations

import warnings
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rollouts.lines import LogError, cut_tail, is_log, line_at, lines, parts, whole_size
from tests.rollouts.framed import HEAD, NAMES, texts, write

batches = st.lists(st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), max_size=4), max_size=5)


@pytest.mark.parametrize("name", NAMES)
@given(batches=batches, shard=st.integers(1, 200))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, batches: list[list[bytes]], shard: int
) -> None:
    path = write(tmp_path_factory.mktemp("log") / name, *batches, shard=shard)
    found = texts(path)
    assert [text for text in found if text != HEAD] == [text + b"\n" for batch in batches for text in batch if text != b"head"]
    assert found[0] == HEAD


@pytest.mark.parametrize("name", NAMES[:2])
@given(batches=batches)
def test_every_line_is_found_again_by_its_place(
    tmp_path_factory: pytest.TempPathFactory, name: str, batches: list[list[bytes]]
) -> None:
    path = write(tmp_path_factory.mktemp("log") / name, *batches)
    for line in lines(path):
        assert line_at(path, line.start, line.skip, len(line.text)) == line.text


@pytest.mark.parametrize("name", NAMES[:2])
def test_reading_begins_at_any_line_or_frame(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [b"a", b"b"], [b"c"])
    found = list(lines(path))
    for start in {line.start for line in found}:
        assert list(lines(path, start)) == [line for line in found if line.start >= start]


def test_a_file_cut_at_any_byte_loses_what_is_unfinished_and_nothing_else(tmp_path: Path) -> None:
    """Three frames: at every length, the lines of the whole frames are read; what is appended then follows them."""
    whole = write(tmp_path / "whole.jsonl.zst", [b"a", b"bb"], [b"ccc"]).read_bytes()
    ends = {line.start for line in lines(tmp_path / "whole.jsonl.zst")} | {len(whole)}
    path = tmp_path / "log.jsonl.zst"
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        kept = [line.text for line in lines(tmp_path / "whole.jsonl.zst") if min(end for end in ends if end > line.start) <= size]
        if size in ends:
            assert texts(path) == kept
        else:
            with pytest.warns(UserWarning, match="unfinished last frame of"):
                assert texts(path) == kept
        last = max([end for end in ends if end <= size], default=0)
        assert (whole_size(path), cut_tail(path)) == (last, size - last)
        write(path, [b"new"])
        assert texts(path) == [*(kept or [HEAD]), b"new\n"]


@given(cuts=st.sets(st.integers(1, 60), max_size=5))
def test_frames_of_others_may_end_anywhere(tmp_path_factory: pytest.TempPathFactory, cuts: set[int]) -> None:
    """Such as those of other programs: lines and their places are right, whatever frame they end in."""
    whole, path = b"".join(bytes([65 + i]) * i + b"\n" for i in range(11)), tmp_path_factory.mktemp("log") / "log.jsonl.zst"
    places = [0, *sorted(cuts), len(whole)]
    frames = [whole[a:b] for a, b in pairwise(places)]
    path.write_bytes(b"".join(map(zstandard.ZstdCompressor(write_content_size=False).compress, frames)))
    found = list(lines(path))
    assert [line.text for line in found] == whole.splitlines(keepends=True)
    assert [line_at(path, line.start, line.skip, len(line.text)) for line in found] == [line.text for line in found]


def test_a_frame_without_its_last_line_break_is_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.zst"
    path.write_bytes(zstandard.compress(b"head\na\nb"))
    with pytest.warns(UserWarning, match="unfinished last line"):
        assert texts(path) == [HEAD, b"a\n"]
    with pytest.raises(LogError, match=r"ends within a line; python -m rollouts.pack"):
        cut_tail(path)


def test_a_damaged_frame_is_named_and_what_follows_it_is_not_cut_off(tmp_path: Path) -> None:
    """Whatever byte of the first frame is another: nothing wrong is read, and the file stays as long as it is."""
    path = write(tmp_path / "log.jsonl.zst", [b"a" * 20, b"b"], [b"c"])
    whole, first = path.read_bytes(), [line.start for line in lines(path)][1]
    for place in range(first, list(lines(path))[-1].start):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(LogError, match=r"log.jsonl.zst: .*frame at byte"):
            texts(path)
        with suppress(LogError):  # the frames' sizes may be right, then nothing is unfinished
            cut_tail(path)
        assert path.stat().st_size == len(whole)


def test_a_shard_of_both_kinds_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "log", [b"a"])
    (tmp_path / "log" / "part-00000.jsonl").write_bytes(HEAD)
    with pytest.raises(LogError, match=r"part-00000.jsonl and part-00000.jsonl.zst, the same shard twice"):
        parts(tmp_path / "log")


@pytest.mark.parametrize(
    ("name", "is_one"), [("a.jsonl", True), ("a.jsonl.zst", True), ("log", True), ("run", False), ("none", False)]
)
def test_which_names_are_logs(tmp_path: Path, name: str, is_one: bool) -> None:
    write(tmp_path / "log", [b"a"])
    (tmp_path / "run").mkdir()
    assert is_log(tmp_path / name) == is_one


def test_nothing_is_said_of_a_file_that_is_whole(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(texts(write(tmp_path / name, [b"a"]))) for name in NAMES] == [2, 2, 2]
