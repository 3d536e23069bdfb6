"""AgentTraj-L, AgentInstruct and ETO, by rows of the shape that each documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollouts.exchange.conversations import Import, from_conversations
from rollouts.trajectory import End, Header, Trajectory
from tests.rollouts.logs import lines


def said(source: str, value: str, **more: Any) -> dict[str, Any]:
    return {"from": source, "value": value} | more


AGENTGYM = {
    "item_id": "alfworld_7",
    "conversations": [
        said("human", "Interact with a household.", loss=None),
        said("gpt", "OK. I'll follow your instructions.", loss=False),
        said("human", "You see a desk.", loss=None),
        said("gpt", "Thought: go\nAction: go to desk 1", loss=True),
        said("human", "On the desk: a mug.", loss=None),
        said("gpt", "Action: take mug 1", loss=True),
    ],
}
ETO = {
    "id": "3",
    "game_file": "data/json_2.1.1/train/pick-Mug-1/trial_T1",
    "conversations": [
        said("human", "Interact with a household."),
        said("gpt", "OK"),
        said("human", "You see a desk."),
        said("gpt", "Thought: go\nAction: go to desk 1"),
        said("human", "Done."),
    ],
}
PLAIN = {"id": 4, "reward": 0.5, "conversations": [said("human", "Buy a mug."), said("gpt", "search[mug]")]}


def imported(tmp_path: Path, *rows: Any, **settings: Any) -> list[Any]:
    (tmp_path / "in.json").write_text(json.dumps(rows))
    from_conversations(Import((tmp_path / "in.json",), "alfworld", tmp_path / "log.jsonl", **settings))
    return lines(tmp_path / "log.jsonl")


def test_each_is_an_episode_whose_acknowledgement_is_no_action(tmp_path: Path) -> None:
    header, gym, eto, plain = imported(tmp_path, AGENTGYM, ETO, PLAIN)
    assert header == Header("AlfWorld-v0", "expert")

    def kept(episode: Trajectory) -> Any:
        return episode.task, [(step.observation, step.action, step.reward) for step in episode.steps], episode.final

    first = "Interact with a household.\n\nYou see a desk."
    go = "Thought: go\nAction: go to desk 1"
    assert kept(gym) == ("alfworld_7", [(first, go, 0.0), ("On the desk: a mug.", "Action: take mug 1", 1.0)], "")
    assert kept(eto) == ("pick-Mug-1/trial_T1", [(first, go, 1.0)], "Done.")
    assert kept(plain) == ("4", [("Buy a mug.", "search[mug]", 0.5)], "")
    assert {episode.end for episode in (gym, eto, plain)} == {End.TERMINATED}


def test_the_second_episode_of_a_task_has_another_seed(tmp_path: Path) -> None:
    _, first, second = imported(tmp_path, AGENTGYM, AGENTGYM, reward=0.0)
    assert [(t.task, t.seed, t.success) for t in (first, second)] == [("alfworld_7", 0, False), ("alfworld_7", 1, False)]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"conversations": []}, "row 1: neither id nor item_id"),
        ({"id": "1"}, "row 1: .*missing required field `conversations`; wanted an object with conversations"),
        ({"id": "1", "conversations": [said("gpt", "x")]}, "row 1: conversations: message 0 is the assistant's"),
        ({"id": "1", "conversations": [said("bot", "x")]}, r"row 1: .*'bot' - at `\$.conversations\[0\].from`"),
        ({"id": "1", "conversations": [said("human", "x", weight=1)]}, "row 1: .*unknown field `weight`"),
        ({"id": "1", "conversations": [said("human", "x")], "answer": "y"}, "row 1: .*unknown field `answer`"),
    ],
)
def test_a_fault_is_named_with_file_row_and_field(tmp_path: Path, row: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=rf"in.json: {fault}"):
        imported(tmp_path, row)
    assert not (tmp_path / "log.jsonl").exists()
