"""Keys from a terminal, one at a time; what the terminal was before it is again afterwards, whatever happens."""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
import tty
from collections import deque
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn

from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress

NAMES = {
    "c-m": "enter",
    "c-j": "enter",
    "c-i": "tab",
    "c-h": "backspace",
    " ": "space",
}
ALONE = 0.05
"""Seconds after which an escape that nothing has followed is the key of that name."""


class Keyboard:
    """Reads keys while it is entered: no echo, no waiting for Enter; Ctrl-C still interrupts what is being done.

    A change of the terminal's size is the key "resize", its end the key "eof".
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._keys: deque[str] = deque()
        self._parser = Vt100Parser(self._pressed)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self) -> Keyboard:
        self._before = termios.tcgetattr(self.descriptor)
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP)}
        signal.signal(signal.SIGWINCH, self._resized)
        for number in (signal.SIGTERM, signal.SIGHUP):  # else the terminal would stay as it is now
            signal.signal(number, _exit)
        tty.setcbreak(self.descriptor)
        changed: list[Any] = termios.tcgetattr(self.descriptor)
        changed[6][termios.VSUSP] = b"\x00"  # Ctrl-Z would leave a shell with this terminal
        termios.tcsetattr(self.descriptor, termios.TCSANOW, changed)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._woken)
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(self.descriptor, termios.TCSANOW, self._before)

    def read(self) -> str:
        """Wait for the next key: a character, or a name such as "up", "enter", "ctrl+c"."""
        while not self._keys:
            ready, _, _ = select.select([self.descriptor, self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, 1024)
                return "resize"
            self._take()
        return self._keys.popleft()

    def _take(self) -> None:
        try:
            given = os.read(self.descriptor, 1024)
        except OSError:  # what was at the other end of the terminal is gone
            given = b""
        if not given:
            self._keys.append("eof")
            return
        self._parser.feed(self._decoder.decode(given))
        if not self._keys and not select.select([self.descriptor], [], [], ALONE)[0]:
            self._parser.flush()

    def _pressed(self, pressed: KeyPress) -> None:
        name = str(getattr(pressed.key, "value", pressed.key))
        if not name.startswith("<"):  # answers of the terminal, mouse events
            self._keys.append(NAMES.get(name, name.replace("c-", "ctrl+", 1) if name.startswith("c-") else name))

    def _resized(self, number: int, frame: FrameType | None) -> None:
        with suppress(BlockingIOError):  # so many are waiting already
            os.write(self._woken, b".")


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
