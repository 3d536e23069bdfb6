"""Importing other people's episodes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import envs
from rollouts.exchange.knowagent import KnowAgent, convert, read_transcripts, turns_of
from rollouts.trajectory import End, read
from tests.envs.alfworld_house import game, write

TASK = "pick_and_place_simple-Mug-None-SideTable-1/trial_T1"
COMMANDS = ["look", "go to sinkbasin 1", "take mug 1 from sinkbasin 1", "go to sidetable 1", "put mug 1 in/on sidetable 1"]


def transcript(games: Path, commands: list[str]) -> dict[str, object]:
    """A transcript as KnowAgent's agent would have left it."""
    env = envs.make("alfworld", games=[games], wording="put")
    observation, info = env.reset()
    lines = observation.split("\n\n")
    for command in commands:
        observation, _, _, _, info = env.step(command)
        answer = observation.split(". ", 1)[1] if command.startswith("go to") else observation
        lines += [f"> Think: I will {command}.", f"> {command}", answer]
    return {"name": TASK, "result": info["won"], "traj": "\n".join(lines)}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    return write(tmp_path / "train", game(), TASK)


def test_transcripts_are_played_again_and_logged(tmp_path: Path, house: Path) -> None:
    with gzip.open(tmp_path / "episodes.jsonl.gz", "wt") as file:
        for commands in (COMMANDS, COMMANDS[:3]):
            file.write(json.dumps(transcript(house, commands)) + "\n")
    convert(KnowAgent((tmp_path / "episodes.jsonl.gz",), games=str(tmp_path), out=tmp_path / "log.jsonl"))
    log = read(tmp_path / "log.jsonl")
    won, lost = log.trajectories
    assert (won.success, won.end, won.seed, lost.success, lost.end, lost.seed) == (True, End.TERMINATED, 0, False, End.TRUNCATED, 1)
    assert [step.action for step in won.steps] == COMMANDS
    assert won.steps[1].info["thought"] == "Think: I will go to sinkbasin 1."
    assert won.steps[2].observation.startswith("You arrive at loc ")
    assert log.headers[0].env_args["wording"] == "put"


def test_a_transcript_that_the_game_does_not_bear_out_is_refused(tmp_path: Path, house: Path) -> None:
    good = transcript(house, COMMANDS)
    wrong = [good | {"result": False}, good | {"traj": str(good["traj"]).replace("a mug 1", "a mug 2")}, good | {"name": "a/b"}]
    for content, message in zip(wrong, ("says won=False, the game won=True", "was answered by", "no task 'a/b'"), strict=True):
        (tmp_path / "episodes.jsonl").write_text(json.dumps(content) + "\n")
        with pytest.raises(ValueError, match=message):
            convert(KnowAgent((tmp_path / "episodes.jsonl",), games=str(tmp_path), out=tmp_path / "log.jsonl"))


@pytest.mark.parametrize("line", ["not json", "[]", '{"name": "a", "result": "won", "traj": ""}', '{"name": "a"}'])
def test_a_line_that_is_no_transcript_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "episodes.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"episodes.jsonl:1: .*wanted an object with name, result and traj"):
        list(read_transcripts(tmp_path / "episodes.jsonl"))


def test_lines_are_told_apart() -> None:
    first, turns = turns_of("You see a.\nYour task.\n> Think: x\n> ActionPath: y\n> go\nline 1\nline 2\n> look\nz")
    assert first == "You see a.\nYour task."
    assert [(t.thought, t.command, t.answer) for t in turns] == [
        ("Think: x\nActionPath: y", "go", "line 1\nline 2"),
        ("", "look", "z"),
    ]
