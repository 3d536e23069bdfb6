"""Oddities of a log's texts that a model would learn, or stumble over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rollouts.trajectory import Trajectory

MARKERS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "[INST]",
    "[/INST]",
    "<s>",
    "</s>",
)
"""What chat templates in use put around messages; a model's own special tokens are looked for beside them."""
REFUSED = "Nothing happens."
"""ALFWorld's answer to whatever is not admissible."""
SHOWN = 60
"""Characters of an example."""


def markers(own: Iterable[str] = ()) -> re.Pattern[str]:
    """A pattern of words that belong to a chat template and to no text: the known ones, and a tokenizer's own."""
    return re.compile("|".join(re.escape(word) for word in sorted({*MARKERS, *own}, key=lambda word: (-len(word), word))))


class Texts:
    """Counts steps that are odd in some way, and keeps the first example of each way.

    `own` are the special tokens of the model that will read the log.
    """

    def __init__(self, own: Iterable[str] = ()) -> None:
        found = markers(own).search
        self.steps = 0
        self.odd: Counter[str] = Counter()
        """steps by oddity, a key of `wrong`, "template in what is observed", "refused" or "repeated\""""
        self.examples: dict[str, str] = {}
        self.asked = 0
        """steps of ALFWorld"""
        self.wrong: Mapping[str, Callable[[str], Any]] = {
            "empty action": lambda text: not text.strip(),
            "space before the action": lambda text: text.strip() and text[0].isspace(),
            "space after the action": lambda text: text.strip() and text.rstrip("\n") != text.rstrip(),
            "broken or control characters": re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffd]").search,
            "template in the action": found,
        }
        self._marked = found

    def add(self, episode: Trajectory) -> None:
        """Count an episode's steps."""
        steps = episode.steps
        self.steps += len(steps)
        household = episode.env_id.startswith("AlfWorld")
        self.asked += len(steps) * household
        answers = [*(step.observation for step in steps[1:]), episode.final]
        for number, (step, answer) in enumerate(zip(steps, answers, strict=bool(steps))):
            for oddity, is_odd in self.wrong.items():
                if is_odd(step.action):
                    self._count(oddity, episode, number, step.action)
            if self._marked(step.observation):
                self._count("template in what is observed", episode, number, step.observation)
            if household and answer.strip() == REFUSED:
                self._count("refused", episode, number, step.action)
            if number and step.action == steps[number - 1].action:
                self._count("repeated", episode, number, step.action)

    def _count(self, oddity: str, episode: Trajectory, number: int, text: str) -> None:
        self.odd[oddity] += 1
        if oddity not in self.examples:
            short = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
            self.examples[oddity] = f"{episode.task}, seed {episode.seed}, step {number + 1}: {short!r}"

    def share(self, oddity: str) -> float:
        """Of all steps, those that are odd in a way; of the steps of ALFWorld, those that it refused."""
        return self.odd[oddity] / max(self.asked if oddity == "refused" else self.steps, 1)

    def to_json(self) -> dict[str, Any]:
        """Counts and first examples, plain."""
        return {oddity: {"steps": count, "first": self.examples[oddity]} for oddity, count in self.odd.items()}
