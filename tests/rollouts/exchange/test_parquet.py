"""Parquet keeps all of a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from rollouts.exchange.parquet import ROWS, Export, Import, from_parquet, to_parquet
from rollouts.trajectory import Header, LogError, Trajectory
from tests.rollouts.logs import HEADERS, lines, logs, maths_log, write

pa = pytest.importorskip("pyarrow", reason="the extra hub is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="the extra hub is not installed")


def there_and_back(folder: Path) -> list[Header | Trajectory]:
    to_parquet(Export(folder / "log.jsonl", folder / "log.parquet"))
    from_parquet(Import((folder / "log.parquet",), folder / "back.jsonl"))
    return lines(folder / "back.jsonl")


@given(logs())
def test_any_log_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, log: list[Header | Trajectory]) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    write(folder / "log.jsonl", log)
    assert there_and_back(folder) == log


def test_an_experts_log_comes_back_to_the_byte(tmp_path: Path) -> None:
    log = maths_log(tmp_path / "log.jsonl")
    there_and_back(tmp_path)
    assert (tmp_path / "back.jsonl").read_bytes() == log.read_bytes()


def test_a_long_log_is_written_in_row_groups(tmp_path: Path) -> None:
    header, episode, *_ = lines(maths_log(tmp_path / "short.jsonl", 1))
    write(tmp_path / "log.jsonl", [header, *[episode] * (ROWS + 1)])
    assert there_and_back(tmp_path) == [header, *[episode] * (ROWS + 1)]
    about = pq.ParquetFile(tmp_path / "log.parquet").metadata
    assert [about.row_group(i).num_rows for i in range(about.num_row_groups)] == [ROWS, 1]


def test_datasets_reads_it_and_what_it_writes_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    log = lines(maths_log(tmp_path / "log.jsonl"))
    to_parquet(Export(tmp_path / "log.jsonl", tmp_path / "log.parquet"))
    table = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "log.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [row["steps"][0]["action"] for row in table] == [t.steps[0].action for t in log if isinstance(t, Trajectory)]
    table.select(range(3)).to_parquet(str(tmp_path / "three.parquet"))
    from_parquet(Import((tmp_path / "three.parquet",), tmp_path / "three.jsonl"))
    assert lines(tmp_path / "three.jsonl") == log[:4]


def changed(tmp_path: Path, **columns: Any) -> Path:
    """An exported log of two episodes with some columns set, or without those that are None."""
    maths_log(tmp_path / "log.jsonl", 1)
    to_parquet(Export(tmp_path / "log.jsonl", tmp_path / "log.parquet"))
    content = pq.read_table(tmp_path / "log.parquet").to_pydict() | columns
    pq.write_table(pa.table({k: v for k, v in content.items() if v is not None}), tmp_path / "changed.parquet")
    return tmp_path / "changed.parquet"


STEP = {"observation": "o", "action": "a", "reward": 1.0, "info": "{}"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"seed": None}, r"lacks the columns \['seed'\] and has \[\] instead"),
        ({"extra": [1, 2]}, r"lacks the columns \[\] and has \['extra'\] instead"),
        ({"seed": [0, None]}, r"changed.parquet: row 2: .*`int`, got `null` - at `\$.seed`"),
        ({"end": ["terminated", "over"]}, r"row 2: Invalid enum value 'over' - at `\$.end`"),
        ({"version": [1, 2]}, "row 2: version 2, wanted 1"),
        ({"steps": [[], [STEP | {"info": "{"}]]}, "row 2: .*truncated"),
        (
            {"steps": [[], [STEP | {"reward": float("nan")}]]},
            r"row 2: expected a finite number, got nan - at `\$.steps\[0\].reward`",
        ),
        ({"steps": [[], None]}, r"row 2: .*got `null` - at `\$.steps`"),
        ({"steps": [[], [STEP | {"info": None}]]}, r"row 2: .*got `null` - at `\$.steps\[0\].info`"),
        ({"steps": [[], [{"action": "a", "reward": 1.0, "info": "{}"}]]}, "row 2: .*observation"),
        (
            {"header": [HEADERS[0].encode().decode(), '{"format": "other", "version": 1}']},
            "row 2, column 'header': format is 'other'",
        ),
    ],
)
def test_a_fault_is_named_with_file_row_and_field(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = changed(tmp_path, **columns)
    with pytest.raises(ValueError, match=message):
        from_parquet(Import((path,), tmp_path / "back.jsonl"))
    assert not (tmp_path / "back.jsonl").exists()


def test_a_file_that_is_no_parquet_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.parquet").write_text("not this")
    with pytest.raises(ValueError, match=r"notes\.parquet is no Parquet file"):
        from_parquet(Import((tmp_path / "notes.parquet",), tmp_path / "back.jsonl"))


def test_a_seed_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    episode = Trajectory("Env-v0", "a", 2**63, (), "terminated", "lm")  # type: ignore[arg-type]
    write(tmp_path / "log.jsonl", [HEADERS[0], episode])
    with pytest.raises(ValueError, match="must fit in 64 bits"):
        to_parquet(Export(tmp_path / "log.jsonl", tmp_path / "log.parquet"))


def test_a_log_with_a_fault_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(HEADERS[0].encode() + b'{"task": 1}\n')
    with pytest.raises(LogError, match=r"log\.jsonl:2"):
        to_parquet(Export(tmp_path / "log.jsonl", tmp_path / "log.parquet"))
    assert not (tmp_path / "log.parquet").exists()
