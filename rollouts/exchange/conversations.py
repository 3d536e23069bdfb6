"""Agents' episodes in ShareGPT conversations: AgentTraj-L, AgentInstruct, and the expert trajectories of ETO.

    python -m rollouts.convert conversations alfworld_train.json --env alfworld --out agenttraj.jsonl

One object an episode, in a JSON array or in JSON lines:

- AgentGym's AgentTraj-L (WooooDyy/AgentGym, docs/tutorials/en/02-behavioral-cloning.md): `item_id`, and `conversations` of `from`
  (human, gpt), `value` and `loss` (true where the agent decided something, false where it only acknowledges the task).
- AgentInstruct (THUDM/AgentInstruct, README.md: dataset_info): `id`, `conversations` of `from`, `loss`, `value`.
- ETO's expert trajectories (agent-eto/eto-sft-trajectory, README.md: dataset_info; Yifan-Song793/ETO, construct_preference.py):
  `id`, `conversations` of `from` and `value`, and by task `game_file` and `reward`. Their first two messages are the instruction
  and "OK".

An acknowledgement (`loss` false, or ETO's "OK" after the first message) is no action: what was said around it becomes one
observation. The environment's words stay as they are, so they are those of the other framework's prompts. These sets are
demonstrations; a row without `reward` earned `--reward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from rollouts.exchange.files import Count
from rollouts.exchange.messages import Message, steps_of
from rollouts.exchange.rows import RowsImport, book, import_rows
from rollouts.trajectory import Header, Trajectory


class Said(msgspec.Struct, forbid_unknown_fields=True, rename={"source": "from"}):
    """One message."""

    source: Literal["human", "gpt"]
    value: str
    loss: bool | None = None


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """One episode."""

    conversations: tuple[Said, ...]
    id: str | int | None = None
    item_id: str | int | None = None
    game_file: str | None = None
    reward: float | None = None

    @property
    def task(self) -> str | None:
        """The name that the data set gives it: of the game where it names that."""
        if self.game_file:
            return "/".join(Path(self.game_file).parts[-2:])
        name = self.item_id if self.id is None else self.id
        return None if name is None else str(name)


@dataclass(frozen=True)
class Import(RowsImport):
    """Read conversations of agents with environments."""

    agent: str = "expert"
    reward: float = 1.0
    """what an episode earned whose row does not say it"""


def from_conversations(args: Import) -> Count:
    """Write the log, whole or not at all. The second episode of a task has seed 1, and so on.

    Raises:
        ValueError: a row that is none of these, with file, row and field; or `out` is there.
    """
    entries = book(args.env, args.agent)
    wanted = "an object with conversations (of from, value and perhaps loss) and id or item_id"

    def episode(row: Row, _: Any) -> tuple[Header, Trajectory]:
        if row.task is None:
            raise ValueError(f"neither id nor item_id; wanted {wanted}")
        try:
            steps, final = steps_of(messages_of(row.conversations), lambda text: [text])
        except ValueError as error:
            raise ValueError(f"conversations: {error}") from error
        return entries.enter(row.task, steps, args.reward if row.reward is None else row.reward, final=final)

    return import_rows(args, Row, wanted, episode)


def messages_of(said: tuple[Said, ...]) -> list[Message]:
    """The messages without acknowledgements; what the environment said around one is joined by a blank line."""
    found: list[Message] = []
    for index, one in enumerate(said):
        if one.source == "human":
            before = found.pop().content + "\n\n" if index > 1 and found and found[-1].role == "user" else ""
            found.append(Message("user", before + one.value))
        elif not (one.loss is False or (one.loss is None and index == 1 and one.value.strip().rstrip(".").upper() == "OK")):
            found.append(Message("assistant", one.value))
    return found
