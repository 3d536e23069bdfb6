"""A line that is being typed: what its keys do, and what completes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_toolkit.buffer import Buffer


class Line:
    """A question to the person at the terminal, and the answer so far.

    Args:
        question: what is asked.
        answered: called with the text when it is done.
        options: what completes it: Tab and the arrows go through those that hold every word typed.
        text: what stands there at first.
    """

    def __init__(self, question: str, answered: Callable[[str], None], options: Sequence[str] = (), text: str = "") -> None:
        self.question, self.answered, self.options = question, answered, options
        self._typed = text
        self._place = -1
        self._buffer = Buffer(multiline=False)
        self._buffer.insert_text(text)
        buffer = self._buffer
        self._moves: dict[str, Callable[[], object]] = {
            "left": buffer.cursor_left,
            "right": buffer.cursor_right,
            "home": lambda: buffer.cursor_left(len(buffer.text)),
            "end": lambda: buffer.cursor_right(len(buffer.text)),
            "backspace": buffer.delete_before_cursor,
            "delete": buffer.delete,
            "ctrl+u": lambda: buffer.delete_before_cursor(buffer.cursor_position),
            "ctrl+k": lambda: buffer.delete(len(buffer.text) - buffer.cursor_position),
            "ctrl+w": lambda: buffer.delete_before_cursor(-(buffer.document.find_start_of_previous_word() or 0)),
        }
        self._moves |= {"ctrl+a": self._moves["home"], "ctrl+e": self._moves["end"]}

    @property
    def text(self) -> str:
        """What is typed."""
        return self._buffer.text

    @property
    def cursor(self) -> int:
        """The place of the cursor, in characters."""
        return self._buffer.cursor_position

    @property
    def matches(self) -> list[str]:
        """The options that hold every word of what was typed."""
        words = self._typed.lower().split()
        return [option for option in self.options if all(word in option.lower() for word in words)]

    def press(self, key: str) -> None:
        """One key, other than those that end the line. Unknown ones do nothing."""
        if key in ("tab", "down", "up"):
            self._complete(-1 if key == "up" else 1)
        elif key in self._moves:
            self._moves[key]()
            self._typed, self._place = self.text, -1
        elif len(key) == 1 or key == "space":
            self._buffer.insert_text(" " if key == "space" else key)
            self._typed, self._place = self.text, -1

    def _complete(self, step: int) -> None:
        if matches := self.matches:
            self._place = (self._place + step) % len(matches) if self._place >= 0 or step > 0 else len(matches) - 1
            self._buffer.text = matches[self._place]
            self._buffer.cursor_position = len(self._buffer.text)
