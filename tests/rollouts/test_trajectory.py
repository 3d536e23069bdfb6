from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.trajectory import End, Header, LogError, LogWriter, Step, Trajectory, log_files, read
from tests.rollouts.logs import trajectories

HEADER = Header("Env-v0", "lm", sampling={"temperature": 1.0}, model="abc")


FORMS = ["log.jsonl", "log.jsonl.zst", "log"]


@pytest.mark.parametrize("name", FORMS)
@given(episodes=st.lists(trajectories(), max_size=4, unique_by=lambda episode: (episode.task, episode.seed)))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, name: str, episodes: list[Trajectory]) -> None:
    path = tmp_path_factory.mktemp("log") / name
    with LogWriter(path, HEADER) as log:
        for episode in episodes:
            log.append(episode)
    assert read(path).trajectories == episodes
    assert read(path).headers == [HEADER]


def episode(task: str = "a", **step: object) -> Trajectory:
    return Trajectory("Env-v0", task, 0, (Step("o", "x", 1.0, **step),), End.TERMINATED, "lm")  # type: ignore[arg-type]


@given(st.integers(1, 400))
def test_a_torn_write_loses_at_most_its_own_line(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Cut anywhere: whole lines are read, the torn one is said; writing again goes on after the last whole line."""
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with LogWriter(path, HEADER) as log:
        for task in "abc":
            log.append(episode(task))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    kept = whole[: max(first, len(whole) - cut)]
    path.write_bytes(kept)
    lines = kept.count(b"\n") - 1
    if kept.endswith(b"\n"):
        assert len(read(path).trajectories) == lines
    else:
        with pytest.warns(UserWarning, match="unfinished last line"):
            assert len(read(path).trajectories) == lines
        with pytest.warns(UserWarning, match="cut off an unfinished last line"), LogWriter(path, HEADER) as log:
            log.append(episode("d"))
        assert [t.task for t in read(path).trajectories] == [*"abc"[:lines], "d"]


@pytest.mark.parametrize(("name", "lost"), [("log.jsonl", 0), ("log.jsonl.zst", 6), ("log", 6)])
def test_a_killed_writer_leaves_a_log_that_reads(tmp_path: Path, name: str, lost: int) -> None:
    """A process that is killed while it writes: every episode that it had announced is there, but for those of a frame."""
    code = (
        "import itertools, sys; from rollouts.trajectory import *\n"
        "log = LogWriter(sys.argv[1], Header('Env-v0', 'lm'))\n"
        "for i in itertools.count():\n"
        "    log.append(Trajectory('Env-v0', str(i), 0, (Step('o', 'x' * 50_000, 0.0),), End.TERMINATED, 'lm'))\n"
        "    print(i, flush=True)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / name)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        announced = [int(next(writer.stdout)) for _ in range(50)]
        writer.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last line may be torn
        tasks = [t.task for t in read(tmp_path / name).trajectories]
    assert len(tasks) >= 50 - lost
    assert tasks[:50] == [str(i) for i in announced[: len(tasks)]]


@pytest.mark.parametrize("content", [b'{"not": "a log"}', b"some notes\nof mine", b'{"format": "other", "version": 1}\nrest'])
def test_a_file_that_is_no_log_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(LogError):
        LogWriter(tmp_path / "notes.txt", HEADER)
    assert (tmp_path / "notes.txt").read_bytes() == content


def test_a_header_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(HEADER.encode()[:30])
    with LogWriter(tmp_path / "log.jsonl", HEADER) as log:
        log.append(episode())
    assert read(tmp_path / "log.jsonl").trajectories == [episode()]


@pytest.mark.parametrize("name", FORMS)
def test_an_episode_that_ended_by_an_error_is_played_again(tmp_path: Path, name: str) -> None:
    broken = Trajectory("Env-v0", "a", 0, (), End.ERROR, "lm")
    with LogWriter(tmp_path / name, HEADER) as log:
        log.append(broken)
    with LogWriter(tmp_path / name, HEADER) as log:
        assert ("a", 0) not in log.written
        log.append(episode())
    assert read(tmp_path / name).trajectories == [episode()]


@pytest.mark.parametrize("name", FORMS)
def test_a_log_is_gone_on_with(tmp_path: Path, name: str) -> None:
    with LogWriter(tmp_path / name, HEADER) as log:
        log.append(episode("a"), episode("b"))
    with LogWriter(tmp_path / name, HEADER) as log:
        assert [key in log.written for key in (("a", 0), ("b", 0), ("c", 0), ("a", 1))] == [True, True, False, False]
        log.append(episode("c"))
    assert [t.task for t in read(tmp_path / name).trajectories] == ["a", "b", "c"]
    with pytest.raises(LogError, match="give the same settings"):
        LogWriter(tmp_path / name, Header("Env-v0", "another"))


@pytest.mark.parametrize("name", FORMS[1:])
def test_a_frame_that_was_cut_short_is_left_out_and_then_cut_off(tmp_path: Path, name: str) -> None:
    for task in "ab":
        with LogWriter(tmp_path / name, HEADER) as log:
            log.append(episode(task))
    (file,) = log_files(tmp_path / name)
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.warns(UserWarning, match="unfinished last frame"):
        assert [t.task for t in read(tmp_path / name).trajectories] == ["a"]
    with pytest.warns(UserWarning, match="cut off an unfinished last frame"), LogWriter(tmp_path / name, HEADER) as log:
        log.append(episode("c"))
    assert [t.task for t in read(tmp_path / name).trajectories] == ["a", "c"]


@pytest.mark.parametrize("left", [0, 20])
def test_a_shard_that_was_hardly_begun_is_begun_again(tmp_path: Path, left: int) -> None:
    with LogWriter(tmp_path / "log", HEADER) as log:
        log.append(episode("a"))
    begun = tmp_path / "log" / "part-00001.jsonl.zst"
    begun.write_bytes((tmp_path / "log" / "part-00000.jsonl.zst").read_bytes()[:left])
    assert [t.task for t in read(tmp_path / "log").trajectories] == ["a"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cut
        with LogWriter(tmp_path / "log", HEADER) as log:
            log.append(episode("b"))
    assert [t.task for t in read(begun).trajectories] == ["b"]
    assert [t.task for t in read(tmp_path / "log").trajectories] == ["a", "b"]


def test_bytes_that_are_no_text_name_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", GOOD_HEADER)
    path.write_bytes(path.read_bytes() + b'{"env_id": "\xff"}\n')
    with pytest.raises(LogError, match=r"log.jsonl:2: "):
        read(path)


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


GOOD_HEADER = {"format": "reasoning-rollouts", "version": 1, "env_id": "E", "agent": "a"}
STEP = {"observation": "o", "action": "x", "reward": 1}
GOOD_LINE = {"env_id": "E", "task": "t", "seed": 0, "steps": [STEP], "end": "terminated", "agent": "a"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD_LINE], r"log.jsonl:1: expected a header"),
        ([{k: v for k, v in GOOD_HEADER.items() if k != "version"}], r"log.jsonl:1: the header names no version"),
        ([GOOD_HEADER | {"version": 2}], r"log.jsonl:1: log version 2, this code reads version 1"),
        ([GOOD_HEADER, GOOD_LINE | {"version": 3}], r"log.jsonl:2: log version 3"),
        ([GOOD_HEADER | {"format": "other"}], r"log.jsonl:1: format is 'other'"),
        ([GOOD_HEADER, GOOD_LINE, GOOD_LINE | {"steps": [STEP | {"action": 5}]}], r"log.jsonl:3: .*str.*steps\[0\].action"),
        ([GOOD_HEADER, GOOD_LINE | {"end": "won"}], r"log.jsonl:2: .*end"),
        ([GOOD_HEADER, {k: v for k, v in GOOD_LINE.items() if k != "seed"}], r"log.jsonl:2: .*seed"),
        ([GOOD_HEADER, GOOD_LINE | {"reward": 1}], r"log.jsonl:2: .*unknown field `reward`"),
        (
            [GOOD_HEADER, GOOD_LINE | {"steps": [STEP | {"tokens": [1], "logps": [0.5, 0.5]}]}],
            r"log.jsonl:2: expected one log-probability a token, got 2 for 1",
        ),
        ([GOOD_HEADER, GOOD_LINE | {"steps": [STEP | {"tokens": [3, -1]}]}], r"log.jsonl:2: .*>= 0.*steps\[0\].tokens"),
        ([], "log.jsonl has no header"),
    ],
)  # fmt: skip
def test_malformed_lines_are_named(tmp_path: Path, lines: list[object], message: str) -> None:
    with pytest.raises(LogError, match=message):
        read(write(tmp_path / "log.jsonl", *lines))


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no log at"):
        read(tmp_path / "none.jsonl")


def test_text_that_is_no_json_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", GOOD_HEADER)
    path.write_text(path.read_text() + "not json\n")
    with pytest.raises(LogError, match=r"log.jsonl:2: "):
        read(path)


def test_logs_can_be_joined_by_cat(tmp_path: Path) -> None:
    one, two = (write(tmp_path / f"{n}.jsonl", GOOD_HEADER | {"agent": n}, GOOD_LINE | {"agent": n}) for n in "xy")
    (tmp_path / "both.jsonl").write_bytes(one.read_bytes() + two.read_bytes())
    log = read(tmp_path / "both.jsonl")
    assert [h.agent for h in log.headers] == [t.agent for t in log.trajectories] == ["x", "y"]


def test_appending_with_other_settings_is_refused(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log.jsonl", HEADER) as log:
        log.append(episode())
    with pytest.raises(LogError, match="model='abc', now it is 'def'"):
        LogWriter(tmp_path / "log.jsonl", Header("Env-v0", "lm", sampling={"temperature": 1.0}, model="def"))


def test_a_log_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    code = "import sys; from rollouts.trajectory import *; LogWriter(sys.argv[1], Header('Env-v0', 'lm'))"
    with LogWriter(path, Header("Env-v0", "lm")) as log:
        log.append(Trajectory("Env-v0", "a", 0, (Step("o", "x", 1.0),), End.TERMINATED, "lm"))
        other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
        assert "is being written by another process" in other.stderr
        log.append(Trajectory("Env-v0", "b", 0, (Step("o", "x", 1.0),), End.TERMINATED, "lm"))
    with LogWriter(path, Header("Env-v0", "lm")) as log:
        assert [t.task for t in read(path).trajectories] == ["a", "b"]


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log.jsonl", HEADER) as log, pytest.raises(LogError, match=r"steps\[0\].value"):
        log.append(episode(value=float("nan")))
    assert read(tmp_path / "log.jsonl").trajectories == []


def test_success_needs_an_end_of_the_tasks_own() -> None:
    won = episode()
    assert won.success
    assert not Trajectory("E", "t", 0, won.steps, End.TRUNCATED, "a").success
    assert not Trajectory("E", "t", 0, (Step("o", "x", 0.0),), End.TERMINATED, "a").success
