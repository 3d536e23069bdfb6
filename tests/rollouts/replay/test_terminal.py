"""Keys of a terminal, by a pseudo-terminal."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterator

import pytest

from rollouts.replay.terminal import Keyboard


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The end that types, and the end that is read."""
    typist, reader = os.openpty()
    yield typist, reader
    os.close(reader)


def read(terminal: tuple[int, int], sent: bytes, count: int) -> list[str]:
    with Keyboard(terminal[1]) as keys:
        os.write(terminal[0], sent)
        return [keys.read() for _ in range(count)]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"\x1b[A\x1b[B\x1bOC\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F\x1b[3~", ["pageup", "pagedown", "home", "end", "delete"]),
        (b"\r\n\t \x7f", ["enter", "enter", "tab", "space", "backspace"]),
        (b"aG?\x04\x17", ["a", "G", "?", "ctrl+d", "ctrl+w"]),
        ("ü日".encode(), ["ü", "日"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[24;80Ra", ["a"]),  # where the cursor is, which a terminal was asked
    ],
)
def test_keys_have_names(terminal: tuple[int, int], sent: bytes, expected: list[str]) -> None:
    assert read(terminal, sent, len(expected)) == expected
    os.close(terminal[0])


def test_the_end_of_the_terminal_is_a_key(terminal: tuple[int, int]) -> None:
    with Keyboard(terminal[1]) as keys:
        os.close(terminal[0])
        assert keys.read() == "eof"


def test_a_change_of_size_is_a_key(terminal: tuple[int, int]) -> None:
    with Keyboard(terminal[1]) as keys:
        signal.raise_signal(signal.SIGWINCH)
        assert keys.read() == "resize"
    os.close(terminal[0])


@pytest.mark.parametrize("fault", [None, KeyboardInterrupt, ValueError])
def test_the_terminal_is_as_it_was(terminal: tuple[int, int], fault: type[BaseException] | None) -> None:
    before, handler = termios.tcgetattr(terminal[1]), signal.getsignal(signal.SIGWINCH)
    try:
        with Keyboard(terminal[1]):
            assert not termios.tcgetattr(terminal[1])[3] & (termios.ECHO | termios.ICANON)
            if fault:
                raise fault
    except (KeyboardInterrupt, ValueError):
        pass
    assert termios.tcgetattr(terminal[1]) == before
    assert signal.getsignal(signal.SIGWINCH) == handler
    os.close(terminal[0])


def test_being_terminated_restores_it_too(terminal: tuple[int, int]) -> None:
    before = termios.tcgetattr(terminal[1])
    with pytest.raises(SystemExit) as end, Keyboard(terminal[1]):
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 128 + signal.SIGTERM
    assert termios.tcgetattr(terminal[1]) == before
    os.close(terminal[0])
