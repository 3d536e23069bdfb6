"""Generations that verl dumps while it trains (`trainer.rollout_data_dir`, `trainer.validation_data_dir`).

    python -m rollouts.convert verl rollouts/10.jsonl rollouts/20.jsonl --env math --cut lines --out rollouts.jsonl

One object a line (volcengine/verl, verl/trainer/ppo/ray_trainer.py, `_dump_generations`): `input` and `output`, texts decoded
without special tokens, `score`, `step` (of the training), `gts` (the reference) in later versions, and what the reward function
returned beside. `input` is the whole prompt as verl's chat template wrote it, and stays that: its role names are part of the
observation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from rollouts.exchange.files import Count
from rollouts.exchange.messages import Message, cutter, steps_of
from rollouts.exchange.rows import CutImport, book, finite, import_rows
from rollouts.trajectory import Header, Trajectory


class Row(msgspec.Struct):
    """What every version writes; further fields are the reward function's."""

    input: str
    output: str
    score: float
    step: int


@dataclass(frozen=True)
class Import(CutImport):
    """Read verl's dumps."""

    agent: str = "verl"


def from_verl(args: Import) -> Count:
    """Write the log, whole or not at all. The score is the last step's reward; the other fields are its info.

    Raises:
        ValueError: a row that is none of these, with file, row and field; or `out` is there.
    """
    entries, cut = book(args.env, args.agent), cutter(args.cut)

    def episode(row: Row, content: dict[str, Any]) -> tuple[Header, Trajectory]:
        steps, _ = steps_of([Message("user", row.input), Message("assistant", row.output)], cut)
        steps[-1] = replace(steps[-1], info=_rest(content))
        return entries.enter(entries.number("verl", row.input), steps, finite("score", row.score))

    return import_rows(args, Row, "an object with input, output, score and step", episode)


def _rest(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in ("input", "output", "score")}
