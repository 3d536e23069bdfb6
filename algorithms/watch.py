"""stable-baselines3's progress and metrics in the form that they have here: a bar, and a line of JSON for each iteration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rich.progress import Progress, TaskID
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.utils import safe_mean

from rollouts.progress import bar_columns, console


class Watch(BaseCallback):
    """Shows how far a run of `total` steps is; calls `check()` before every iteration, and `save()` before each `save_every`-th.

    As a context it ends the bar when training is stopped, too, which stable-baselines3 does not say.
    """

    def __init__(self, total: int, check: Callable[[], None], save: Callable[[], None], save_every: int) -> None:
        super().__init__()
        self.total, self.check, self.save, self.save_every, self.played = total, check, save, save_every, 0
        self.bar = Progress(*bar_columns("ppo", "{task.fields[shown]}"), console=console)
        self.task = TaskID(0)

    def _on_training_start(self) -> None:
        self.bar.start()
        self.task = self.bar.add_task("ppo", total=self.total, completed=self.num_timesteps, shown="")

    def _on_rollout_start(self) -> None:
        self.check()
        if self.played and self.played % self.save_every == 0:
            self.save()
        self.played += 1

    def _on_step(self) -> bool:
        episodes = self.model.ep_info_buffer
        shown = f"return {safe_mean([episode['r'] for episode in episodes]):.3f}" if episodes else ""
        self.bar.update(self.task, completed=self.num_timesteps, shown=shown)
        return True

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return line.endswith("\n")


class JsonLines(KVWriter):
    """stable-baselines3's metrics as lines of JSON; what stands there after `step` will be logged again, and goes.

    So does a last line that a killed process left unfinished: it is of a step after every saved state.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if lines and not _whole(lines[-1]):
            lines.pop()
        path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))
        self.path = path

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append one line."""
        del key_excluded
        plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in key_values.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step} | plain) + "\n")

    def close(self) -> None:
        """Nothing is left open."""
