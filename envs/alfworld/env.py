"""AlfWorld-v0: a household task in text. An action is a command ("go to desk 1"), an observation the game's answer.

In the ReAct form (Yao et al. 2023, https://arxiv.org/abs/2210.03629) the command follows a thought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
from gymnasium.error import ResetNeeded

from envs.alfworld.engine import Engine, Scene, Source, make_engine
from envs.alfworld.games import task_id
from envs.alfworld.sources import find_sources
from envs.alfworld.tasks import Difficulty
from envs.hints import choose, did_you_mean
from envs.text import UnicodeText
from envs.token_level import Tokenizer, at_level

# The longest official observation has about 1,000 characters; actions get as much room, for agents that think aloud.
MAX_CHARACTERS = 4096

FORMS = ("command", "react")
"""An action is the command itself; or "Thought: ...", and on the next line "Action: " and the command."""


class Snapshot(NamedTuple):
    """A state of an episode: its task, the commands given so far (None after the end), the engine's state."""

    task: str
    steps: int | None
    state: Any


class AlfWorldEnv(gymnasium.Env[str, str]):
    """One ALFWorld game an episode.

    The observation is the game's text, without the welcome banner. The reward is 1 at the step that reaches the goal,
    which terminates the episode, and 0 before; after `max_steps` commands an unsolved episode is truncated. `info`
    holds `task` (the official `task/trial` id), `admissible_commands` (a sorted list) and `won`.

    ALFWorld: Shridhar et al. 2021, https://arxiv.org/abs/2010.03768.
    """

    metadata: dict[str, Any] = {"render_modes": [], "levels": ("step", "token")}

    def __init__(
        self,
        games: str | Path | Sequence[str | Path] | Mapping[str, Source] | None = None,
        split: str = "train",
        engine: str = "native",
        max_steps: int | None = None,
        task_types: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
        wording: str = "file",
        difficulty: str | Mapping[str, int | None] | Difficulty | None = None,
        form: str = "command",
        count: int | None = None,
        fold: str | None = None,
    ) -> None:
        """Choose the games (see `envs.alfworld.sources.find_sources`), the engine by name, the limit of commands and the wording.

        `wording` is "file" (the game's own), or that of the older releases ("put": put X in/on Y) or the newer ("move": move X
        to Y), whatever the file has. `max_steps` None is what the games have: 40, and of generated ones what the difficulty says.

        `form` is one of `FORMS` (else ValueError): in that of ReAct the command is what stands after the first "Action:" of an
        action, one line; an action without it is answered as any that is not admissible.

        Raises ValueError for an unknown split, task type, engine, wording or difficulty or a limit below 1, FileNotFoundError
        where there are no games.
        """
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps={max_steps}: an episode needs at least one step; the papers use 40.")
        self.form = choose("form", form, FORMS)
        self._engine: Engine = make_engine(engine, wording)
        self._sources = find_sources(games, split, task_types, scenes, difficulty, count, fold)
        self.tasks: Sequence[str] = tuple(self._sources)
        self.max_steps = max_steps
        self.observation_space = UnicodeText(max_length=MAX_CHARACTERS)
        self.action_space = UnicodeText(max_length=MAX_CHARACTERS)
        self._task = ""
        self._steps: int | None = None  # None while there is no episode to step in

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode of `options["task"]` (an id, an index into `tasks`, or a game's path), else of a drawn task.

        Raises ValueError for another option or a task that is not among `tasks`.
        """
        super().reset(seed=seed)
        task = self._choose(options or {})
        self._steps = None
        scene = self._engine.reset(self._sources[task])
        self._task, self._steps = task, 0
        return scene.text, self._info(scene)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out a command; anything that is not admissible now is answered by "Nothing happens." and costs a step.

        Raises ResetNeeded before the first reset and after the end, TypeError for an action that is not a text.
        """
        if self._steps is None:
            raise ResetNeeded("AlfWorld: step() without an episode (none was started, or it has ended). Call reset() first.")
        if not isinstance(action, str):
            raise TypeError(f"AlfWorld: an action is a text such as 'go to desk 1', not {action!r} ({type(action).__name__}).")
        scene = self._engine.step(action if self.form == "command" else _command(action))
        self._steps += 1
        truncated = not scene.won and self._steps >= self.limit
        if scene.won or truncated:
            self._steps = None
        return scene.text, float(scene.won), scene.won, truncated, self._info(scene)

    def snapshot(self) -> Snapshot:
        """The state of the episode, picklable: for tree search, or to go on with in another process.

        Raises ResetNeeded before the first reset, NotImplementedError for an engine that cannot tell.
        """
        if not self._task:
            raise ResetNeeded("AlfWorld: snapshot() without an episode. Call reset() first.")
        return Snapshot(self._task, self._steps, self._engine.snapshot())

    def restore(self, snapshot: Snapshot) -> dict[str, Any]:
        """Go to a state that `snapshot` gave, of any episode of these games; returns its `info`.

        Gymnasium's wrappers count episodes of their own: where `make` has put some around a new environment, `reset()` it once
        before. Raises ValueError where the task is not among `tasks`.
        """
        scene = self._engine.restore(self._sources[self._by_name(snapshot.task)], snapshot.state)
        self._task, self._steps = snapshot.task, snapshot.steps
        return self._info(scene)

    @property
    def limit(self) -> int:
        """Commands that the episode being played has."""
        return self.max_steps or self._sources[self._task].max_steps

    @property
    def max_turns(self) -> int:
        """The most commands of any episode, by the name that AgileRL's protocol of text environments has for it."""
        return self.max_steps or max(source.max_steps for source in self._sources.values())

    def source(self, task: str) -> Source:
        """Where the game of a task comes from. Raises ValueError for a task that is not among `tasks`."""
        return self._sources[self._by_name(task)]

    def close(self) -> None:
        """Free the engine. A later reset starts it again."""
        self._task, self._steps = "", None
        self._engine.close()

    def _info(self, scene: Scene) -> dict[str, Any]:
        return {"task": self._task, "admissible_commands": scene.commands, "won": scene.won}

    def _choose(self, options: dict[str, Any]) -> str:
        unknown = [key for key in options if key != "task"]
        if unknown:
            raise ValueError(f"AlfWorld: unknown reset option {unknown[0]!r}: the only one is 'task'.")
        if "task" not in options:
            return self.tasks[int(self.np_random.integers(len(self.tasks)))]
        wanted = options["task"]
        return self._by_name(str(wanted)) if isinstance(wanted, str | Path) else self._by_index(wanted)

    def _by_name(self, name: str) -> str:
        task = name if name in self._sources else task_id(name)
        if task not in self._sources:
            hint = did_you_mean(name, self.tasks)
            raise ValueError(f"AlfWorld: no task {name!r} among {len(self.tasks)} games, see env.tasks.{hint}")
        return task

    def _by_index(self, number: Any) -> str:
        try:
            place = index(number)
        except TypeError:
            raise TypeError(f"AlfWorld: options['task'] is an id, a path or an index, not {number!r}.") from None
        if not 0 <= place < len(self.tasks):
            raise ValueError(f"AlfWorld: task index {place} is outside 0..{len(self.tasks) - 1}. See env.tasks.")
        return self.tasks[place]


def _command(action: str) -> str:
    """The command of an action in the ReAct form; "", which is never admissible, where there is none."""
    return action.partition("Action:")[2].strip().partition("\n")[0].rstrip()


def make_alfworld(
    level: str = "step", tokenizer: Tokenizer | None = None, max_length: int | None = None, **kwargs: Any
) -> gymnasium.Env[Any, Any]:
    """Make an AlfWorldEnv; at `level="token"` a command is sampled token by token (`envs.token_level.TokenLevel`)."""
    return at_level(AlfWorldEnv, level, tokenizer, max_length, **kwargs)
