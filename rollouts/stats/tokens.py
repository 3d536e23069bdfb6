"""What a model reads of a log: lengths in its tokens, and whether the sampled ids are its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import checkpoint
from agents.prompt import Prompt
from rollouts.encode import logged_turns, misread
from rollouts.runs import run_checkpoint
from rollouts.stats.spread import Spread
from rollouts.stats.texts import SHOWN
from rollouts.trajectory import Trajectory


@dataclass(frozen=True)
class Reader:
    """A tokenizer with its chat template, and how many tokens a row may have."""

    prompt: Prompt
    context: int
    source: str
    """where the number comes from"""


def load_reader(model: str, context: int | None = None, base: str | None = None) -> Reader:
    """The tokenizer of a run, a checkpoint, a transformers folder, a GGUF file or a hub id, and `context` tokens.

    By default a row has what its training took (`max_length`), and no more than the model can read.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: a chat template that cannot be trained on, or a context below 1.
    """
    if context is not None and context < 1:
        raise ValueError(f"--context must be at least 1, got {context}")
    source = run_checkpoint(model)
    prompt = Prompt(checkpoint.load_tokenizer(source))
    if context is not None:
        return Reader(prompt, context, "--context")
    limits = {"the model's window": getattr(checkpoint.load_config(source, base), "max_position_embeddings", None) or 2**30}
    if checkpoint.is_checkpoint(source):
        training = checkpoint.read_config(Path(source)).get("training") or {}
        limits["max_length of its training"] = training.get("max_length") or 2**30
    name = min(limits, key=lambda name: limits[name])
    return Reader(prompt, limits[name], name)


class Tokens:
    """Counts the tokens of episodes as learners encode them, and looks at the sampled ids."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.row, self.own = Spread(), Spread()
        """tokens of an episode: all of them, and the agent's"""
        self.sampled = self.misread = self.special = self.open = self.rewritten = 0
        """episodes with sampled ids at every step; of these: ids that say another text, ids of special tokens within an action, no
        closing token at the end, and other ids where the whole text is encoded again"""
        self.example = ""
        """the first of those that are misread"""

    def add(self, episode: Trajectory) -> None:
        """Count an episode; one without an action is passed over."""
        if not episode.steps:
            return
        prompt, turns = self.reader.prompt, logged_turns(episode)
        pieces = prompt.pieces(turns)
        self.row.add(sum(len(piece.tokens) for piece in pieces))
        self.own.add(sum(len(piece.tokens) for piece in pieces if piece.turn is not None))
        if any(step.tokens is None for step in episode.steps):
            return
        self.sampled += 1
        ids = [token for step in episode.steps for token in step.tokens or ()]
        special = set(prompt.tokenizer.all_special_ids) - {prompt.closer}
        self.special += any(token in special for token in ids)
        self.open += ids[-1:] != [prompt.closer]
        if found := next(misread(episode, prompt), None):
            self.misread += 1
            read, text = (part[:SHOWN] for part in found)
            self.example = self.example or f"{episode.task}, seed {episode.seed}: {text!r} reads as {read!r}"
            return
        again = prompt.tokenizer.encode(prompt.text(turns), add_special_tokens=False)
        self.rewritten += again != [token for piece in pieces for token in piece.tokens]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        names = ("sampled", "misread", "special", "open", "rewritten")
        return {
            "row_tokens": self.row.to_json(),
            "own_tokens": self.own.to_json(),
            "context": self.reader.context,
            "context_from": self.reader.source,
            "beyond_context": self.row.above(self.reader.context),
            **{name: getattr(self, name) for name in names},
        }
