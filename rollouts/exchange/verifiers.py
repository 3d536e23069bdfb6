"""Saved rollouts of verifiers (`results.jsonl` of an evaluation).

    python -m rollouts.convert verifiers results.jsonl --env math --cut lines --out rollouts.jsonl

One object a line (PrimeIntellect-ai/verifiers, verifiers/utils/save_utils.py, `state_to_output`): `example_id`, `prompt` and
`completion` (messages of role and content), `reward`, `is_truncated`, `error`, and more that is not read: timing, metrics, tools.
A conversation with tool calls is refused: a log holds what was written, and a call is more than text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from rollouts.exchange.files import Count
from rollouts.exchange.messages import Message, cutter, steps_of
from rollouts.exchange.rows import CutImport, book, finite, import_rows
from rollouts.trajectory import End, Header, Trajectory


class Said(msgspec.Struct):
    """One message; of its other fields only `tool_calls` matters."""

    role: str
    content: str | None = None
    tool_calls: Any = None


class Row(msgspec.Struct):
    """One rollout."""

    example_id: int | str
    prompt: tuple[Said, ...] | str | None
    completion: tuple[Said, ...] | str | None
    reward: float | None
    is_truncated: bool = False
    error: Any = None
    answer: Any = None


@dataclass(frozen=True)
class Import(CutImport):
    """Read saved rollouts of verifiers."""

    agent: str = "verifiers"


def from_verifiers(args: Import) -> Count:
    """Write the log, whole or not at all. A rollout with an error ends by it; the reward is the last step's.

    Raises:
        ValueError: a row that is none of these, with file, row and field; or `out` is there.
    """
    entries, cut = book(args.env, args.agent), cutter(args.cut)

    def episode(row: Row, _: Any) -> tuple[Header, Trajectory]:
        task, reward = f"example-{row.example_id}", finite("reward", row.reward or 0.0)
        if row.error is not None:
            return entries.enter(task, (), 0.0, End.ERROR, str(row.error))
        steps, final = steps_of([*_messages(row.prompt or (), "user"), *_messages(row.completion or (), "assistant")], cut)
        return entries.enter(task, steps, reward, End.TRUNCATED if row.is_truncated else End.TERMINATED, final)

    return import_rows(args, Row, "an object with example_id, prompt, completion and reward", episode)


def _messages(said: tuple[Said, ...] | str, role: str) -> list[Message]:
    if isinstance(said, str):
        return [Message(role, said)]  # type: ignore[arg-type]
    for index, one in enumerate(said):
        if one.tool_calls or one.content is None or one.role not in ("system", "user", "assistant"):
            what = "tool calls" if one.tool_calls else "no text" if one.content is None else "text"
            raise ValueError(f"message {index} is the {one.role}'s with {what}: wanted texts of system, user and assistant")
    return [Message(one.role, one.content or "") for one in said]  # type: ignore[arg-type]
