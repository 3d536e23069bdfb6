"""Where problems come from: a generator, a published data set (files, else the Hugging Face hub), a file, a list."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, cast

from envs.hints import choose, did_you_mean
from envs.problems import Listed, Problem, ProblemSet, split_of
from envs.rows import ENDINGS, FIELDS, Columns, Row, ending, read_rows, row_of

DATA_VARIABLE = "REASONING_DATA"

Problems: TypeAlias = str | PathLike[str] | Sequence[Problem | Mapping[str, Any]]
"""A generator or data set by name, a file by path, or a list of problems or rows."""

Reader: TypeAlias = Callable[[Row], Problem | None]
"""Makes a problem of a row, or None of one that is no problem of this kind."""


@dataclass(frozen=True)
class Hub:
    """A data set on the Hugging Face hub: its repository, its configuration and its own names of the splits."""

    repository: str
    configuration: str = "default"
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    columns: Columns | None = None  # where they are other than the files'


@dataclass(frozen=True, eq=False)
class Source:
    """A published data set: the file of each split without its ending, under the data folder, and where the hub has it.

    `skip` holds the lines (from 1) of a split that are known to be broken as published. A set whose only split is "all"
    is dealt to train, valid and test by the hash of each problem's text, which keeps copies of a problem together (see
    `envs.problems.split_of`).
    """

    read: Reader
    files: Mapping[str, str] = field(default_factory=dict)
    hub: Hub | None = None
    columns: Columns | None = None
    skip: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @property
    def dealt(self) -> bool:
        """Whether the set has no splits of its own."""
        return "all" in self.files

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are, in the files or on the hub."""
        found = {**self.files, **(self.hub.splits if self.hub else {})}
        return tuple(split for split in ("train", "valid", "test") if self.dealt or split in found)

    def stored(self, split: str) -> str:
        """Return the split under which problems of `split` are stored."""
        return "all" if self.dealt else split


def is_path(name: str | PathLike[str]) -> bool:
    """Return whether `name` means a file and not a data set: a path object, or text that looks like a path."""
    return not isinstance(name, str) or "/" in name or os.sep in name or ending(name) is not None


def load_problems(
    problems: Problems,
    split: str,
    data_dir: str | PathLike[str] | None,
    generators: Mapping[str, Callable[..., ProblemSet]],
    sources: Mapping[str, Source],
    read: Reader,
    columns: Columns | None = None,
    **options: Any,
) -> ProblemSet:
    """Return the problems of a generator, a published data set, a file or a list.

    `read` makes a problem of a row of a file or a list, whose fields are renamed by `columns`; `options` go to the
    generator. Raises ValueError for an unknown name or split (with the near match), for arguments that do not belong to
    this kind of source and for malformed rows (with file, line and field), FileNotFoundError where a data set is neither
    on disk nor to be had from the hub, and ModuleNotFoundError for parquet without pyarrow.
    """
    named = isinstance(problems, str) and (problems in generators or problems in sources)
    if columns and named:
        raise ValueError(f"columns is wanted only with a file or a list, and problems is {problems!r}: leave it out")
    for name in columns or {}:
        choose("field of columns", name, FIELDS)
    if isinstance(problems, str) and problems in generators:
        return generators[problems](split, **options)
    if options:
        takes = " or ".join(map(repr, generators))
        raise ValueError(f"{', '.join(options)}: wanted only with problems={takes}, and problems is {problems!r}; leave them out")
    if isinstance(problems, str) and problems in sources:
        return _published(problems, sources[problems], split, data_dir)
    if isinstance(problems, str | PathLike):
        if is_path(problems):
            return _of_file(Path(problems), None, read, columns)
        names = [*generators, *sources]
        raise ValueError(
            f"unknown problem source {problems!r}: wanted one of {', '.join(names)}, the path of a "
            f"{', '.join(ENDINGS)} file, or a list.{did_you_mean(str(problems).partition(':')[0], names)}"
        )
    made = (p if isinstance(p, Problem) else read(row_of(p, i, columns)) for i, p in enumerate(problems))
    return Listed(problem for problem in made if problem is not None)


def locate(source: Source, split: str, data_dir: str | PathLike[str] | None) -> tuple[Path | None, str]:
    """Return the file of a split, None where it is not on disk, and where it was looked for, "" where none is known."""
    folder = data_dir or os.environ.get(DATA_VARIABLE)
    stem = source.files.get(source.stored(split))
    if stem is None:
        return None, ""
    if not folder:
        return None, f"${DATA_VARIABLE} (not set)"
    paths = [Path(folder) / f"{stem}{end}" for end in ENDINGS]
    return next((path for path in paths if path.is_file()), None), str(paths[0])


def _published(name: str, source: Source, split: str, data_dir: str | PathLike[str] | None) -> Listed:
    choose(f"split of {name!r}", split, source.splits)
    path, looked = locate(source, split, data_dir)
    stored = source.stored(split)
    if path is None:
        found = _of_hub(name, source, stored if source.dealt else split, looked)
    else:
        found = _of_file(path, name if source.dealt else f"{name}/{split}", source.read, source.columns, source.skip.get(stored))
    return Listed((p for p in found if split_of(p.question) == split), name) if source.dealt else found


def _read(rows: Iterable[Row], read: Reader, skip: frozenset[int] | None = None) -> Iterator[Problem]:
    for row in rows:
        if row.line not in (skip or ()) and (problem := read(row)) is not None:
            yield problem


def _of_file(
    path: Path, prefix: str | None, read: Reader, columns: Columns | None = None, skip: frozenset[int] | None = None
) -> Listed:
    """A file's problems but for the lines `skip`; many environments of one process share what was read."""
    if not path.is_file():
        return Listed(_read(read_rows(path), read), str(path))  # says what is wrong
    mapping = tuple((name, column if isinstance(column, str) else tuple(column)) for name, column in (columns or {}).items())
    return _read_once(path, path.stat().st_mtime_ns, path.stat().st_size, prefix, read, mapping, skip)


@functools.lru_cache(maxsize=8)
def _read_once(
    path: Path,
    _modified: int,
    _size: int,
    prefix: str | None,
    read: Reader,
    columns: tuple[tuple[str, str | tuple[str, ...]], ...],
    skip: frozenset[int] | None,
) -> Listed:
    return Listed(_read(read_rows(path, prefix, dict(columns)), read, skip), str(path))


@functools.lru_cache(maxsize=8)
def _of_hub(name: str, source: Source, split: str, looked: str) -> Listed:
    return Listed(_read(_hub_rows(name, source, split, looked), source.read, source.skip.get(split)), name)


def _hub_rows(name: str, source: Source, split: str, looked: str) -> Iterator[Row]:
    hub, stem = source.hub, source.files.get(split)
    missing = f"problems {name!r}, split {split!r}, are"
    way_out = f"Set ${DATA_VARIABLE} (or data_dir=) to a folder that holds {stem}{ENDINGS[0]}"
    if hub is None:
        raise FileNotFoundError(f"{missing} not at {looked}, and no hub is known to have them. {way_out}")
    try:
        import datasets  # heavy, and needed only here

        rows = datasets.load_dataset(hub.repository, hub.configuration, split=hub.splits[split])
    except Exception as error:  # whatever the network, the hub or its libraries raise, the way out is the same
        raise FileNotFoundError(
            f"{missing} {f'neither at {looked} nor' if stem else 'not'} to be had from the Hugging Face hub as "
            f"{hub.repository} ({type(error).__name__}: {str(error)[:200]}). {f'{way_out}, or connect' if stem else 'Connect'} "
            "to the hub; the default problems need neither"
        ) from error
    prefix = name if source.dealt else f"{name}/{split}"
    for number, data in enumerate(cast(Iterable[Mapping[str, Any]], rows), 1):
        row = Row(data, hub.repository, number, prefix, "row")
        columns = hub.columns or source.columns
        yield row.renamed(columns) if columns else row
