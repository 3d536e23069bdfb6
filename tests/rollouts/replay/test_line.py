"""A line that is being typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.replay.line import Line


def line(*keys: str, text: str = "", options: tuple[str, ...] = ()) -> Line:
    found = Line("?", lambda answer: None, options, text)
    for key in keys:
        found.press(key)
    return found


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["left", "left", "x"], "go xto"),
        (["home", "x"], "xgo to"),
        (["ctrl+a", "delete"], "o to"),
        (["backspace", "backspace"], "go "),
        (["ctrl+w"], "go "),
        (["left", "ctrl+u"], "o"),
        (["left", "ctrl+k"], "go t"),
        (["home", "end", "space", "ü"], "go to ü"),
        (["ctrl+a", "ctrl+e", "!"], "go to!"),
        (["f5", "resize"], "go to"),
    ],
)
def test_keys(keys: list[str], expected: str) -> None:
    assert line(*keys, text="go to").text == expected


OPTIONS = ("go to desk 1", "look", "take pen 1 from desk 1")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["tab"], "go to desk 1"),
        (["down", "down"], "look"),
        (["up"], "take pen 1 from desk 1"),
        (["d", "tab", "tab"], "take pen 1 from desk 1"),
        (["d", "tab", "tab", "tab"], "go to desk 1"),
        (["z", "tab"], "z"),
    ],
)
def test_completion_goes_through_what_holds_every_word(keys: list[str], expected: str) -> None:
    assert line(*keys, options=OPTIONS).text == expected


KEYS = ["left", "right", "home", "end", "backspace", "delete", "ctrl+w", "ctrl+k", "tab", "a", "é", "space"]


@given(st.lists(st.sampled_from(KEYS)))
def test_the_cursor_stays_in_the_line(keys: list[str]) -> None:
    found = line(*keys, options=OPTIONS)
    assert 0 <= found.cursor <= len(found.text)
