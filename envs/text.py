"""A text space for any Unicode string, which vector environments carry between processes unchanged.

Gymnasium's `Text` has a fixed alphabet (no space character by default) and reads its shared memory once, as a constant.
Here a batch read from shared memory is a live view that is decoded when the vector environment copies it out.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from ctypes import c_uint8
from typing import Any, overload

import numpy as np
from gymnasium.spaces import Space
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

_HEADER = 4  # bytes of the length that stands before each text in shared memory
_WIDEST = 4  # bytes of the longest UTF-8 character

# What samples are drawn from: ASCII, Latin-1, Greek, mathematical signs, CJK, emoji. None of them holds a surrogate.
_BLOCKS = (
    (0x20, 0x7F),
    (0xA1, 0x100),
    (0x370, 0x378),
    (0x3B1, 0x3CA),
    (0x2200, 0x2270),
    (0x4E00, 0x4F00),
    (0x1F600, 0x1F640),
)


class UnicodeText(Space[str]):
    """All strings of up to `max_length` characters, lone surrogates excluded (they have no UTF-8 form).

    Shape () and dtype object, so that an object array of shape (n,) holds n of them. Async vector environments with
    shared memory reserve 4 bytes for each character of `max_length`.
    """

    def __init__(self, max_length: int = 2**16, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 0:
            raise ValueError(f"max_length={max_length}: wanted the largest number of characters, 0 or more")
        super().__init__(shape=(), dtype=np.dtype(object), seed=seed)  # pyright: ignore[reportArgumentType]
        self.max_length = max_length

    @property
    def is_np_flattenable(self) -> bool:
        """False: a text has no fixed-size array form."""
        return False

    def sample(self, mask: None = None, probability: None = None) -> str:
        """Draw a text of up to 64 characters, line breaks among them, from the space's own generator."""
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample takes neither a mask nor a probability: wanted None")
        length = int(self.np_random.integers(0, min(self.max_length, 64) + 1))
        blocks = self.np_random.integers(0, len(_BLOCKS) + 1, length)
        return "".join("\n" if b == len(_BLOCKS) else chr(self.np_random.integers(*_BLOCKS[b])) for b in blocks)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a string that fits."""
        return isinstance(x, str) and len(x) <= self.max_length and not any("\ud800" <= c <= "\udfff" for c in x)

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Return the texts as they are: JSON holds any of them."""
        return list(sample_n)

    def from_jsonable(self, sample_n: Iterable[Any]) -> list[str]:
        """Undo `to_jsonable`."""
        return [str(text) for text in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __repr__(self) -> str:
        return f"UnicodeText(max_length={self.max_length})"

    def __str__(self) -> str:
        # What stable-baselines3 prints of a space that it cannot train on; it asks for nothing else of ours before it gives up.
        return (
            f"{self!r} (texts: to train on them, wrap the environment in agents.features.ChoiceView, or make it with level='token')"
        )


class _LiveTexts(Sequence[str]):
    """n texts in shared memory, decoded when read; a deep copy, which a vector environment returns, is a tuple."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows  # uint8 (n, header + widest * max_length)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        row = self._rows[index]
        length = int(row[:_HEADER].view(np.uint32)[0])
        return row[_HEADER : _HEADER + length].tobytes().decode()

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}{tuple(self)!r}"


def _rows(space: UnicodeText, shared_memory: Any) -> np.ndarray:
    flat = np.frombuffer(shared_memory.get_obj(), dtype=np.uint8)
    return flat.reshape(-1, _HEADER + _WIDEST * space.max_length)


@create_shared_memory.register(UnicodeText)
def _create(space: UnicodeText, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array(c_uint8, n * (_HEADER + _WIDEST * space.max_length))


@write_to_shared_memory.register(UnicodeText)
def _write(space: UnicodeText, index: int, value: str, shared_memory: Any) -> None:
    if value not in space:
        length = f" of {len(value)} characters" if isinstance(value, str) else ""
        raise ValueError(
            f"an observation {type(value).__name__}{length} does not fit {space!r}: wanted a str without lone surrogates "
            f"of at most {space.max_length} characters; give the environment's observation space a larger max_length"
        )
    data = np.frombuffer(value.encode(), dtype=np.uint8)
    row = _rows(space, shared_memory)[index]
    row[:_HEADER].view(np.uint32)[0] = len(data)
    row[_HEADER : _HEADER + len(data)] = data


@read_from_shared_memory.register(UnicodeText)  # pyright: ignore[reportArgumentType]
def _read(space: UnicodeText, shared_memory: Any, n: int = 1) -> Sequence[str]:
    return _LiveTexts(_rows(space, shared_memory))
