"""Reading problem files: JSON lines, plain or gzipped, with the file, the line and the field in every error."""

from __future__ import annotations

import functools
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, cast

from envs.hints import choose, did_you_mean
from envs.problems import Listed, Problem, ProblemSet

DATA_VARIABLE = "REASONING_DATA"

Problems: TypeAlias = str | PathLike[str] | Sequence[Problem | Mapping[str, Any]]
"""A generator or data set by name, a file by path, or a list of problems or rows."""


@dataclass(frozen=True)
class Row:
    """One row, the path it was read from and its line (for errors), and what its id begins with if it has none."""

    data: Mapping[str, Any]
    origin: str
    line: int
    prefix: str

    def text(self, *names: str) -> str:
        """Return the first of the fields `names` that is there; ValueError where none is, or it is no text."""
        found = self.optional(*names)
        if not found:
            keys = ", ".join(map(repr, self.data)) or "none"
            raise self.error(" or ".join(names), f"is missing or empty: wanted a text (the row has the fields {keys})")
        return found

    def optional(self, *names: str) -> str | None:
        """Return the first of the fields `names` that is there, numbers as text, or None."""
        for name in names:
            value = self.data.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise self.error(name, f"is {type(value).__name__} {str(value)[:60]!r}: wanted a text")
            return str(value)
        return None

    def id(self) -> str:
        """Return the row's own id, or one made of where it stands."""
        return self.optional("id", "unique_id") or f"{self.prefix}/{self.line:06d}"

    def error(self, name: str, what: str) -> ValueError:
        """Return the error of a field."""
        return ValueError(f"{self.origin}, line {self.line}: field {name!r} {what}")


@dataclass(frozen=True, eq=False)
class Source:
    """A published data set: its folder, the file stem of each split, and (repository, configuration) on the hub.

    `skip` holds the lines (from 1) of a split that are known to be broken as published.
    """

    folder: str
    files: Mapping[str, str]
    hub: tuple[str, str]
    skip: Mapping[str, frozenset[int]] = field(default_factory=dict)


def is_path(name: str | PathLike[str]) -> bool:
    """Return whether `name` means a file and not a data set: a path object, or text that looks like a path."""
    return not isinstance(name, str) or "/" in name or os.sep in name or name.endswith((".jsonl", ".jsonl.gz"))


def read_rows(path: str | PathLike[str], prefix: str | None = None) -> Iterator[Row]:
    """Yield the rows of a JSON-lines file. Ids begin with `prefix`, by default the file's name without its endings.

    Raises FileNotFoundError, or ValueError for a file that is no UTF-8 text, no whole gzip file or no JSON objects.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no problem file at {path}: wanted a .jsonl or .jsonl.gz file with one problem on each line")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield Row(_object(line, path, number), str(path), number, prefix or path.name.split(".")[0])
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({error}): wanted UTF-8 JSON lines, gzipped if the name ends in .gz") from error


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}, line {number}: not JSON ({error}): wanted one JSON object on each line") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: a JSON {type(row).__name__}: wanted an object with the fields of one problem")
    return row


def load_problems(
    problems: Problems,
    split: str,
    data_dir: str | PathLike[str] | None,
    generators: Mapping[str, Callable[..., ProblemSet]],
    sources: Mapping[str, Source],
    problem_of: Callable[[Row], Problem],
    **options: Any,
) -> ProblemSet:
    """Return the problems of a generator, a published data set, a file or a list; `options` go to the generator.

    Raises ValueError for an unknown name or split (with the near match), for options that no generator takes and for
    malformed rows (with file, line and field), and FileNotFoundError where a data set is neither on disk nor to be had
    from the hub.
    """
    if isinstance(problems, str) and problems in generators:
        return generators[problems](split, **options)
    if options:
        takes = " or ".join(map(repr, generators))
        raise ValueError(f"{', '.join(options)}: wanted only with problems={takes}, and problems is {problems!r}; leave them out")
    if isinstance(problems, str) and problems in sources:
        return _published(problems, sources[problems], split, data_dir, problem_of)
    if isinstance(problems, str | PathLike):
        if is_path(problems):
            return _listed(Path(problems), None, frozenset(), problem_of)
        names = [*generators, *sources]
        raise ValueError(
            f"unknown problem source {problems!r}: wanted one of {', '.join(names)}, the path of a .jsonl or .jsonl.gz "
            f"file, or a list."
            f"{did_you_mean(problems, names)}"
        )
    return Listed(p if isinstance(p, Problem) else problem_of(_listed_row(p, i)) for i, p in enumerate(problems))


def _listed_row(row: object, index: int) -> Row:
    if not isinstance(row, Mapping):
        raise ValueError(f"problems[{index}] is a {type(row).__name__}: wanted a Problem or a dict with the fields of one")
    return Row(row, "problems", index, "problems")


def _published(
    name: str, source: Source, split: str, data_dir: str | PathLike[str] | None, problem_of: Callable[[Row], Problem]
) -> Listed:
    stem = source.files[choose(f"split of {name!r}", split, source.files)]
    folder = data_dir or os.environ.get(DATA_VARIABLE)
    wanted = Path(folder) / source.folder / f"{stem}.jsonl.gz" if folder else f"${DATA_VARIABLE} (not set)"
    for path in (wanted, wanted.with_suffix("")) if isinstance(wanted, Path) else ():
        if path.is_file():
            return _listed(path, f"{name}/{split}", source.skip.get(split, frozenset()), problem_of)
    return _hub(name, source, split, str(wanted), problem_of)


def _listed(path: Path, prefix: str | None, skip: frozenset[int], problem_of: Callable[[Row], Problem]) -> Listed:
    """A file's problems but for the lines `skip`; many environments of one process share what was read."""
    if not path.is_file():
        return Listed(map(problem_of, read_rows(path)), str(path))  # says what is wrong
    return _read_once(path, path.stat().st_mtime_ns, path.stat().st_size, prefix, skip, problem_of)


@functools.lru_cache(maxsize=8)
def _read_once(
    path: Path, _modified: int, _size: int, prefix: str | None, skip: frozenset[int], problem_of: Callable[[Row], Problem]
) -> Listed:
    return Listed((problem_of(row) for row in read_rows(path, prefix) if row.line not in skip), str(path))


@functools.lru_cache(maxsize=8)
def _hub(name: str, source: Source, split: str, looked: str, problem_of: Callable[[Row], Problem]) -> Listed:
    rows = _hub_rows(name, source, split, looked)
    skip = source.skip.get(split, frozenset())
    return Listed((problem_of(row) for row in rows if row.line not in skip), source.hub[0])


def _hub_rows(name: str, source: Source, split: str, looked: object) -> Iterator[Row]:
    repository, configuration = source.hub
    try:
        import datasets  # heavy, and needed only here

        rows = datasets.load_dataset(repository, configuration, split={"valid": "validation"}.get(split, split))
    except Exception as error:  # whatever the network, the hub or its libraries raise, the way out is the same
        raise FileNotFoundError(
            f"problems {name!r}, split {split!r}, are neither at {looked} nor to be had from the Hugging Face hub as "
            f"{repository} ({type(error).__name__}: {str(error)[:200]}). Set ${DATA_VARIABLE} (or data_dir=) to a "
            f"folder that holds {source.folder}/{source.files[split]}.jsonl.gz, or connect to the hub; the default "
            "problems need neither"
        ) from error
    for number, row in enumerate(cast(Iterable[Mapping[str, Any]], rows), 1):
        yield Row(row, repository, number, f"{name}/{split}")
