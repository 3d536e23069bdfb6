"""An environment that takes its process with it, for tests of what outlives it: importing registers `Mortal-v0`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import gymnasium as gym


class Mortal(gym.Env[str, str]):
    """Five steps an episode. Its process dies in the third step of the task "deadly", as long as `folder` has no file "died".

    The file says which process it was and the seed of the episode.

    With `together`, the first step of each episode waits until as many episodes have begun theirs.
    """

    tasks = ("one", "two", "deadly", "four", "five", "six")
    observation_space = action_space = gym.spaces.Text(100)

    def __init__(self, folder: str, always: bool = False, together: int = 0) -> None:
        self.folder, self.always, self.together = Path(folder), always, together

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.task, self.seed, self.count = (options or {})["task"], seed, 0
        return f"{self.task} {seed}", {"admissible_commands": ["go", "wait"]}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.count += 1
        if self.together and self.count == 1:
            (self.folder / f"began-{self.task}").touch()
            for _ in range(600):
                if len(list(self.folder.glob("began-*"))) >= self.together:
                    break
                time.sleep(0.05)
            else:
                raise RuntimeError("was alone for half a minute")
        if self.task == "deadly" and self.count == 3 and (self.always or not (self.folder / "died").exists()):
            (self.folder / "died").write_text(f"{os.getpid()} {self.seed}")
            os._exit(3)
        info = {"pid": os.getpid(), "admissible_commands": ["go", "wait"]}
        return f"{self.task} {self.count} {action}", float(self.count == 5), self.count == 5, False, info


gym.register("Mortal-v0", entry_point="tests.rollouts.mortal:Mortal", disable_env_checker=True, order_enforce=False)
