"""The loop of the console: shows the session, waits for a key, gives it to the table of keys."""

from __future__ import annotations

import warnings
from typing import Protocol

from rich.console import Console

from rollouts.replay.keys import press
from rollouts.replay.session import Session
from rollouts.replay.views import LEAST, frame

QUITS = ("q", "ctrl+c", "ctrl+d", "eof")
"""Keys that end a session in a window that is too small to show it."""


class Keys(Protocol):
    """Where keys come from: `rollouts.replay.terminal.Keyboard`."""

    def read(self) -> str:
        """Wait for the next key."""
        ...


def interact(session: Session, keys: Keys, console: Console) -> None:
    """Show the session on a terminal until it is over. Ctrl-C stops a command that takes long, or else the session."""
    with console.screen() as screen, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unfinished last line was said when the log was opened
        session.refresh = lambda: screen.update(frame(session, console.width, console.height))
        while not session.over:
            _next(session, keys, console)


def _next(session: Session, keys: Keys, console: Console) -> None:
    """Show the session, and do what the next key asks for. Interrupted while it only shows and waits, it is left."""
    try:
        session.refresh()
        while (key := keys.read()) == "resize":
            session.refresh()
    except KeyboardInterrupt:
        key = "ctrl+c"
    if console.width < LEAST[0] or console.height < LEAST[1]:
        session.over = key in QUITS
        return
    try:
        press(session, key)
    except KeyboardInterrupt:
        session.message = "stopped; what was read is kept"
