"""Random access gives what reading gives, whatever becomes of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts import index as module
from rollouts.index import LogIndex
from rollouts.trajectory import End, Header, LogError, LogWriter, Step, Trajectory, read

HEADER = Header("Env-v0", "lm")
FORMS = ["log.jsonl", "log.jsonl.zst", "log"]


def episode(task: str, seed: int = 0, end: End = End.TERMINATED, text: str = "x") -> Trajectory:
    return Trajectory("Env-v0", task, seed, (Step("o", text, 1.0),), end, "lm")


def append(path: Path, *episodes: Trajectory) -> Path:
    with LogWriter(path, HEADER) as log:
        for each in episodes:
            log.append(each)
            log.flush()
    return path


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The files that are read to be indexed, and from which byte on."""
    found: list[tuple[str, int]] = []
    decoded = module.decoded

    def watched(file: Path, start: int = 0, before: int = 0):  # type: ignore[no-untyped-def]
        found.append((file.name, start))
        return decoded(file, start, before)

    monkeypatch.setattr(module, "decoded", watched)
    return found


def played() -> st.SearchStrategy[list[Trajectory]]:
    ends = st.sampled_from(End)
    return st.lists(
        st.builds(episode, st.sampled_from("abc"), st.integers(0, 1), ends, st.sampled_from(["", "line\nbreak"])), max_size=9
    )


@pytest.mark.parametrize("name", FORMS)
@given(first=played(), later=played())
def test_numbers_and_keys_give_what_reading_gives(
    tmp_path_factory: pytest.TempPathFactory, name: str, first: list[Trajectory], later: list[Trajectory]
) -> None:
    """Also after the log has grown; where a key comes again, the last one that is no error speaks for it."""
    path = tmp_path_factory.mktemp("log") / name
    for more in (first, later):
        append(path, *more)
        index, whole = LogIndex(path), read(path).trajectories
        assert [index[i] for i in range(len(index))] == list(index) == whole
        assert [index[i - len(index)] for i in range(len(index))] == whole
        assert index.headers == read(path).headers
        last = {(t.task, t.seed): t for t in sorted(whole, key=lambda t: t.end is not End.ERROR)}
        assert {key: index.find(*key) for key in last} == last
        assert index.find("none") is None


@pytest.mark.parametrize("name", FORMS)
def test_there_is_no_other_number(tmp_path: Path, name: str) -> None:
    index = LogIndex(append(tmp_path / name, episode("a")))
    for number in (1, -2):
        with pytest.raises(IndexError, match=f"has 1 episodes, there is no number {number}"):
            index[number]


@pytest.mark.parametrize("name", FORMS[:2])
def test_what_is_indexed_is_not_read_again(tmp_path: Path, name: str, began: list[tuple[str, int]]) -> None:
    path = append(tmp_path / name, episode("a"), episode("b"))
    LogIndex(path)
    size = path.stat().st_size
    assert len(LogIndex(path)) == 2
    append(path, episode("c"))
    assert [t.task for t in LogIndex(path)] == ["a", "b", "c"]
    assert began == [(name, 0), (name, size)]


def test_a_new_shard_is_indexed_alone(tmp_path: Path, began: list[tuple[str, int]]) -> None:
    append(tmp_path / "log", episode("a"))
    LogIndex(tmp_path / "log")
    append(tmp_path / "other", episode("b"))
    (tmp_path / "other" / "part-00000.jsonl.zst").rename(tmp_path / "log" / "part-00001.jsonl.zst")
    assert [t.task for t in LogIndex(tmp_path / "log")] == ["a", "b"]
    assert began == [("part-00000.jsonl.zst", 0), ("part-00001.jsonl.zst", 0)]


@pytest.mark.parametrize("name", FORMS[:2])
def test_another_file_of_that_name_is_indexed_anew(tmp_path: Path, name: str) -> None:
    """Shorter, longer, or as long as the one before."""
    path = append(tmp_path / name, episode("a"), episode("b"))
    for tasks in ("c", "defg", "hijk"):
        LogIndex(path)
        path.unlink()
        append(path, *map(episode, tasks))
        os.utime(path, ns=(0, ord(tasks[0])))
        assert [t.task for t in LogIndex(path)] == list(tasks)


def test_an_unfinished_end_is_indexed_when_it_is_finished(tmp_path: Path) -> None:
    path = append(tmp_path / "log.jsonl", episode("a"), episode("b"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.warns(UserWarning, match="unfinished last line"):
        assert len(LogIndex(path)) == 1
    path.write_bytes(whole)
    assert [t.task for t in LogIndex(path)] == ["a", "b"]


def test_keys_of_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "digest", lambda task, seed: 7)
    index = LogIndex(append(tmp_path / "log.jsonl", episode("a"), episode("b"), episode("a", 1)))
    assert [index.find("a"), index.find("b"), index.find("a", 1)] == [episode("a"), episode("b"), episode("a", 1)]
    assert index.find("c") is None


def test_a_file_that_is_changed_under_an_open_index_is_said(tmp_path: Path) -> None:
    path = append(tmp_path / "log.jsonl", episode("a"), episode("b"))
    index = LogIndex(path)
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"task":"b"', b'"task":"c"'))
    with pytest.raises(LogError, match="was changed since it was indexed"):
        index[1]


@pytest.mark.parametrize("content", [b"", b"no index", b"\x80"])
def test_an_index_that_is_none_is_made_again(tmp_path: Path, content: bytes) -> None:
    path = append(tmp_path / "log.jsonl", episode("a"))
    (tmp_path / "log.jsonl.index").write_bytes(content)
    assert list(LogIndex(path)) == list(LogIndex(path)) == [episode("a")]


def test_where_nothing_can_be_written_the_index_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    path = append(tmp_path / "log.jsonl", episode("a"))
    monkeypatch.setattr(Path, "write_bytes", refused)
    assert LogIndex(path)[0] == episode("a")
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]
