"""`python -m envs.alfworld`: generate, play, stats, verify."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from envs.alfworld.__main__ import main
from envs.alfworld.env import AlfWorldEnv
from envs.alfworld.games import find_games
from envs.alfworld.generator import generated
from envs.alfworld.inspection import describe, faults, holder_shares, means
from envs.alfworld.play import CommandCompleter, Game
from envs.alfworld.sources import GameFile
from tests.envs.alfworld_house import FACTS, game, write

GAME = next(iter(generated("train", 1, seed=7, task_types=["pick_and_place_simple"]).values()))
WALKTHROUGH = json.loads(GAME.read())["walkthrough"]


def played(*lines: str) -> tuple[bool, str]:
    """What a person who types these lines sees, and whether the game was won."""
    shown = Console(file=io.StringIO(), width=120)
    with create_pipe_input() as keys:
        keys.send_text("".join(line + "\r" for line in lines))
        session: PromptSession[str] = PromptSession(input=keys, output=DummyOutput())
        won = Game(AlfWorldEnv({GAME.task.id: GAME}), shown, session).play()
    return won, shown.file.getvalue()  # type: ignore[attr-defined]


# Playing


def test_a_game_is_played_to_its_end() -> None:
    won, shown = played(*WALKTHROUGH)
    assert won and f"Done in {len(WALKTHROUGH)} steps." in shown
    assert GAME.task.id in shown and "Your task is to:" in shown


def test_a_step_taken_back_is_not_counted() -> None:
    won, shown = played("undo", WALKTHROUGH[0], "undo", "nonsense", "undo", *WALKTHROUGH)
    assert won and f"Done in {len(WALKTHROUGH)} steps." in shown
    assert shown.index("nothing to take back") < shown.index("one step back") < shown.index("Nothing happens.")


def test_giving_up_shows_a_solution() -> None:
    won, shown = played("give up")
    assert not won
    assert all(command in shown for command in WALKTHROUGH)


def test_the_commands_are_listed_on_demand() -> None:
    _, shown = played("?", "quit")
    assert "inventory" in shown and "go to" in shown


def test_the_end_of_the_steps_is_said() -> None:
    won, shown = played(*["look"] * 40)
    assert not won and "Out of steps" in shown


def test_words_complete_anywhere_in_a_command() -> None:
    completer = CommandCompleter()
    completer.commands = ["go to desk 1", "take pen 1 from desk 1", "look"]
    found = completer.get_completions(Document("desk ta"), CompleteEvent())
    assert [completion.text for completion in found] == ["take pen 1 from desk 1"]


# Counting and checking


def test_a_game_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path, game("put a mug in sidetable"))
    numbers = describe("pick_and_place_simple-Mug-None-SideTable-1/trial_T1", GameFile(path))
    assert numbers._replace(holders=None) == (  # type: ignore[arg-type]
        "pick_and_place_simple", "kitchen", 7, 4, 7, 6, 7, 5 / 7, 10, 4, None
    )  # fmt: skip
    assert holder_shares([numbers]) == pytest.approx(
        {"countertop": 2 / 7, "sidetable": 2 / 7, "fridge": 1 / 7, "cabinet": 1 / 7, "sinkbasin": 1 / 7}
    )
    assert means([numbers])["optimum"] == {"pick_and_place_simple": (1, 4)}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (game(facts=FACTS.replace("(canContain SideTableType MugType)", "")), "it has no solution"),
        (game(facts=FACTS + "(inReceptacle Mug_bar__plus_00_dot_40 SideTable_bar__minus_02_dot_00)"), "goal holds at the start"),
        (game() | {"walkthrough": ["go to cabinet 1"]}, "its walkthrough does not reach the goal in its 1 commands"),
        (game() | {"walkthrough": ["go to moon 1"]}, "its walkthrough gives 'go to moon 1' at step 1, which is not admissible"),
        ({"grammar": ""}, "there is no text under 'pddl_domain'"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: dict[str, object], fault: str) -> None:
    (found,) = faults(GameFile(write(tmp_path, content)))
    assert fault in found


# Command line


def test_games_are_generated_counted_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--split", "valid_seen", "--count", "4", "--out", str(tmp_path), "--receptacles", "5"]) == 0
    assert len(find_games(tmp_path, "valid_seen")) == 4
    assert main(["stats", "--games", str(tmp_path), "--split", "valid_seen", "--against", "generated"]) == 0
    assert main(["verify", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "4 new games of 4" in shown and "optimum" in shown and "4 games: 0 faults" in shown


def test_the_same_command_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        main(["generate", "--count", "3", "--seed", "2", "--out", str(tmp_path / name)])
    one, two = ({path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*") if path.is_file()}
                for name in ("one", "two"))  # fmt: skip
    assert one == two and len(one) == 6


def test_verify_finds_a_cut_off_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["generate", "--count", "2", "--out", str(tmp_path)])
    victim = next(iter(find_games(tmp_path).values()))
    os.truncate(victim, 1000)
    assert main(["verify", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "not JSON" in shown.replace("\n", " ") and "2 games: 1 faults" in shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["generat"], "Did you mean 'generate'"),
        (["generate", "--out", "x", "--difficulty", "hard"], "difficulty='hard' is not known"),
        (["generate", "--out", "x", "--scenes", "10"], "scene 10 is not of split 'train'"),
        (["verify", "nowhere"], "nowhere is not a folder"),
        (["play", "--games", "generated", "--task", "pick"], "no task 'pick' among 3553 games"),
    ],
)
def test_what_a_person_can_mend_is_said_in_a_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert message in capsys.readouterr().out
