"""Commands of the console, without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gymnasium as gym
import pytest

from agents.agent import Action, Agent, History
from agents.scripted import ExpertAgent
from rollouts.compare import compare
from rollouts.replay import verify as verify_module
from rollouts.replay.keys import press
from rollouts.replay.session import Heat, Screen, Session
from rollouts.replay.values import Values
from rollouts.replay.verify import verify
from rollouts.trajectory import Header, read, records
from tests.rollouts.logs import maths_log
from tests.rollouts.replay.sessions import Falling, alfworld_log, episode, log, session


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return alfworld_log(tmp_path_factory.mktemp("games") / "log.jsonl")


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    return maths_log(tmp_path / "log.jsonl", 3)


def pressed(found: Session, *keys: str) -> Session:
    for key in keys:
        press(found, key)
    return found


def typed(found: Session, text: str) -> Session:
    return pressed(found, *("space" if character == " " else character for character in text), "enter")


def test_walking_stays_within_the_episode(problems: Path) -> None:
    found = pressed(session(problems), "enter", "up")
    steps = found.episode.positions
    assert found.step == 0
    assert pressed(found, *["down"] * 20).step == steps - 1
    assert pressed(found, "home").step == 0
    assert pressed(found, "G").step == steps - 1


def test_next_and_previous_episode_follow_the_list(problems: Path) -> None:
    found = pressed(session(problems), "w", "enter", "n")
    assert (found.listing.filter.result, found.episode.number) == ("won", 2)
    assert pressed(found, "p").episode.number == 0
    assert "first of 3" in pressed(found, "p").message


def test_to_the_steps_where_the_value_fell(tmp_path: Path) -> None:
    """The made-up critic falls at steps 1 and 2 (counted from 0 here: 0 and 1) and the won last step gains."""
    found = session(log(tmp_path / "log.jsonl", episode("t", "aa", "bb", "cc", solved=True)), Values(Falling(), "c"))
    assert [pressed(found, "enter").step, *(pressed(found, "f").step for _ in range(3))] == [0, 1, 0, 1]


def test_without_values_it_says_where_to_get_them(problems: Path) -> None:
    assert "--critic RUN" in pressed(session(problems), "enter", "f").message


def test_a_typed_step_of_maths_is_a_whole_step(problems: Path) -> None:
    """Without the delimiter the environment would take it for the end of the response."""
    found = typed(pressed(session(problems), "enter", "t"), "Let us see 1 + 1 = 2")
    assert found.episode.open and found.episode.trajectory.steps[0].action == "Let us see 1 + 1 = 2\n"
    assert found.step == 1


def test_what_the_last_step_brought_is_unknown_while_a_branch_goes_on(problems: Path) -> None:
    """Not a fall from V to nothing, which is what the same steps would be at an end."""
    found = typed(pressed(session(problems, Values(Falling(), "c")), "enter", "down", "t"), "So 1 + 1 = 2")
    assert [step.advantage for step in found.episode.reading.steps] == [pytest.approx(-0.3), None]
    typed(pressed(found, "t"), "#### 1")
    assert [step.advantage for step in found.episode.reading.steps] == pytest.approx([-0.3, -0.3, -0.3])


def test_a_branch_is_played_live_and_its_beginning_kept(games: Path) -> None:
    found = pressed(session(games), "enter", "down", "t")
    assert found.asking and "look" in found.asking.options
    typed(found, "look")
    logged, branch = found.source.log[0], found.episode.trajectory
    assert branch.steps[0] == logged.steps[0]
    assert (branch.steps[1].observation, branch.steps[1].action) == (logged.steps[1].observation, "look")
    assert branch.steps[1].info["branch"] == "person"


def test_tab_completes_among_the_commands(games: Path) -> None:
    found = pressed(session(games), "enter", "t", *"inv", "tab", "enter")
    assert found.episode.trajectory.steps[0].action == "inventory"


def test_an_agent_goes_on_to_the_end(games: Path) -> None:
    found = pressed(session(games), "enter", "t")
    typed(found, "look")
    found = pressed(found, "a")
    assert len(found.episode.trajectory.steps) == 2
    found = pressed(found, "A")
    assert found.episode.ending == "won" and "has ended: won" in found.message


class Responds(Agent):
    """Writes a whole response, or one step of it where it is to stop after that."""

    name = "responds"

    def __init__(self, text: str = "One\nTwo\n#### 3") -> None:
        self.text = text

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [Action(self.text) for _ in histories]

    def stopping(self, stop: Callable[[str], bool]) -> Agent:
        return Responds(next(self.text[:end] for end in range(len(self.text)) if stop(self.text[:end])))


def test_an_agent_that_can_takes_one_step_of_a_response(problems: Path) -> None:
    found = pressed(session(problems, agent=Responds()), "enter", "a")
    assert [step.action for step in found.episode.trajectory.steps] == ["One\n"]


def test_a_saved_branch_is_a_true_log_to_compare_with(tmp_path: Path) -> None:
    path = alfworld_log(tmp_path / "log.jsonl", 1)
    found = typed(pressed(session(path), "enter", "t"), "look")
    pressed(found, "A", "s")
    out = tmp_path / "branches.jsonl"
    assert found.message == f"saved in {out}"
    assert list(verify(records(out))) == [True]
    (saved,) = read(out).trajectories
    assert saved.agent == "branch of expert" and saved.steps[0].action == "look"
    assert compare(path, out).episodes == 1


def test_another_branch_of_the_same_episode_has_a_log_of_its_own(tmp_path: Path) -> None:
    found = session(maths_log(tmp_path / "log.jsonl", 1))
    for answer in ("#### 1", "#### 2"):
        typed(pressed(found, "home", "enter", "t"), answer)
        pressed(found, "s", "q")
    names = sorted(path.name for path in tmp_path.glob("branches*.jsonl"))
    assert names == ["branches-2.jsonl", "branches.jsonl"]
    assert [len(read(tmp_path / name).trajectories) for name in names] == [1, 1]


CANNOT_BE_SAVED: list[tuple[tuple[str, ...], str]] = [
    (("s",), "in the log already"),
    (("t", *"one", "enter", "s"), "has not ended"),
    (("t", *"#### 1", "enter", "s", "s"), "saved already"),
]


@pytest.mark.parametrize(("keys", "message"), CANNOT_BE_SAVED)
def test_what_cannot_be_saved(problems: Path, keys: tuple[str, ...], message: str) -> None:
    assert message in pressed(session(problems), "enter", *keys).message


def test_a_branch_of_a_branch(games: Path) -> None:
    found = typed(pressed(session(games), "enter", "t"), "look")
    typed(pressed(found, "t"), "inventory")
    typed(pressed(found, "home", "down", "t"), "examine nothing")
    assert [step.action for step in found.episode.trajectory.steps] == ["look", "examine nothing"]
    assert len(found.tries.all) == 2


def test_a_log_that_is_not_true_is_not_branched(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", episode("arithmetic-d2/train/000000", "a\n", "b\n"))
    assert "does not lead to step 2" in pressed(session(path), "enter", "down", "t").message


def test_verifying_goes_to_where_it_diverges(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", episode("arithmetic-d2/train/000000", "a\n"))
    assert "observation: logged 'problem'" in pressed(session(path), "enter", "v").message


def test_a_true_episode(problems: Path) -> None:
    assert "true" in pressed(session(problems), "enter", "v").message


def test_no_agent(problems: Path) -> None:
    found = session(problems)

    def none():  # type: ignore[no-untyped-def]
        raise ValueError("no agent to go on")

    found.tries._make_agent = none
    assert pressed(found, "enter", "a").message == "ValueError: no agent to go on"


def test_side_by_side_begins_at_the_first_difference(tmp_path: Path) -> None:
    one, two = episode("t", "a", "b", "c"), episode("t", "a", "x", seed=1, solved=True)
    found = pressed(session(log(tmp_path / "log.jsonl", one, episode("u", "a"), two)), "enter", "c")
    assert found.beside and found.beside.trajectory == two
    assert (found.screen, found.step) == (Screen.SIDE, 1)
    assert pressed(found, "end").step == 2
    assert pressed(found, "d").step == 1
    assert pressed(found, "q").screen is Screen.EPISODE


def test_another_log_stands_first_beside_it(tmp_path: Path) -> None:
    here = log(tmp_path / "here.jsonl", episode("t", "a"), episode("t", "b", seed=1))
    there = log(tmp_path / "there.jsonl", episode("t", "c"))
    found = session(here, against=there)
    seen = [pressed(found, key) and found.beside and found.beside.label for key in ("enter", "c", "c", "c")]
    assert seen == [None, "there.jsonl", "number 1", "there.jsonl"]


def test_a_branch_stands_beside_what_it_left(tmp_path: Path) -> None:
    found = typed(pressed(session(maths_log(tmp_path / "log.jsonl", 1)), "enter", "t"), "#### 1")
    assert pressed(found, "c").beside and found.beside
    assert found.beside.trajectory == found.source.log[0]
    labels = [pressed(found, "c") and found.beside and found.beside.label for _ in range(2)]
    assert labels == ["number 1", "before the branch"]  # never itself


def test_environments_that_were_only_looked_at_are_closed(games: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, closed = [], []

    def environment(header: Header) -> gym.Env:
        made.append(env := verify_module.environment(header))
        monkeypatch.setattr(env, "close", lambda: closed.append(env))
        return env

    monkeypatch.setattr("rollouts.replay.tries.environment", environment)
    found = pressed(session(games), "enter")
    for step in (0, 1, 1, 2):
        found.tries.state(found.episode, step)
    assert (len(made), closed) == (3, made[:2])


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    assert "--against LOG" in pressed(session(log(tmp_path / "log.jsonl", episode("t", "a"))), "enter", "c").message


def test_ways_of_showing_values(problems: Path) -> None:
    found = pressed(session(problems), "enter")
    assert [pressed(found, "h").heat for _ in range(3)] == [Heat.DIGITS, Heat.OFF, Heat.COLOUR]


def test_help_closes_with_any_key(problems: Path) -> None:
    found = pressed(session(problems), "?")
    assert found.help and not pressed(found, "j").help and found.listing.at == 0


def test_an_unknown_key_says_so(problems: Path) -> None:
    assert "'z' does nothing here" in pressed(session(problems), "z").message


def test_escape_leaves_a_question(problems: Path) -> None:
    found = pressed(session(problems), "l", "5", "escape")
    assert found.asking is None and len(found.listing) == 6


def test_back_from_the_list_is_the_end(problems: Path) -> None:
    found = pressed(session(problems, agent=ExpertAgent()), "enter", "q")
    assert not found.over and pressed(found, "q").over
