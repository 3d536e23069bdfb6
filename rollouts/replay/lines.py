"""Lines of a screen: what a log says made harmless, wrapped, marked by value."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.text import Text

from rollouts.progress import console
from rollouts.step_reading import StepReading

LOW, MIDDLE, HIGH = (214, 84, 48), (250, 232, 170), (60, 130, 200)
"""Colours of V = 0, 1/2, 1 and between: told apart by the colour-blind, too."""
BLOCKS = " ▏▎▍▌▋▊▉█"
# Whatever moves the cursor, colours or turns round: a log comes from anywhere, and must not steer a terminal.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """A text that only prints: control characters are spelled out, tabs are spaces."""
    return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\r\n", "\n").replace("\t", "    "))


def one_line(text: str) -> str:
    """A text on one line, without the breaks at its ends."""
    return visible(" ⏎ ".join(text.strip().split("\n")))


def number(value: float | None, sign: str = "") -> str:
    """Two decimals, or a dash."""
    return "-" if value is None else f"{value:{sign}.2f}"


def bar(value: float | None, width: int) -> str:
    """V from 0 to 1 as a bar of `width` cells."""
    eighths = 0 if value is None else round(min(max(value, 0.0), 1.0) * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + BLOCKS[part].strip()).ljust(width)


def digit(value: float) -> str:
    """Tenths of V: 7 is from 0.7 to 0.8; - is below 0, + is 1 and above."""
    return "-" if value < 0 else "+" if value >= 1 else str(int(value * 10))


def colour(value: float) -> Style:
    """The background that stands for V, and a letter colour that can be read on it."""
    at = min(max(value, 0.0), 1.0) * 2
    low, high, share = (LOW, MIDDLE, at) if at < 1 else (MIDDLE, HIGH, at - 1)
    mixed = [round(a + (b - a) * share) for a, b in zip(low, high, strict=True)]
    return Style(color=Color.from_rgb(0, 0, 0), bgcolor=Color.from_rgb(*mixed))


def wrapped(text: Text, width: int) -> list[Text]:
    """The text in lines of at most `width` cells."""
    return list(text.wrap(console, max(width, 1))) or [Text()]


def coloured(reading: StepReading, width: int) -> list[Text]:
    """A step's tokens, each on the colour of V before it."""
    line = Text()
    for text, value in _tokens(reading):
        line.append(text, None if value is None else colour(value))
    return wrapped(line, width)


def digits(reading: StepReading, width: int) -> list[Text]:
    """A step's tokens, and under each of their cells the tenths of V before it."""
    found: list[Text] = []
    said, marks = Text(), Text(style="dim")
    for text, value in _tokens(reading):
        for character in text:
            cells = cell_len(character)
            if character == "\n" or len(marks) + cells > width:
                found += [said, marks]
                said, marks = Text(), Text(style="dim")
            if character != "\n":
                said.append(character)
                marks.append((" " if value is None else digit(value)) * cells)
    return [*found, said, marks]


def _tokens(reading: StepReading) -> list[tuple[str, float | None]]:
    """Tokens and V before them; a line break is shown, and breaks the line unless it is the last."""
    values = reading.values or (None,) * len(reading.texts)
    shown = [visible(text).replace("\n", "⏎\n") for text in reading.texts]
    last = next((place for place in reversed(range(len(shown))) if shown[place]), None)
    if last is not None:
        shown[last] = shown[last].removesuffix("\n")
    return list(zip(shown, values, strict=True))
