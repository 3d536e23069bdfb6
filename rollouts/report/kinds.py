"""What kind of step an action is: what it does, without whom it is done to.

AlfWorld and other environments of commands: the words before the first number (`take mug 1 from desk 2` -> "take mug"), or the
verb alone where nothing happened. Maths and questions: the operations that are worked out (`4 * 2 = 8` -> "×"), the final answer,
or words.
"""

from __future__ import annotations

import re

from rollouts.trajectory import Trajectory

NOTHING = "Nothing happens."
LONGEST = 40
"""Characters of a kind's name."""
GROUPING = {
    "commands": "commands by their words before the first number (take mug 1 from desk 2 is “take mug”), futile ones by verb",
    "reasoning": "steps by the operations that they work out, the final answer, or words alone",
}
_OPERATION = re.compile(r"(?<=[\d)}])\s*(\*\*|\\times|\\cdot|\\div|[-+*/×÷·−^])\s*(?=[\d({\\])")
_SIGNS = {"*": "×", "·": "×", "\\times": "×", "\\cdot": "×", "/": "÷", "\\div": "÷", "-": "−", "**": "^"}
_VERBS = ("go to", "look", "inventory")


def family(env_id: str) -> str:
    """Which rule names the kinds of an environment's steps: commands or reasoning."""
    return "reasoning" if env_id.startswith(("MathReason", "CommonsenseReason")) else "commands"


def kind_of(episode: Trajectory, index: int) -> str:
    """The kind of an episode's step `index`."""
    action = episode.steps[index].action
    if family(episode.env_id) == "reasoning":
        return _reasoning(action)
    later = episode.steps[index + 1].observation if index + 1 < len(episode.steps) else episode.final
    return _command(action, later.strip() == NOTHING)


def _command(action: str, nothing: bool) -> str:
    words = " ".join(action.split()).lower()
    words = words.rpartition("action:")[2].strip() or words  # thoughts may stand before it
    if words.startswith("think"):
        return "think"
    named = re.split(r"\s*\d", words, maxsplit=1)[0].strip(" .,:;") or "(no words)"
    if nothing:
        verb = next((verb for verb in _VERBS if named.startswith(verb)), named.partition(" ")[0])
        return f"{verb[:LONGEST]} (nothing happens)"
    return named if len(named) <= LONGEST else named[: LONGEST - 1] + "…"


def _reasoning(action: str) -> str:
    text = action.strip()
    if text.startswith("####") or "\\boxed" in text or re.search(r"\banswer\b", text, re.IGNORECASE):
        return "final answer"
    signs: list[str] = _OPERATION.findall(text)
    found = list(dict.fromkeys(_SIGNS.get(sign, sign) for sign in signs))
    if not found:
        return "words"
    return "operation " + found[0] if len(found) == 1 else "operations " + " and ".join(sorted(found)[:3])
