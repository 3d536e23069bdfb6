"""Screens as text: they fit, and say what they should, in any size."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from rollouts.replay import plain
from rollouts.replay.keys import BINDINGS, press
from rollouts.replay.lines import bar, coloured, digits, visible
from rollouts.replay.session import Screen, Session
from rollouts.replay.values import Values
from rollouts.replay.views import frame
from rollouts.step_reading import StepReading
from rollouts.trajectory import End, Step, Trajectory
from tests.rollouts.logs import maths_log, trajectories, write
from tests.rollouts.replay.sessions import HEADER, Falling, alfworld_log, episode, log, session


def screen(found: Session, *keys: str, width: int = 80, height: int = 24) -> str:
    for key in keys:
        press(found, key)
    return frame(found, width, height).plain


SOME = st.lists(trajectories(), min_size=1, max_size=3)


KEYS = st.lists(st.sampled_from("jkGgnphfdcqw?"), max_size=8)


@settings(max_examples=40)
@given(some=SOME, width=st.integers(80, 200), height=st.integers(24, 60), keys=KEYS)
def test_every_screen_fits_whatever_is_in_the_log(
    tmp_path_factory: pytest.TempPathFactory, some: list[Trajectory], width: int, height: int, keys: list[str]
) -> None:
    path = write(tmp_path_factory.mktemp("log") / "log.jsonl", [HEADER, *some])
    found = session(path, Values(Falling(), "c"))
    for key in ("enter", *keys):
        lines = screen(found, key, width=width, height=height).split("\n")
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("where", [Screen.LIST, Screen.EPISODE, Screen.SIDE])
def test_every_command_is_on_its_screen_and_in_its_help(tmp_path: Path, where: Screen) -> None:
    found = session(maths_log(tmp_path / "log.jsonl", 1))
    shown = " ".join(screen(found, *{Screen.LIST: (), Screen.EPISODE: ("enter",), Screen.SIDE: ("enter", "c")}[where]).split())
    helped = screen(found, "?")
    for each in (each for each in BINDINGS if where in each.screens):
        assert each.label.replace(": ", " ") in shown
        assert each.help[:40] in helped


def test_an_episode_says_values_bars_and_advantages(tmp_path: Path) -> None:
    found = session(log(tmp_path / "log.jsonl", episode("t", "aa", "bb", solved=True)), Values(Falling(), "c"))
    lines = screen(found, "enter").split("\n")
    assert lines[3].split() == [">", "1", "aa", "0.90", "█████████", "-0.30▼", "0"]
    assert lines[4].split() == ["2", "bb", "0.60", "██████", "+0.40", "1"]
    assert "values: critic c" in lines[1]


def test_without_colour_the_heat_map_is_digits(tmp_path: Path) -> None:
    """V is 0.9 before the first token and 0.45 before the second."""
    found = session(log(tmp_path / "log.jsonl", episode("t", "ab")), Values(Falling(), "c"))
    lines = [line.strip() for line in screen(found, "enter", "h").split("\n")]
    assert lines[lines.index("did  ab") + 1] == "94"


def test_plain_text_has_the_digits_too(tmp_path: Path) -> None:
    found = session(log(tmp_path / "log.jsonl", episode("t", "ab")), Values(Falling(), "c"))
    press(found, "enter")
    lines = [line.strip() for line in plain.episode(found, 80)]
    assert lines[lines.index("did  ab") + 1] == "94"


def test_where_nothing_is_observed_the_question_stands(tmp_path: Path) -> None:
    found = session(log(tmp_path / "log.jsonl", episode("t", "a", "b")))
    assert "saw  problem" in screen(found, "enter", "down")


def test_log_ratios_are_the_implicit_advantage(tmp_path: Path) -> None:
    class Compared(Falling):
        def read(self, trajectories):  # type: ignore[no-untyped-def]
            return [[StepReading(("a", "b"), (0.5, 0.5), (0.25, 0.5), 0.5, 0.5)] for _ in trajectories]

    found = session(log(tmp_path / "log.jsonl", episode("t", "ab")), Values(Compared(), "c"))
    lines = screen(found, "enter").split("\n")
    assert "log π/ref" in lines[2] and lines[3].split()[-1] == "+0.75"


def test_what_a_search_considered_is_shown_best_first(tmp_path: Path) -> None:
    considered = {"candidates": [{"action": "worse", "value": 0.25}, {"action": "a", "value": 0.5}, {"action": "unread"}]}
    step = Step("q", "a", 1.0, info={"search": considered})
    found = session(log(tmp_path / "log.jsonl", Trajectory("MathReason-v0", "t", 0, (step,), End.TERMINATED, "lm")))
    shown = screen(found, "enter")
    assert shown.index("* +0.50  a") < shown.index("+0.25  worse") < shown.index("-  unread")


def test_admissible_commands_follow_the_step(tmp_path: Path) -> None:
    found = session(alfworld_log(tmp_path / "log.jsonl", 1))
    opened = screen(found, "enter", "i", width=160)
    assert "inventory | look" in opened
    assert screen(found, "down", width=160).partition("knows")[2] != opened.partition("knows")[2]


def test_what_is_known_of_a_problem(tmp_path: Path) -> None:
    shown = screen(session(maths_log(tmp_path / "log.jsonl", 1)), "enter", "i")
    assert "solution: " in shown and "answer: " in shown


def test_a_state_that_cannot_be_made_again_is_said_in_its_place(tmp_path: Path) -> None:
    shown = screen(session(log(tmp_path / "log.jsonl", episode("t", "a"))), "enter", "i")
    assert "unknown task 't'" in " ".join(shown.split())


def test_long_text_is_paged(tmp_path: Path) -> None:
    long = Trajectory("E", "t", 0, (Step("line\n" * 60, "a", 0.0),), End.TERMINATED, "lm")
    found = session(log(tmp_path / "log.jsonl", long))
    assert "more lines" in screen(found, "enter")
    assert "lines above" in screen(found, *["space"] * 20) and "(terminated; return 0" in screen(found)


def test_no_values_is_said(tmp_path: Path) -> None:
    lines = screen(session(log(tmp_path / "log.jsonl", episode("t", "a"))), "enter").split("\n")
    assert lines[1].strip() == "by lm   no values"


@pytest.mark.parametrize("size", [(79, 24), (80, 23), (1, 1), (40, 200)])
def test_a_terminal_too_small(tmp_path: Path, size: tuple[int, int]) -> None:
    found = session(log(tmp_path / "log.jsonl", episode("t", "a")))
    shown = screen(found, width=size[0], height=size[1])
    assert len(shown.split("\n")) <= size[1]
    assert size == (1, 1) or "80 columns and 24 rows" in " ".join(shown.split())
    assert "number" in screen(found)  # once it is larger


def test_two_episodes_beside_each_other(tmp_path: Path) -> None:
    one, two = episode("t", "same", "left"), episode("t", "same", "right", "more", seed=1)
    lines = screen(session(log(tmp_path / "log.jsonl", one, two)), "enter", "c").split("\n")
    assert "│" in lines[2] and "same" in lines[2]
    assert "left" in lines[3] and "≠" in lines[3] and "right" in lines[3]
    assert "(ended)" in lines[4] and "more" in lines[4]


BARS = [(None, ""), (-1.0, ""), (0.0, ""), (0.5, "██"), (0.53, "██▏"), (1.0, "████"), (7.0, "████")]


@pytest.mark.parametrize(("value", "cells"), BARS)
def test_bars(value: float | None, cells: str) -> None:
    assert bar(value, 4) == cells.ljust(4)


STEERING = st.characters(categories=["Cc", "Cs"]) | st.sampled_from(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


@given(st.text(STEERING | st.characters()))
def test_nothing_of_a_log_steers_the_terminal(text: str) -> None:
    """Neither control characters and lone surrogates, nor what turns the direction of writing."""
    for character in visible(text).replace("\n", ""):
        assert unicodedata.category(character) not in ("Cc", "Cs")
        assert unicodedata.bidirectional(character) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def test_an_escape_code_is_spelled_out() -> None:
    assert visible("\x1b[2Ja\tb\r\n\u202e") == "\\x1b[2Ja    b\n\\x202e"


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=5), min_size=1, max_size=6), st.integers(2, 20))
def test_digits_stand_below_their_tokens(texts: list[str], width: int) -> None:
    """As many cells of digits as of text, in each pair of lines; the text is whole."""
    found = digits(StepReading(tuple(texts), (0.5,) * len(texts)), width)
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all(said.cell_len == marks.cell_len <= width for said, marks in pairs)
    assert "".join(said.plain for said, _ in pairs) == "".join(texts)
    assert set("".join(marks.plain for _, marks in pairs)) <= {"5"}


def test_the_line_break_at_the_end_breaks_no_line() -> None:
    found = digits(StepReading(("a", "\n", "b", "\n"), (0.1, 0.2, 0.3, 0.4)), 20)
    assert [line.plain for line in found] == ["a⏎", "12", "b⏎", "34"]


def test_colours_are_those_of_the_tokens() -> None:
    (line,) = coloured(StepReading(("low", "high", "⏎"), (0.0, 1.0, 0.5)), 20)
    found: list[Any] = [span.style for span in line.spans]
    assert [style.bgcolor.triplet for style in found] == [(214, 84, 48), (60, 130, 200), (250, 232, 170)]
    assert isinstance(line, Text)
