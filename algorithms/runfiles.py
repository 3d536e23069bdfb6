"""What lies beside a checkpoint while it is trained, so that a killed run can go on and a finished one can be read.

OUT-metrics.jsonl   a line for every optimiser step
OUT-state           weights, optimiser and schedule of the last saved step, until training ends (PPO's stays: it can train on)
OUT-best            the best checkpoint so far, where held-out tasks are played
OUT-last-good       the checkpoint of the last saved step, after a fault
"""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch


class RunFiles:
    """The files of one training run.

    Args:
        out: folder of the checkpoint that training ends with.
        settings: what makes this run what it is, as plain values: a state of other settings is not gone on with.
    """

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.out, self.settings = out, settings
        self.metrics, self.state = self._beside("metrics.jsonl"), self._beside("state")
        self.best, self.last_good = self._beside("best"), self._beside("last-good")

    def start_metrics(self, step: int) -> None:
        """Drop what was logged after the state that the run goes on from: it will be logged again."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if self.metrics.exists():
            kept = self.metrics.read_text().splitlines(keepends=True)[:step]
            self.metrics.write_text("".join(kept))

    def append_metrics(self, metrics: dict[str, Any]) -> None:
        """One line."""
        with open(self.metrics, "a") as file:
            file.write(json.dumps(metrics) + "\n")

    def save_state(self, state: dict[str, Any]) -> None:
        """Write a state aside, then swap it in whole."""
        aside = self.state.with_name(self.state.name + ".part")
        torch.save(state | {"settings": json.dumps(self.settings)}, aside)
        os.replace(aside, self.state)

    def load_state(self, device: torch.device) -> dict[str, Any] | None:
        """The state that a killed run left, or None.

        Raises:
            ValueError: it was left by another run, or is broken.
        """
        if not self.state.exists():
            return None
        try:
            state = torch.load(self.state, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"{self.state} cannot be read ({error}): delete it to begin anew") from error
        if state["settings"] != json.dumps(self.settings):
            raise ValueError(
                f"{self.state} was left by a run with other settings, data or model: "
                "repeat that command to go on with it, or give another --out"
            )
        return state

    def _beside(self, what: str) -> Path:
        return self.out.with_name(f"{self.out.name}-{what}")
