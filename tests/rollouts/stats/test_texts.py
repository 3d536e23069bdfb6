from __future__ import annotations

import pytest

from rollouts.stats.texts import MARKERS, Texts
from rollouts.trajectory import End, Step, Trajectory


def texts(*steps: tuple[str, str], env_id: str = "E", final: str = "", own: tuple[str, ...] = ()) -> Texts:
    found = Texts(own)
    logged = tuple(Step(observation, action, 0.0) for observation, action in steps)
    found.add(Trajectory(env_id, "t", 4, logged, End.TERMINATED, "lm", final=final))
    return found


@pytest.mark.parametrize(
    ("action", "oddity"),
    [
        ("go to desk 1", None),
        ("Ann has 2 + 3 = 5 apples.\n", None),
        ("a < b and [INSTALL] is fine", None),
        ("größer π ²\n", None),
        ("line\n\n", None),
        ("", "empty action"),
        (" \n", "empty action"),
        (" go", "space before the action"),
        ("\ngo", "space before the action"),
        ("go ", "space after the action"),
        ("go \n", "space after the action"),
        ("caf\ufffd", "broken or control characters"),
        ("\x1b[31mred", "broken or control characters"),
        ("go\r\n", "broken or control characters"),
        ("go<|im_end|>", "template in the action"),
        ("go [/INST] there", "template in the action"),
    ],
)
def test_actions(action: str, oddity: str | None) -> None:
    found = set(texts(("o", action)).odd) - ({"space after the action"} if "\r" in action else set())
    assert found == ({oddity} if oddity else set())


@pytest.mark.parametrize("marker", MARKERS)
def test_every_marker_is_found_where_it_is_observed(marker: str) -> None:
    assert texts((f"{marker}user hello", "go")).odd == {"template in what is observed": 1}


def test_a_models_own_special_tokens_are_markers() -> None:
    assert texts(("o", "go<end>"), own=("<end>",)).odd == {"template in the action": 1}
    assert not texts(("o", "go<end>")).odd


def test_what_alfworld_refused_is_what_it_answered_so() -> None:
    """Of three commands the second and the last are refused; the answer to the last one is the episode's final text."""
    steps = ("In a room.", "look"), ("You look.", "fly"), ("Nothing happens.", "jump")
    found = texts(*steps, env_id="AlfWorld-v0", final="Nothing happens.")
    assert (found.odd["refused"], found.asked, found.share("refused")) == (2, 3, 2 / 3)
    assert found.examples["refused"] == "t, seed 4, step 2: 'fly'"
    assert not texts(*steps, final="Nothing happens.").odd


def test_a_step_like_the_one_before_is_a_repetition() -> None:
    assert texts(("o", "a"), ("", "a"), ("", "b"), ("", "a")).odd == {"repeated": 1}


def test_an_episode_without_a_step_is_no_oddity() -> None:
    assert texts().to_json() == {}
