"""What verl and verifiers save, by rows of the shape that their code writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollouts.exchange import verifiers, verl
from rollouts.trajectory import End, Header, Step, Trajectory
from tests.rollouts.logs import lines

VERL = {"input": "user\n2+2?\nassistant\n", "output": "2+2=4\n#### 4", "gts": "4", "score": 1, "step": 10, "acc": True}
SAVED = {
    "example_id": 5,
    "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}],
    "completion": [{"role": "assistant", "content": "4"}],
    "answer": "4",
    "reward": 1.0,
    "is_completed": True,
    "is_truncated": False,
    "error": None,
    "timing": {"total_ms": 3.0},
    "metrics": {"correct": 1.0},
}


def imported(tmp_path: Path, format: Any, *rows: Any, **settings: Any) -> list[Any]:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    convert = format.from_verl if format is verl else format.from_verifiers
    convert(format.Import((tmp_path / "in.jsonl",), "math", tmp_path / "log.jsonl", **settings))
    return lines(tmp_path / "log.jsonl")


def test_verls_generations_are_episodes(tmp_path: Path) -> None:
    found = imported(tmp_path, verl, VERL, VERL | {"score": -0.5, "output": "5"}, VERL | {"input": "other"}, cut="lines")
    info = {"gts": "4", "step": 10, "acc": True}
    steps = (Step(VERL["input"], "2+2=4\n", 0.0), Step("", "#### 4", 1.0, info=info))
    assert found[:2] == [
        Header("MathReason-v0", "verl"),
        Trajectory("MathReason-v0", "verl/000000", 0, steps, End.TERMINATED, "verl"),
    ]
    assert [(t.task, t.seed, t.total_reward) for t in found[2:]] == [("verl/000000", 1, -0.5), ("verl/000001", 0, 1.0)]


def test_saved_rollouts_are_episodes(tmp_path: Path) -> None:
    cut_off = SAVED | {"is_truncated": True, "reward": 0.0}
    crashed = SAVED | {"error": {"error": "ToolError"}, "completion": None, "reward": None}
    header, *found = imported(tmp_path, verifiers, SAVED, cut_off, crashed)
    assert header == Header("MathReason-v0", "verifiers")
    assert [(t.task, t.seed, t.end, t.success) for t in found] == [
        ("example-5", 0, End.TERMINATED, True),
        ("example-5", 1, End.TRUNCATED, False),
        ("example-5", 2, End.ERROR, False),
    ]
    assert found[0].steps == (Step("Think.\n\n2+2?", "4", 1.0),)
    assert (found[2].steps, "ToolError" in found[2].final) == ((), True)


CALL = [{"role": "assistant", "content": None, "tool_calls": [{"name": "search"}]}]


@pytest.mark.parametrize(
    ("format", "row", "fault"),
    [
        (verl, {"input": "a", "output": "b", "step": 1}, "missing required field `score`; wanted an object with input, output"),
        (verl, VERL | {"score": "high"}, r"at `\$.score`"),
        (verl, "notes", "1: .*wanted an object with input"),
        (verifiers, SAVED | {"completion": CALL}, "message 0 is the assistant's with tool calls: wanted texts"),
        (verifiers, SAVED | {"completion": [{"role": "tool", "content": "x"}]}, "message 0 is the tool's with text"),
        (verifiers, SAVED | {"completion": [{"role": "user", "content": "x"}]}, "message 2 is the user's, wanted the assistant's"),
        (verifiers, {"prompt": "a", "completion": "b"}, "missing required field `example_id`"),
    ],
)
def test_a_fault_is_named_with_file_row_and_field(tmp_path: Path, format: Any, row: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=rf"in.jsonl:.*{fault}"):
        imported(tmp_path, format, row)
    assert not (tmp_path / "log.jsonl").exists()
