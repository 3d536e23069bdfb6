"""Run directories, without the model that lies in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def run_checkpoint(path: str | Path) -> Path:
    """The checkpoint of a run directory (its `config.json` names the final stage), or the folder itself where it is one."""
    folder = Path(path)
    file = folder / "config.json"
    if file.is_file() and "checkpoint" in (config := json.loads(file.read_text())):
        return folder / config["checkpoint"]
    return folder


def decision_rule(path: str | Path) -> dict[str, Any]:
    """How the agent of a run directory decides: `decision` of its `config.json`, settings of `rollouts.evaluate`; {} without one.

    Raises:
        ValueError: it is no JSON object.
    """
    file = Path(path) / "config.json"
    rule = json.loads(file.read_text()).get("decision", {}) if file.is_file() else {}
    if not isinstance(rule, dict):
        raise ValueError(f'{file}: "decision" is {rule!r}, wanted an object such as {{"search": "best-action", "width": 4}}')
    return rule
