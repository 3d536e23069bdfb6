"""A log that stays on disk gives what the log in memory has."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.stored import survey
from rollouts.trajectory import End, Header, LogError, LogWriter, Step, Trajectory, read

HEADER = Header("Env-v0", "lm")


def episode(task: str, end: End = End.TERMINATED, text: str = "x") -> Trajectory:
    return Trajectory("Env-v0", task, 0, (Step("o", text, 1.0),), end, "lm")


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.zst", "log"])
@given(played=st.lists(st.builds(episode, st.sampled_from("abc"), st.sampled_from(End), st.sampled_from("xyz")), max_size=12))
def test_every_pass_gives_what_reading_gives(tmp_path_factory: pytest.TempPathFactory, name: str, played: list[Trajectory]) -> None:
    """Also where keys come again, and episodes that ended by an error were played again or not."""
    path = tmp_path_factory.mktemp("log") / name
    with LogWriter(path, HEADER) as log:
        log.append(*played)
    stored, whole = survey(path), read(path)
    assert stored.headers == whole.headers
    assert [*stored.trajectories] == [*stored.trajectories] == whole.trajectories
    assert len(stored.trajectories) == len(whole.trajectories)


def test_what_is_written_after_the_survey_is_not_given(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log.jsonl", HEADER) as log:
        log.append(episode("a"))
        stored = survey(tmp_path / "log.jsonl")
        log.append(episode("b"))
        assert [t.task for t in stored.trajectories] == ["a"]


def test_every_line_is_validated(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log.jsonl", HEADER) as log:
        log.append(episode("a"))
    with open(tmp_path / "log.jsonl", "ab") as file:
        file.write(b"no json\n")
    with pytest.raises(LogError, match=r"log.jsonl:3: "):
        survey(tmp_path / "log.jsonl")
