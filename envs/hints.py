"""The near match in error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def did_you_mean(got: object, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known names close to `got` (case aside), or "" where none is."""
    by_lower = {name.lower(): name for name in known}
    close = [by_lower[name] for name in get_close_matches(str(got).lower(), by_lower, n=3, cutoff=0.6)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def choose(argument: str, got: T, known: Iterable[T]) -> T:
    """Return `got` if it is one of `known`; else raise ValueError with the choices and the near match."""
    names = list(known)
    if got in names:
        return got
    raise ValueError(
        f"{argument}={got!r} is not known: wanted one of {', '.join(map(repr, names))}.{did_you_mean(got, map(str, names))}"
    )
