"""Run directories, without the model that lies in them."""

from __future__ import annotations

import json
from pathlib import Path


def run_checkpoint(path: str | Path) -> Path:
    """The checkpoint of a run directory (its `config.json` names the final stage), or the folder itself where it is one."""
    folder = Path(path)
    file = folder / "config.json"
    if file.is_file() and "checkpoint" in (config := json.loads(file.read_text())):
        return folder / config["checkpoint"]
    return folder
