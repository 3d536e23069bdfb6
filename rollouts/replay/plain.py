"""The list, or one episode whole, as plain text: for pipes, files, terminals that can do no more."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from rollouts.replay.episode_view import detail, head, table
from rollouts.replay.session import Heat, Session
from rollouts.replay.views import HEADS, row


def listed(session: Session) -> Iterator[str]:
    """The listed episodes, one a line."""
    yield HEADS.strip()
    for place in range(len(session.listing)):
        yield row(session, place).plain[2:].strip()


def episode(session: Session, width: int) -> Iterator[str]:
    """The episode that the session shows: the table of its steps, then each step's text. Values of tokens are digits."""
    shown, session.heat = session.episode, Heat.DIGITS
    for line in head(session, width):
        yield line.plain.strip()
    if shown.reading.source:
        yield "digits below an action: tenths of V before each token (7 is 0.7 to 0.8, - below 0, + from 1)"
    yield from (_right(line) for line in table(shown, -1, width, shown.positions))
    for session.step in range(max(1, len(shown.trajectory.steps))):
        yield ""
        yield f"step {session.step + 1}"
        yield from (_right(line) for line in detail(session, width))


def _right(line: Text) -> str:
    return line.plain.rstrip()
