"""AlfWorld by hand, on a terminal: the admissible commands complete as one types, and every step can be taken back."""

from __future__ import annotations

from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from envs.alfworld.env import AlfWorldEnv
from envs.alfworld.planner import shortest_plan
from envs.alfworld.rules import load_game

_KEYS = {"?": "list the commands", "undo": "take a step back", "give up": "see a shortest solution and stop", "quit": "stop"}


class CommandCompleter(Completer):
    """Completes to what can be said now; a word may be matched anywhere in a command."""

    def __init__(self) -> None:
        """Start with no commands."""
        self.commands: list[str] = []

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Any:
        """All commands that hold every word typed so far."""
        words = document.text_before_cursor.lower().split()
        for command in [*self.commands, *_KEYS]:
            if all(word in command for word in words):
                yield Completion(command, start_position=-len(document.text_before_cursor))


class Game:
    """One episode on a terminal."""

    def __init__(self, env: AlfWorldEnv, console: Console, session: PromptSession[str] | None = None) -> None:
        """`session` reads the lines; None makes one on the terminal."""
        self.env, self.console = env, console
        self.completer = CommandCompleter()
        self.session: PromptSession[str] = session or PromptSession()
        self.before: list[tuple[Any, str]] = []
        """state before each step, and the text shown then"""
        self.info: dict[str, Any] = {}

    def play(self, task: str | int | None = None, seed: int | None = None) -> bool:
        """Play an episode to its end; returns whether it was won.

        Raises ValueError for a task that is not among the environment's.
        """
        options = {} if task is None else {"task": task}
        text, self.info = self.env.reset(seed=seed, options=options)
        _, _, goal = text.partition("Your task is to: ")
        self.console.print(Panel(escape(text), title=escape(self.info["task"]), subtitle="Tab completes; " + ", ".join(_KEYS)))
        while True:
            self.completer.commands = self.info["admissible_commands"]
            left = self.env.limit - len(self.before)
            try:
                line = self.session.prompt(f"{goal.strip()} | {left} left > ", completer=self.completer).strip()
            except (EOFError, KeyboardInterrupt):
                line = "quit"
            if line == "quit" or (line == "give up" and not self._solution()):
                return False
            if line == "?":
                self.console.print(Columns([escape(command) for command in self.info["admissible_commands"]], padding=(0, 3)))
            elif line == "undo":
                text = self._undo(text)
            elif line:
                text, ended = self._step(line, text)
                if ended:
                    return bool(self.info["won"])

    def _step(self, command: str, shown: str) -> tuple[str, bool]:
        self.before.append((self.env.snapshot(), shown))
        text, _, won, truncated, self.info = self.env.step(command)
        self.console.print(escape(text))
        if won:
            self.console.print(f"[bold green]Done[/] in {len(self.before)} steps.")
        elif truncated:
            self.console.print(f"[bold red]Out of steps[/]: {self.env.limit} are all that an episode has.")
        return text, won or truncated

    def _undo(self, shown: str) -> str:
        if not self.before:
            self.console.print("[dim]nothing to take back[/]")
            return shown
        state, text = self.before.pop()
        self.info = self.env.restore(state)
        self.console.print(f"[dim]one step back:[/] {escape(text)}")
        return text

    def _solution(self) -> None:
        """Show how it is done from the start."""
        plan = shortest_plan(load_game(self.env.source(self.info["task"]).read())) or []
        self.console.print(f"[bold]A shortest solution[/], {len(plan)} commands from the start:")
        for number, command in enumerate(plan, start=1):
            self.console.print(f"{number:>3}  {escape(command)}")
