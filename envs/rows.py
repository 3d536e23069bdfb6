"""Reading the rows of a problem file: JSON lines, a JSON list, CSV (each plain or gzipped) and parquet.

Every error names the file, the line and the field.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeAlias

from envs.hints import choose, did_you_mean

FIELDS = ("question", "answer", "solution", "id", "choices", "level", "subject")
"""What a column can be read as."""

Columns: TypeAlias = Mapping[str, str | Sequence[str]]
"""Field -> the column it is read from, or columns that are joined by a space."""


@dataclass(frozen=True)
class Row:
    """One row, the path it was read from and where it stands there, and what its id begins with if it has none."""

    data: Mapping[str, Any]
    origin: str
    line: int
    prefix: str
    unit: str = "line"

    def text(self, *names: str) -> str:
        """Return the first of the fields `names` that is there; ValueError where none is, or it is no text."""
        found = self.optional(*names)
        if not found:
            keys = ", ".join(map(repr, self.data)) or "none"
            raise self.error(" or ".join(names), f"is missing or empty: wanted a text (the row has the fields {keys})")
        return found

    def optional(self, *names: str) -> str | None:
        """Return the first of the fields `names` that is there, or None; numbers as text, 145.0 as "145"."""
        for name in names:
            value = self.data.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise self.error(name, f"is {type(value).__name__} {str(value)[:60]!r}: wanted a text")
            return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        return None

    def id(self) -> str:
        """Return the row's own id, or one made of where it stands."""
        return self.optional("id", "unique_id") or self.numbered()

    def numbered(self) -> str:
        """Return an id made of where the row stands: "gsm8k/train/000001"."""
        return f"{self.prefix}/{self.line:06d}"

    def renamed(self, columns: Columns) -> Row:
        """Return the row with each field of `columns` read from its column; ValueError where one is not there."""
        fields: dict[str, Any] = {}
        for name, wanted in columns.items():
            parts = [wanted] if isinstance(wanted, str) else list(wanted)
            if missing := [part for part in parts if part not in self.data]:
                there = ", ".join(map(repr, self.data)) or "none"
                hint = did_you_mean(missing[0], self.data)
                raise self.error(name, f"is to be read from column {missing[0]!r}, which is missing: there are {there}.{hint}")
            texts = [self.optional(part) for part in parts]
            fields[name] = self.data[parts[0]] if len(parts) == 1 else " ".join(text for text in texts if text) or None
        return replace(self, data={**self.data, **fields})

    def error(self, name: str, what: str) -> ValueError:
        """Return the error of a field."""
        return ValueError(f"{self.origin}, {self.unit} {self.line}: field {name!r} {what}")


def read_rows(path: str | PathLike[str], prefix: str | None = None, columns: Columns | None = None) -> Iterator[Row]:
    """Yield the rows of a file. Ids begin with `prefix`, by default the file's name without its endings.

    Raises FileNotFoundError; ValueError for a file of another kind, one that is not whole or no UTF-8, rows that are no
    objects, and columns that are missing; ModuleNotFoundError for parquet without pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no problem file at {path}: wanted a {', '.join(ENDINGS)} file")
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if ending(path.name) is None:
        raise ValueError(f"{path} ends in none of {', '.join(ENDINGS)}: give the file the ending of what it holds")
    for name in columns or {}:
        choose("field of columns", name, FIELDS)
    unit, read = _READERS[kind]
    try:
        for number, row in read(path):
            found = Row(row, str(path), number, prefix or path.name.split(".")[0], unit)
            yield found.renamed(columns) if columns else found
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}): wanted UTF-8, gzipped if the name ends in .gz") from error


def ending(name: str) -> str | None:
    """Return which of `ENDINGS` a file's name has, or None."""
    return next((end for end in ENDINGS if name.lower().endswith(end)), None)


def _open(path: Path) -> IO[str]:
    # utf-8-sig: spreadsheets begin their CSV with a byte order mark.
    opened = gzip.open if path.suffix == ".gz" else open
    return opened(path, "rt", encoding="utf-8-sig", newline="")  # type: ignore[return-value]


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _object(_parsed(line, f"{path}, line {number}", "one JSON object on each line"), path, "line", number)


def _json_list(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with _open(path) as file:
        rows = _parsed(file.read(), str(path), "a JSON list of objects")
    if not isinstance(rows, list):
        raise ValueError(f"{path}: a JSON {type(rows).__name__}: wanted a list of objects")
    for number, row in enumerate(rows, 1):
        yield number, _object(row, path, "row", number)


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with _open(path) as file:
        lines = csv.reader(file, strict=True)
        header = next(lines, [])
        for cells in filter(None, lines):
            if len(cells) != len(header):
                raise ValueError(f"{path}, line {lines.line_num}: {len(cells)} cells: wanted {len(header)}, as the first line has")
            yield lines.line_num, {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow  # heavy, and needed only here
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} is parquet, which needs the package pyarrow: pip install 'reasoning-gym-offline[hub]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            batches = file.iter_batches()
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}") from error


def _parsed(text: str, where: str, wanted: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}): wanted {wanted}") from error


def _object(row: Any, path: Path, unit: str, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{path}, {unit} {number}: a JSON {type(row).__name__}: wanted an object with the fields of one problem")
    return row


_READERS: dict[str, tuple[str, Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]]] = {
    "jsonl": ("line", _json_lines),
    "json": ("row", _json_list),
    "csv": ("line", _csv),
    "parquet": ("row", _parquet),
}
"""Ending -> what a row's number counts, and the reader."""

ENDINGS = (".jsonl.gz", ".jsonl", ".json.gz", ".json", ".parquet", ".csv.gz", ".csv")


def row_of(item: object, index: int, columns: Columns | None = None) -> Row:
    """Return the Row of an item of a list; ValueError where it is no mapping."""
    if not isinstance(item, Mapping):
        raise ValueError(f"problems[{index}] is a {type(item).__name__}: wanted a Problem or a dict with the fields of one")
    row = Row(item, "problems", index, "problems")
    return row.renamed(columns) if columns else row
