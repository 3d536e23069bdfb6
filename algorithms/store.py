"""Rows on disk, so that a log of any size is learnt from in a memory that hardly grows with it.

A row in memory is a tuple of Python numbers for each of its fields, ten kilobytes and more; a stored one is its number. What is
asked of it is read from a file each time: reading, unlike mapping the file, leaves nothing in the process's memory.
"""

from __future__ import annotations

import tempfile
from array import array
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from algorithms.batch import Row

FIELDS = frozenset(field.name for field in fields(Row))


class RowStore:
    """Rows in a file without a name in `folder`: gone when nobody reads it any more, even where the process is killed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with the last row)
        self._starts = array("Q", [0])
        self._last: tuple[int, Row] | None = None
        self.lengths = array("L")
        self.solved = bytearray()

    def __len__(self) -> int:
        return len(self.lengths)

    def append(self, row: Row) -> None:
        """Write a row behind the others. Nothing may have been read before."""
        record = msgspec.msgpack.encode(row)
        self._file.write(record)
        self._starts.append(self._starts[-1] + len(record))
        self.lengths.append(len(row))
        self.solved.append(row.solved)

    def row(self, index: int) -> Row:
        """One row as it was."""
        if self._last is None or self._last[0] != index:  # a row is asked for one field after the other
            start, end = self._starts[index : index + 2]
            self._file.seek(start)
            self._last = index, msgspec.msgpack.decode(self._file.read(end - start), type=Row)
        return self._last[1]

    def rows(self) -> list[StoredRow]:
        """All rows."""
        return [StoredRow(self, index) for index in range(len(self))]


@dataclass(frozen=True, slots=True, repr=False)
class StoredRow:
    """A row that lies in a store, with the attributes of `Row`; `dataclasses.replace` changes its sign, or hides its logps."""

    store: RowStore
    index: int
    sign: int | None = None
    logged: bool = True
    """whether it has the log's log-probabilities, where the log has them"""

    def __len__(self) -> int:
        return self.store.lengths[self.index]

    @property
    def solved(self) -> bool:
        """As `Row.solved`."""
        return bool(self.store.solved[self.index])

    @property
    def logps(self) -> tuple[float, ...] | None:
        """As `Row.logps`."""
        return self.store.row(self.index).logps if self.logged else None

    def __getattr__(self, name: str) -> Any:
        if name not in FIELDS:
            raise AttributeError(f"rows have no {name!r}, only {', '.join(sorted(FIELDS))}")
        return getattr(self.store.row(self.index), name)

    def __repr__(self) -> str:
        """As `Row`'s: a run that was begun with rows in memory goes on with stored ones."""
        return repr(self.loaded())

    def loaded(self) -> Row:
        """The same row in memory."""
        return replace(self.store.row(self.index), sign=self.sign, logps=self.logps)
