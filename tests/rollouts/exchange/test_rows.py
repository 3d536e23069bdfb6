"""Other people's files, whatever they are packed in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rollouts.exchange.rows import rows_of

ROWS = [{"a": "é"}, {"a": [1]}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize(
    ("content", "places"),
    [
        (LINES, [":1", ":2"]),
        (b"\n \n" + LINES.replace(b"\n", b"\n\n"), [":3", ":5"]),
        (json.dumps(ROWS, indent=1).encode(), [": row 1", ": row 2"]),
        (b"\n" + json.dumps(ROWS).encode(), [": row 1", ": row 2"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_lines_and_arrays_are_read(tmp_path: Path, content: bytes, places: list[str], gzipped: bool) -> None:
    path = tmp_path / ("rows.json.gz" if gzipped else "rows.json")
    path.write_bytes(gzip.compress(content) if gzipped else content)
    assert list(rows_of(path)) == [(f"{path}{place}", row) for place, row in zip(places, ROWS, strict=False)]


def test_parquet_is_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra hub is not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra hub is not installed")
    pq.write_table(pa.table({"a": ["x", "y"]}), tmp_path / "rows.parquet")
    path = tmp_path / "rows.parquet"
    assert list(rows_of(path)) == [(f"{path}: row 1", {"a": "x"}), (f"{path}: row 2", {"a": "y"})]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("rows.jsonl", b'{"a": 1}\nnotes\n', r"rows.jsonl:2: .*; wanted JSON"),
        ("rows.jsonl", b'{"a": "\xff"}\n', r"rows.jsonl:1: .*; wanted JSON"),
        ("rows.jsonl", b'{"a": "\\ud800"}\n', r"rows.jsonl:1: .*; wanted JSON"),
        ("rows.json", b'[{"a": 1}', r"rows.json: .*; wanted JSON"),
        ("rows.json.gz", b"{}", "rows.json.gz: Not a gzipped file"),
        ("rows.parquet", b"{}", "rows.parquet is no Parquet file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the extra hub is not installed")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=fault):
        list(rows_of(tmp_path / name))
