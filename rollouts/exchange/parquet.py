"""Rollout logs as Parquet that `datasets` reads: one row an episode, its steps nested.

    python -m rollouts.export parquet rollouts.jsonl --out rollouts.parquet
    python -m rollouts.convert parquet rollouts.parquet --out rollouts.jsonl

    datasets.load_dataset("parquet", data_files="rollouts.parquet")

The columns are the fields of an episode and `header`, the JSON of the header that speaks for it (Parquet keeps a repeated text
once). A step's `info` is JSON too, since its keys differ from step to step; everything else is a column of its own type. Nothing
is lost but headers without an episode and repetitions of one header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import tyro

from rollouts.exchange.files import Count, logged, need, watched, whole, write_log
from rollouts.trajectory import VERSION, Header, LogError, Trajectory, decode_line, fault_of

ROWS = 500
"""Episodes of a row group, which is what is in memory at a time."""


@dataclass(frozen=True)
class Export:
    """Write a log as Parquet."""

    log: tyro.conf.Positional[Path]
    """the log"""
    out: Path
    """the Parquet file"""


@dataclass(frozen=True)
class Import:
    """Read Parquet files that rollouts.export wrote, or `datasets` from them."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """.parquet files"""
    out: Path
    """the log"""


def schema(pa: Any) -> Any:
    """The columns."""
    step = pa.struct(
        [
            pa.field("observation", pa.string(), nullable=False),
            pa.field("action", pa.string(), nullable=False),
            pa.field("reward", pa.float64(), nullable=False),
            ("tokens", pa.list_(pa.int64())),
            ("logps", pa.list_(pa.float64())),
            ("value", pa.float64()),
            ("target", pa.float64()),
            pa.field("info", pa.string(), nullable=False),
        ]
    )
    types = {
        "env_id": pa.string(),
        "task": pa.string(),
        "seed": pa.int64(),
        "steps": pa.list_(step),
        "end": pa.string(),
        "agent": pa.string(),
        "version": pa.int64(),
        "final": pa.string(),
        "header": pa.string(),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])


def to_parquet(args: Export) -> Count:
    """Write the file, whole or not at all.

    Raises:
        ValueError: pyarrow is not installed, `out` is there, or a number that has no 64 bits.
        LogError: as `rollouts.trajectory.read`.
    """
    pa, pq = need("pyarrow", "hub"), need("pyarrow.parquet", "hub")
    count, columns, waiting = Count(), schema(pa), logged(args.log, "exported")
    with whole(args.out) as aside, pq.ParquetWriter(aside, columns, compression="zstd") as file:
        while group := list(islice(waiting, ROWS)):
            try:
                file.write_table(pa.Table.from_pylist([_row(*episode) for episode in group], columns))
            except (pa.ArrowInvalid, OverflowError) as error:
                raise ValueError(f"{args.log}: {error}; a seed and a token must fit in 64 bits") from error
            for _, trajectory in group:
                count.add(trajectory)
    return count


def _row(header: Header, trajectory: Trajectory) -> dict[str, Any]:
    steps = [
        {field: getattr(step, field) for field in step.__struct_fields__} | {"info": msgspec.json.encode(step.info).decode()}
        for step in trajectory.steps
    ]
    row = {field: getattr(trajectory, field) for field in trajectory.__struct_fields__}
    return row | {"steps": steps, "end": trajectory.end.value, "header": header.encode().decode().strip()}


def from_parquet(args: Import) -> Count:
    """Write the log, whole or not at all.

    Raises:
        ValueError: pyarrow is not installed, `out` is there, or a file is no Parquet or has other columns (which ones).
        LogError: a row that is no episode, with file, row and field.
    """
    pa, pq = need("pyarrow", "hub"), need("pyarrow.parquet", "hub")
    files = []
    for path in args.files:
        try:
            files.append((path, pq.ParquetFile(path)))
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path} is no Parquet file: {error}") from error
    rows = (row for path, file in files for row in _rows(path, file, pa))
    return write_log(args.out, watched("imported", rows, sum(file.metadata.num_rows for _, file in files)))


def _rows(path: Path, file: Any, pa: Any) -> Iterator[tuple[Header, Trajectory]]:
    columns, there = schema(pa), file.schema_arrow.names
    if set(there) != set(columns.names):
        lacking, strange = sorted(set(columns.names) - set(there)), sorted(set(there) - set(columns.names))
        raise ValueError(
            f"{path} lacks the columns {lacking} and has {strange} instead: wanted those that "
            "python -m rollouts.export parquet writes"
        )
    number = 0
    for batch in file.iter_batches(ROWS):
        for row in batch.to_pylist():
            number += 1
            yield _episode(row, f"{path}: row {number}")


def _episode(row: dict[str, Any], where: str) -> tuple[Header, Trajectory]:
    text = row.pop("header")
    header = decode_line(str(text).encode(), f"{where}, column 'header'", first=True)
    assert isinstance(header, Header)  # `decode` wants one there
    try:
        for step in row["steps"] or ():
            if step and isinstance(step.get("info"), str):
                step["info"] = msgspec.json.decode(step["info"])
        trajectory = msgspec.convert(row, Trajectory)
    except msgspec.DecodeError as error:
        raise LogError(f"{where}: {error}") from error
    if trajectory.version != VERSION:
        raise LogError(f"{where}: version {trajectory.version}, wanted {VERSION}")
    if fault := fault_of(trajectory):
        raise LogError(f"{where}: {fault}")
    return header, trajectory
