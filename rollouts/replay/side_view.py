"""The screen of two episodes of a task, step by step beside each other."""

from __future__ import annotations

from itertools import zip_longest

from rich.text import Text

from rollouts.replay.episode_view import action_lines
from rollouts.replay.lines import bar, number, one_line, visible, wrapped
from rollouts.replay.session import Session
from rollouts.replay.shown import Shown, first_difference

BAR = 5


def side_lines(session: Session, width: int, height: int) -> list[Text]:
    """Both episodes' steps, the first difference marked, and below the text of the step under the cursor of each."""
    left, right = session.episode, session.beside
    assert right
    half = (width - 3) // 2
    differ = first_difference(left.trajectory, right.trajectory)
    count = max(left.positions, right.positions)
    room = max(3, min(count, (height - 3) // 2))
    first = max(0, min(session.step - room // 2, count - room))
    title = Text(f" side by side: {one_line(left.trajectory.task)}", style="reverse")
    title.append(" " * max(0, width - title.cell_len))
    found = [title, *_beside([_name(left, half)], [_name(right, half)], half)]
    for place in range(first, min(count, first + room)):
        mark = "≠" if place >= differ else "│"
        one, two = (_cell(each, place, place == session.step, half) for each in (left, right))
        found += _beside([one], [two], half, mark)
    found.append(Text("─" * width, style="dim"))
    below = _beside(_detail(session, left, half), _detail(session, right, half), half)
    session.scroll = max(0, min(session.scroll, len(below) - (height - len(found))))
    return [*found, *below[session.scroll :]]


def _name(shown: Shown, width: int) -> Text:
    name = Text(one_line(f"{shown.label}: {shown.ending}, {len(shown.trajectory.steps)} steps, seed {shown.trajectory.seed}"))
    name.stylize("bold")
    name.truncate(width, overflow="ellipsis")
    return name


def _cell(shown: Shown, place: int, here: bool, width: int) -> Text:
    line = Text(f"{'>' if here else ' '}{place + 1:>3} ", style="bold" if here else "")
    if place >= len(shown.trajectory.steps):
        return line.append("(goes on)" if shown.open else "(ended)", "italic")
    action, reading = Text(one_line(shown.trajectory.steps[place].action)), shown.reading.steps[place]
    action.truncate(width - 24, overflow="ellipsis", pad=True)
    line.append(action).append(f" {number(reading.value):>5} ").append(bar(reading.value, BAR), "blue")
    return line.append(f" {number(reading.advantage, '+'):>6}")


def _detail(session: Session, shown: Shown, width: int) -> list[Text]:
    """What was seen and done at the step; behind the last one, what came of it."""
    steps = shown.trajectory.steps
    if session.step >= len(steps):
        return []
    step = steps[session.step]
    seen = wrapped(Text(visible(step.observation.strip("\n")), style="dim"), width) if step.observation.strip() else []
    final = f"{shown.trajectory.final}\n({shown.ending})".strip() if session.step == len(steps) - 1 else ""
    after = wrapped(Text(visible(final)), width) if final else []
    return [*seen, *action_lines(shown.reading.steps[session.step], step.action, session.heat, width), *after]


def _beside(left: list[Text], right: list[Text], width: int, mark: str = "│") -> list[Text]:
    found = []
    for one, two in zip_longest(left, right):
        line = (one or Text()).copy()
        line.truncate(width, pad=True)
        found.append(Text.assemble(line, f" {mark} ", two or Text()))
    return found
