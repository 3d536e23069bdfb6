"""A problem by hand, on a terminal: the steps are typed line by line, and graded as an agent's are."""

from __future__ import annotations

from typing import Any

from prompt_toolkit import PromptSession
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from envs.grading import Outcome
from envs.problem_env import DELIMITERS, ProblemEnv

KEYS = {
    "?": "say this",
    "undo": "take a step back",
    "done": "end the response as it stands, and have it graded",
    "give up": "see the worked solution and stop",
    "quit": "stop",
}
_COLOURS = {Outcome.CORRECT: "bold green", Outcome.WRONG: "bold red"}


class Solving:
    """One problem on a terminal."""

    def __init__(self, env: ProblemEnv, console: Console, session: PromptSession[str] | None = None) -> None:
        """`session` reads the lines; None makes one on the terminal."""
        self.env, self.console = env, console
        self.session: PromptSession[str] = session or PromptSession()
        self.steps: list[str] = []
        self.info: dict[str, Any] = {}

    def play(self, task: str | int | None = None, seed: int | None = None) -> bool:
        """Put a problem until it is answered or given up; returns whether it was solved.

        Raises ValueError for a task that is not among the environment's.
        """
        question, self.info = self.env.reset(seed=seed, options={} if task is None else {"task": task})
        known = f"Type a step a line, the last one as: #### {'B' if 'choices' in self.info else '42'}; " + ", ".join(KEYS)
        self.console.print(Panel(escape(question), title=escape(self.info["task"]), subtitle=known))
        while True:
            try:
                line = self.session.prompt(f"step {len(self.steps) + 1} of {self.env.max_steps} > ").strip()
            except (EOFError, KeyboardInterrupt):
                line = "quit"
            if line == "give up":
                self._solution()
            if line in ("give up", "quit"):
                return False
            if line == "?":
                for key, what in KEYS.items():
                    self.console.print(f"[bold]{key:>8}[/]  {what}")
            elif line == "undo":
                self._undo()
            elif line and (outcome := self._step("" if line == "done" else line + DELIMITERS[self.env.rule][0])):
                return outcome is Outcome.CORRECT

    def _step(self, step: str) -> Outcome | None:
        """Take a step; its outcome where it was the last one."""
        self.steps.append(step)
        _, _, terminated, truncated, info = self.env.step(step)
        if not terminated and not truncated:
            return None
        outcome = Outcome(info["outcome"])
        self.console.print(f"[{_COLOURS.get(outcome, 'bold yellow')}]{outcome.value}[/]{self._why(truncated)}")
        if outcome is not Outcome.CORRECT:
            self._solution()
        return outcome

    def _why(self, truncated: bool) -> str:
        if truncated:
            return f": {self.env.max_steps} steps are all that an episode has"
        problems = self.env.problems
        found = problems.grade(problems[problems.find(self.info["task"])], "".join(self.steps), self.env.rules)
        return f": {'no answer was found' if found.answer is None else f'the answer was read as {escape(found.answer)}'}"

    def _undo(self) -> None:
        """Begin again, without the last step."""
        if not self.steps:
            self.console.print("[dim]nothing to take back[/]")
            return
        taken = self.steps.pop()
        self.env.reset(options={"task": self.info["task"]})
        for step in self.steps:
            self.env.step(step)
        self.console.print(f"[dim]taken back:[/] {escape(taken.strip())}")

    def _solution(self) -> None:
        """Show the worked solution and the answer."""
        if self.info["solution"]:
            self.console.print(f"[cyan]solution[/]\n{escape(self.info['solution'])}", highlight=False)
        self.console.print(f"[cyan]answer[/]\n{escape(self.info['answer'])}", highlight=False)
