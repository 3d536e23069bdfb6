"""What a search considered at each step of an episode, by its log."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from rollouts.trajectory import Step, Trajectory


@dataclass(frozen=True)
class Candidate:
    """What a search considered doing."""

    action: str
    """an action, or a whole response that is cut into the actions of several steps"""
    value: float | None
    """V behind it; None where the search asks for none"""
    chosen: bool


def considered(trajectory: Trajectory) -> list[list[Candidate]]:
    """The candidates of each step, best first; none where nothing was searched. A response's are those of its first step."""
    found: list[list[Candidate]] = []
    before: object = None
    for place, step in enumerate(trajectory.steps):
        search = step.info.get("search")
        listed = list(_candidates(search)) if step.observation or search != before else []
        chosen = _chosen([action for action, _ in listed], trajectory.steps[place:])
        candidates = [Candidate(*each, index == chosen) for index, each in enumerate(listed)]
        found.append(sorted(candidates, key=lambda each: math.inf if each.value is None else -each.value))
        before = search
    return found


def _candidates(search: object) -> Iterator[tuple[str, float | None]]:
    """Their texts and values. `Step.info` is whatever the log's writer put there: what is no candidate is left out."""
    listed = search.get("candidates") if isinstance(search, dict) else None
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, dict) and isinstance(each.get("action"), str):
            value = each.get("value")
            yield each["action"], float(value) if isinstance(value, int | float) else None


def _chosen(actions: Sequence[str], steps: Sequence[Step]) -> int | None:
    """Which one was done: the response that these steps begin, or the first of them."""
    action = steps[0].action
    response = action + "".join(step.action for step in takewhile(lambda step: not step.observation, steps[1:]))
    for done in (response, action):
        if done in actions:
            return actions.index(done)
    # A final answer, or a limit on steps, ends an episode though the response goes on.
    return next((place for place, each in enumerate(actions) if response and each.startswith(response)), None)
