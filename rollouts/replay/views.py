"""Screens, as lines for a given width and height; nothing here reads a key or writes to a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from rollouts.progress import console
from rollouts.replay.episode_view import episode_lines
from rollouts.replay.keys import BINDINGS
from rollouts.replay.lines import number, one_line, visible
from rollouts.replay.session import Screen, Session
from rollouts.replay.shown import ending
from rollouts.replay.side_view import side_lines

LEAST = (80, 24)
"""Columns and rows that a terminal needs."""
ENDS = {"won": "green", "lost": "red", "erro": "magenta"}
"""Colours by how an ending begins."""
HEADS = f"  {'number':>8}  {'ended':<16} {'steps':>5} {'drop':>6}  {'seed':>6}  task"
KEYS = {"pageup": "PgUp", "pagedown": "PgDn", "up": "↑", "down": "↓", "left": "←", "right": "→", "eof": "end of input"}


def frame(session: Session, width: int, height: int) -> Text:
    """The whole screen, `height` lines of at most `width` cells."""
    if width < LEAST[0] or height < LEAST[1]:
        return _too_small(width, height)
    foot = _foot(session, width)
    body = _body(session, width, height - len(foot))
    lines = [*body[: height - len(foot)], *[Text()] * (height - len(foot) - len(body)), *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _body(session: Session, width: int, height: int) -> list[Text]:
    if session.help:
        return help_lines(session.screen)
    if session.screen is Screen.LIST:
        return list_lines(session, width, height)
    if session.screen is Screen.SIDE:
        return side_lines(session, width, height)
    return episode_lines(session, width, height)


def list_lines(session: Session, width: int, height: int) -> list[Text]:
    """The log's name, and a window of the listed episodes around the cursor."""
    listing, log = session.listing, session.source.log
    session.page = max(1, height - 3)
    place = f"{listing.at + 1}/{len(listing)}" if len(listing) else "none"
    title = Text(f" replay {place}  {listing.filter}  {one_line(str(log.path))}", style="reverse")
    title.append(" " * max(0, width - title.cell_len))
    note = session.source.note or f"values: {'critic ' * bool(name := session.source.values.name)}{name or 'those of the log'}"
    first = max(0, min(listing.at - session.page // 2, len(listing) - session.page))
    rows = [row(session, place) for place in range(first, min(len(listing), first + session.page))]
    rows = rows or [Text("  no episode is left: x lists all again")]
    return [title, Text(one_line(note), style="dim"), Text(HEADS, style="bold"), *rows]


def row(session: Session, place: int) -> Text:
    """A line of the list."""
    index = int(session.listing.rows[place])
    episode, here = session.source.log[index], place == session.listing.at
    drop, ended = session.listing.drop(index), ending(episode)
    line = Text(f"{'>' if here else ' '} {index:>8}  ", style="bold" if here else "")
    line.append(f"{one_line(ended):<16.16}", ENDS.get(ended[:4], ""))
    line.append(f" {len(episode.steps):>5} {number(drop) if drop == drop else '-':>6}  {episode.seed:>6}  {one_line(episode.task)}")
    return line


def help_lines(screen: Screen) -> list[Text]:
    """What every key of a screen does."""
    found = [Text(f" replay: the keys of this screen ({screen})", style="reverse")]
    for each in BINDINGS:
        if screen in each.screens:
            keys = " ".join(KEYS.get(key, key) for key in each.keys)
            found.append(Text.assemble((f"  {keys:<28}", "bold"), each.help))
    return [*found, Text("  any key goes back", style="dim")]


def _foot(session: Session, width: int) -> list[Text]:
    """What is asked, or the message; then the keys."""
    if session.asking:
        line = session.asking
        asked = Text.assemble((line.question, "bold"), " ", line.text[: line.cursor])
        asked.append(line.text[line.cursor : line.cursor + 1] or " ", "reverse")
        asked.append(line.text[line.cursor + 1 :])
        matches = "  ".join(line.matches[:20])
        return [asked, Text(one_line(matches), style="dim"), Text("enter does it, escape leaves it, tab completes", style="dim")]
    message = Text(visible(session.message), style="red" if session.message.partition(":")[0].endswith("Error") else "bold")
    lines = wrapped_words([each.label for each in BINDINGS if each.label and session.screen in each.screens], width)
    return [*message.wrap(console, width)[:3], *lines]


def wrapped_words(labels: Sequence[str], width: int) -> list[Text]:
    """The labels in lines; none is cut."""
    lines = [Text(style="dim")]
    for label in labels:
        key, _, what = label.partition(": ")
        if lines[-1] and lines[-1].cell_len + len(label) + 1 > width:
            lines.append(Text(style="dim"))
        lines[-1].append("  " if lines[-1] else "")
        lines[-1].append(key, "bold not dim").append(f" {what}")
    return lines


def _too_small(width: int, height: int) -> Text:
    said = f"replay needs {LEAST[0]} columns and {LEAST[1]} rows; here are {width} and {height}. Enlarge the window (q quits)."
    return Text("\n").join(Text(said).wrap(console, max(1, width))[: max(1, height)])
