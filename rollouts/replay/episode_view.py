"""The screen of one episode: its steps with their values, and below what was seen, done and considered at one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rich.text import Text

from rollouts.considered import considered
from rollouts.replay.lines import bar, colour, coloured, digits, number, one_line, visible, wrapped
from rollouts.replay.session import Heat, Session
from rollouts.replay.shown import Shown
from rollouts.replay.values import FELL
from rollouts.step_reading import StepReading
from rollouts.trajectory import End

BAR = 10
LABEL = 11
"""Cells of the words at the left of the text below the steps."""


def episode_lines(session: Session, width: int, height: int) -> list[Text]:
    """A head of two lines, a third of the height for the steps, the rest for the text of the one under the cursor."""
    shown = session.episode
    room = max(3, min(shown.positions, (height - 4) // 2))
    steps = table(shown, session.step, width, room)
    text = detail(session, width)
    below = height - 3 - len(steps)
    session.scroll = max(0, min(session.scroll, len(text) - below))
    kept = text[session.scroll : session.scroll + below]
    left = len(text) - session.scroll - len(kept)
    more = f"── {left} more lines: space, - " if left else f"── {session.scroll} lines above: - " if session.scroll else ""
    return [*head(session, width), *steps, Text(more.ljust(width, "─"), style="dim"), *kept]


def head(session: Session, width: int) -> list[Text]:
    """Which episode it is, whose, and where values are from."""
    shown, trajectory = session.episode, session.episode.trajectory
    place = f"{session.listing.at + 1} of {len(session.listing)}" if shown.branch is None else "not in the log"
    title = Text(f" {shown.label}, {place}  {shown.ending}  {one_line(trajectory.task)}  seed {trajectory.seed} ", style="reverse")
    title.append(" " * max(0, width - title.cell_len))
    values = f"values: {shown.reading.source}" if shown.reading.source else session.source.note or "no values"
    return [
        title,
        Text(" " + one_line(f"by {trajectory.agent}   {values}") + "   ", style="dim").append(_legend(shown, session.heat)),
    ]


def _legend(shown: Shown, heat: Heat) -> Text:
    """What the colours or digits of tokens say."""
    if not shown.reading.source or heat is Heat.OFF:
        return Text()
    if heat is Heat.DIGITS:
        return Text("digits: tenths of V")
    scale = Text("V 0 ")
    for tenth in range(11):
        scale.append(" ", colour(tenth / 10))
    return scale.append(" 1")


def _columns(shown: Shown, width: int) -> Text:
    implicit = " log π/ref" if _compared(shown) else ""
    left = f"   step action{' ' * width}"[: width - 32 - len(implicit)]
    return Text(f"{left} {'V':>5} {'':<{BAR}} {'advantage':>9} {'r':>4}{implicit}", style="bold")


def _compared(shown: Shown) -> bool:
    return any(step.implicit is not None for step in shown.reading.steps)


def table(shown: Shown, at: int, width: int, room: int) -> list[Text]:
    """The names of the columns and a window of steps around the one under the cursor; of an open branch, also the step to come."""
    first = max(0, min(at - room // 2, shown.positions - room))
    return [_columns(shown, width)] + [
        _step(shown, step, step == at, width) for step in range(first, min(shown.positions, first + room))
    ]


def _step(shown: Shown, place: int, here: bool, width: int) -> Text:
    line = Text(f"{'>' if here else ' '} {place + 1:>5} ", style="bold" if here else "")
    if place >= len(shown.trajectory.steps):
        return line.append("(what now? t types, a lets the agent act)" if shown.open else "(no step)", "italic")
    step, reading = shown.trajectory.steps[place], shown.reading.steps[place]
    fell = reading.advantage is not None and reading.advantage < -FELL
    implicit = f" {number(reading.implicit, '+'):>9}" if _compared(shown) else ""
    action = Text(one_line(step.action) or "(nothing)")
    action.truncate(width - 40 - len(implicit), overflow="ellipsis", pad=True)
    line.append(action)
    line.append(f" {number(reading.value):>5} ").append(bar(reading.value, BAR), "blue")
    line.append(f" {number(reading.advantage, '+'):>8}").append("▼" if fell else " ", "red")
    return line.append(f" {step.reward:>4g}{implicit}")


def detail(session: Session, width: int) -> list[Text]:
    """What was seen, done, considered and known at the step under the cursor."""
    shown, place = session.episode, session.step
    steps, room = shown.trajectory.steps, width - LABEL - 1
    found: list[tuple[str, list[Text]]] = []
    if place < len(steps):
        step = steps[place]
        found.append(("saw", _paragraphs(step.observation or _asked(shown, place), room)))
        found.append(("did", action_lines(shown.reading.steps[place], step.action, session.heat, room)))
        found.append(("considered", _candidates(shown, place, room)))
        found.append(("info", _paragraphs(_info(step.info), room)))
    if place >= len(steps) - 1:
        found.append(("then", _paragraphs(_end(shown), room)))
    if session.about:
        found.append(("knows", _known(session, room)))
    return [line for label, lines in found if lines for line in _labelled(label, lines)]


def _labelled(label: str, lines: list[Text]) -> Iterator[Text]:
    for place, line in enumerate(lines):
        yield Text.assemble((f"{'' if place else label:>{LABEL - 1}} ", "cyan"), " ", line)


def _paragraphs(text: str, width: int) -> list[Text]:
    return wrapped(Text(visible(text.strip("\n"))), width) if text.strip() else []


def _asked(shown: Shown, place: int) -> str:
    """What the agent answers where the environment has added nothing: what it said last."""
    steps = shown.trajectory.steps[: place + 1]
    return next((step.observation for step in reversed(steps) if step.observation), "")


def action_lines(reading: StepReading, action: str, heat: Heat, width: int) -> list[Text]:
    """A step's action, by tokens where they are known."""
    known = reading if reading.texts else replace(reading, texts=(action,), values=())
    if not known.values and known.value is not None:
        known = replace(known, texts=(action,), values=(known.value,))
    if heat is Heat.OFF or not known.values:
        return coloured(replace(known, values=()), width)
    return (digits if heat is Heat.DIGITS else coloured)(known, width)


def _candidates(shown: Shown, place: int, width: int) -> list[Text]:
    """What a search considered, with V behind each; * was chosen."""
    return [
        Text(f"{'*' if each.chosen else ' '} {number(each.value, '+')}  {one_line(each.action)}", overflow="ellipsis")
        for each in considered(shown.trajectory)[place]
    ]


def _info(info: dict[str, Any]) -> str:
    """The plain values of a step's info."""
    return ", ".join(f"{key} {value}" for key, value in info.items() if not isinstance(value, dict | list))


def _end(shown: Shown) -> str:
    trajectory = shown.trajectory
    said = f"{trajectory.final}\n" if trajectory.final else ""
    if shown.open:
        return said
    what = "an error of the environment" if trajectory.end is End.ERROR else trajectory.end.value
    return f"{said}({what}; return {trajectory.total_reward:g}; {shown.ending})"


def _known(session: Session, width: int) -> list[Text]:
    """What the environment has to say of the state, re-made for it: commands at the step, else what reset tells of the problem."""
    try:
        state = session.tries.state(session.episode, session.step)
    except (ValueError, LookupError, OSError) as error:
        return _paragraphs(str(error), width)
    if state.commands:
        return _paragraphs(" | ".join(state.commands), width)
    info = state.episode.history.turns[0].info
    return [line for key, value in info.items() if value not in ("", None) for line in _paragraphs(f"{key}: {value}", width)]
