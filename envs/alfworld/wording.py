"""The two wordings of ALFWorld's releases: "put X in/on Y" and "You arrive at loc 3" (0.2, 0.3), "move X to Y" (0.4).

Agents and logs of one release fail in the other with "Nothing happens."; a game is worded either way by rewriting the text
grammar that it carries.
"""

from __future__ import annotations

from typing import Any

from envs.hints import choose

WORDINGS = ("file", "put", "move")
"""As the game file has it, as the older releases, as the newer."""

_PUT_AND_MOVE = (
    ('"put {o} in/on {r}"', '"move {o} to {r}"'),
    ("You put the {o.name} in/on the {r.name}.", "You move the {o.name} to the {r.name}."),
    ("You arrive at {lend.name}. ", "You arrive at {r.name}. "),
    ("put (object) in/on (receptacle):", "move (object) to (receptacle):"),
)


def reword(game: dict[str, Any], wording: str) -> dict[str, Any]:
    """A game file's content in a wording. Raises ValueError for an unknown wording, or a grammar that has neither."""
    if choose("wording", wording, WORDINGS) == "file":
        return game
    grammar = str(game.get("grammar"))
    if not any(form in grammar for form in _PUT_AND_MOVE[0]):
        raise ValueError(f"its grammar has neither {_PUT_AND_MOVE[0][0]} nor {_PUT_AND_MOVE[0][1]}: use wording='file'")
    for put, move in _PUT_AND_MOVE:
        grammar = grammar.replace(move, put) if wording == "put" else grammar.replace(put, move)
    return game | {"grammar": grammar}
