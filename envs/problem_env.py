"""The environment of every problem that is solved by writing: a question, steps of reasoning, a graded answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from envs.grading import RULES, Kind, Outcome, grade, has_final_answer
from envs.hints import choose, did_you_mean
from envs.problems import Problem, ProblemSet, Scored
from envs.prompts import prompt_of
from envs.text import UnicodeText

MAX_TEXT = 8192
"""Characters of the longest question or action."""

# The papers' rules: line breaks (OREO on GSM8K), sentences (OREO on MATH), blank lines (DVO). No delimiter may overlap
# another.
DELIMITERS: dict[str, tuple[str, ...]] = {"lines": ("\n",), "sentences": ("\n", ". ", ".$ "), "blank": ("\n\n",)}


def segment(text: str, rule: str = "lines") -> list[str]:
    """Cut a whole response into steps: "a\\nb" -> ["a\\n", "b"], "a\\n" -> ["a\\n", ""], "" -> [""].

    A step ends with the first delimiter after its first visible character, so leading line breaks belong to the step
    that follows and no step but the last is blank. The last piece is what stands after the last step (the agent closed
    the episode there), possibly "". The pieces join to `text`, and more text never changes the pieces before the last.
    """
    pattern = _STEPS[choose("segment", rule, DELIMITERS)]
    pieces, at = [], 0
    while match := pattern.match(text, at):
        pieces.append(match[0])
        at = match.end()
    return [*pieces, text[at:]]


_STEPS = {
    name: re.compile(rf"\s*+\S.*?(?:{'|'.join(map(re.escape, delimiters))})", re.DOTALL) for name, delimiters in DELIMITERS.items()
}


class ProblemEnv(gym.Env[str, str]):
    """Observation: the problem at reset, then "". Action: one step of reasoning, or at level "response" all of it.

    A step-level episode ends when an action completes no step (no delimiter: the agent closed its turn), when the
    response holds a final answer, or, truncated, after `max_steps` actions. A token can span a delimiter: text after it
    belongs to the next step. At a terminated end the concatenated actions are graded: reward 1.0 where correct,
    `info["outcome"]` an `envs.grading.Outcome` value. A truncated response has no final answer: reward 0, outcome
    unparseable. `info["score"]` is there too where the problems' own scorer gives part marks; the reward stays sparse.
    `reset` also gives `info["solution"]` (worked), `info["answer"]`, `info["choices"]` of multiple choice and what
    else is known of the problem (`Problem.info`), for experts and for people; they are no part of the observation.
    """

    metadata: dict[str, Any] = {"render_modes": [], "levels": ("step", "response", "token")}

    def __init__(
        self,
        problems: ProblemSet,
        level: str = "step",
        segment: str | None = None,
        max_steps: int = 20,
        prompt: str = "plain",
        rules: str | None = None,
    ) -> None:
        """Put the problems by a template, cut the responses, grade them.

        `prompt` is a key of `envs.prompts.PROMPTS` or a text with "{question}" in it; `segment` a key of `DELIMITERS`, by default
        the prompt's own; `rules` a key of `envs.grading.RULES`, to grade as a published checker does.
        """
        self.problems = problems
        self.level = choose("level", level, ("step", "response"))
        self.prompt = prompt_of(prompt)
        self.rule = choose("segment", segment or self.prompt.segment, DELIMITERS)
        self.rules = rules if rules is None else choose("rules", rules, RULES)
        if max_steps < 1:
            raise ValueError(f"max_steps={max_steps}: wanted at least 1")
        self.max_steps = max_steps
        self.observation_space = UnicodeText(MAX_TEXT)
        self.action_space = UnicodeText(MAX_TEXT)
        self._problem: Problem | None = None
        self._actions: list[str] = []

    @property
    def tasks(self) -> Sequence[str]:
        """All task ids of the split, in a stable order."""
        return self.problems.tasks

    @property
    def max_turns(self) -> int:
        """The most actions of an episode, by the name that AgileRL's protocol of text environments has for it."""
        return 1 if self.level == "response" else self.max_steps

    def segment(self, text: str) -> list[str]:
        """Cut a whole response into this level's actions: itself, or at the step level by the rule of `segment` above."""
        return [text] if self.level == "response" else segment(text, self.rule)

    def finished(self, steps: str) -> bool:
        """Whether whole steps of a response hold a final answer, which ends the episode."""
        return self.level == "step" and has_final_answer(steps)

    def votes(self, task: str, responses: Sequence[str]) -> list[int | None]:
        """Number the answers of responses to a problem: the same for the same answers, None where there is none.

        Which is right is not looked at.
        """
        problem, seen, found = self.problems[self.problems.find(task)], list[str](), list[int | None]()
        kind = "choice" if problem.choices else None
        for response in responses:
            answer = self.problems.grade(problem, response, self.rules).answer
            if answer is None:
                found.append(None)
                continue
            alike = (i for i, other in enumerate(seen) if _same(answer, other, kind, problem.choices))
            found.append(next(alike, len(seen)))
            seen += [answer] * (found[-1] == len(seen))
        return found

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start the problem `options["task"]` (id or index), or one drawn from the environment's own generator."""
        super().reset(seed=seed)
        index = pick_task(options, len(self.problems), self.problems.find)
        self._problem = self.problems[int(self.np_random.integers(len(self.problems))) if index is None else index]
        self._actions = []
        problem = self._problem
        return self.prompt.ask(problem.question), {
            **problem.info,
            **({"choices": problem.choices} if problem.choices else {}),
            "task": problem.id,
            "solution": problem.solution,
            "answer": problem.answer,
        }

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one step of reasoning, or the whole response.

        Raises gymnasium's ResetNeeded where no episode is running, TypeError where the action is no text.
        """
        if self._problem is None:
            raise gym.error.ResetNeeded("the episode is over, or none was begun: call reset() before step()")
        if not isinstance(action, str):
            raise TypeError(f"action {action!r} is a {type(action).__name__}: wanted a str, the text of one step")
        problem = self._problem
        before = len(self.segment("".join(self._actions)))
        self._actions.append(action)
        response = "".join(self._actions)
        *steps, _begun = self.segment(response)  # text after the last delimiter may go on: "#### 1" may become "#### 12"
        closed = self.level == "response" or len(steps) + 1 == before
        terminated = closed or self.finished("".join(steps))
        truncated = not terminated and len(self._actions) >= self.max_steps
        info: dict[str, Any] = {"task": problem.id}
        if terminated or truncated:
            found = self.problems.grade(problem, response, self.rules) if terminated else None
            info["outcome"] = str(found.outcome if found else Outcome.UNPARSEABLE)
            if isinstance(found, Scored):
                info["score"] = found.score
            self._problem = None
        return "", float(info.get("outcome") == Outcome.CORRECT), terminated, truncated, info


def _same(answer: str, other: str, kind: Kind | None, choices: Sequence[str]) -> bool:
    return answer == other or grade(answer, other, kind, choices).outcome is Outcome.CORRECT


def pick_task(options: dict[str, Any] | None, count: int, find: Callable[[str], int]) -> int | None:
    """Return the index that `options["task"]` names (an id, or an index below `count`), None where there is none."""
    for key in options or {}:
        if key != "task":
            raise ValueError(f"reset option {key!r} is not known: wanted 'task'.{did_you_mean(key, ['task'])}")
    task = (options or {}).get("task")
    if task is None or isinstance(task, str):
        return None if task is None else find(task)
    if isinstance(task, bool) or not hasattr(task, "__index__"):
        raise ValueError(f"task {task!r} is a {type(task).__name__}: wanted a task id (str) or an index (int)")
    index = task.__index__()
    if not 0 <= index < count:
        raise ValueError(f"task {index} is out of range: wanted an index from 0 to {count - 1}")
    return index
