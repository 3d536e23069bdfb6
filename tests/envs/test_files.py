"""Reading problem files: kinds of file, column mapping, what is said of broken ones, and the hub."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.math_reason.source import load
from envs.problems import Problem

ROWS: list[dict[str, Any]] = [
    {"question": "2 + 3?", "answer": "2 + 3 = 5\n#### 5"},
    {"id": "x", "question": '1 + 1,\n"twice"?', "answer": "2"},
]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "question", "answer"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist(rows, pyarrow.schema([(name, "string") for name in ("id", "question", "answer")]))
    parquet.write_table(table, sink := io.BytesIO())
    return sink.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "\n\n".join(map(json.dumps, rows)).encode()


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=1).encode()


@pytest.mark.parametrize(
    ("ending", "write", "first"),
    [
        (".jsonl", as_jsonl, "mine/000001"),
        (".jsonl.gz", as_jsonl, "mine/000001"),
        (".json", as_json, "mine/000001"),
        (".json.gz", as_json, "mine/000001"),
        (".csv", as_csv, "mine/000003"),  # a CSV row is named by its last line
        (".csv.gz", as_csv, "mine/000003"),
        (".parquet", as_parquet, "mine/000001"),
    ],
)
def test_kinds_of_file(tmp_path: Path, ending: str, write: Callable[[list[dict[str, Any]]], bytes], first: str) -> None:
    content = write(ROWS)
    path = tmp_path / f"mine{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    assert [(p.id, p.question, p.answer) for p in load(str(path))] == [
        (first, "2 + 3?", "5"),
        ("x", '1 + 1,\n"twice"?', "2"),
    ]


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(as_jsonl(ROWS))
    assert load(path)[0] is load(path)[0]
    path.write_bytes(as_jsonl(ROWS[1:]))
    assert len(load(path)) == 1


def test_a_list_may_mix_problems_and_rows() -> None:
    problem = Problem("mine", "1?", "1", "1")
    assert [p.id for p in load([problem, ROWS[1], ROWS[0]])] == ["mine", "x", "problems/000002"]


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("question,answer\n1?,1\n", encoding="utf-8-sig")
    assert load(tmp_path / "mine.csv")[0].question == "1?"


def test_columns_are_renamed_and_joined() -> None:
    row = {"Body": "Ann has 2.", "Q": "How many?", "Final": 2.0, "No": 7, "kind": "x", "answer": "9", "Body2": None}
    columns = {"question": ["Body", "Body2", "Q"], "answer": "Final", "id": "No", "subject": "kind"}
    assert load([row], columns=columns)[0] == Problem("7", "Ann has 2. How many?", "2", "2", info={"subject": "x"})


def test_columns_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("Body,Final\nHow many?,3\n")
    assert load(path, columns={"question": "Body", "answer": "Final"})[0].answer == "3"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"question": "Bodi"},
            r"line 1: field 'question' .* column 'Bodi', .*'Body', 'Final'\. Did you mean 'Body'",
        ),
        ({"qustion": "Body"}, r"field of columns='qustion' is not known.*Did you mean 'question'"),
        ({"question": "Body"}, r"line 1: field 'answer' is missing"),
    ],
)
def test_bad_columns(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"Body": "How many?", "Final": "3"}')
    with pytest.raises(ValueError, match=message):
        load(path, columns=columns)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"question": "a"}', r"line 1: field 'answer' is missing"),
        (b'{"question": "a", "answer": ["b"]}', r"line 1: field 'answer' is list"),
        (b'\n{"answer": "5"}', r"line 2: field 'question or problem or query' is missing.*'answer'"),
        (b'{"question": "a", "solution": "none"}', r"field 'solution' holds no final answer"),
        (b'{"question": "a"', r"line 1: not JSON"),
        (b"[1]", r"line 1: a JSON list"),
        (b"\xff\xfe", r"UTF-8"),
        (b"", r"holds no problems"),
        (b'{"id": 1, "question": "a", "answer": "5"}\n{"id": 1, "question": "b", "answer": "5"}', r"the id '1' twice"),
        (b'{"question": "a", "choices": ["x"], "answer": "A"}', r"field 'choices' is malformed"),
        (b'{"question": "a", "choices": ["x", "y"], "answer": "C"}', r"'C': wanted one of the letters A, B"),
    ],
)
def test_malformed_lines(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert "bad.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.jsonl.gz", gzip.compress(as_jsonl(ROWS), mtime=0)[:-12], "cannot be read"),
        ("bad.json", b'{"question": "a"}', "a JSON dict: wanted a list"),
        ("bad.json", b'[{"question": "a", "answer": "5"}, 3]', "row 2: a JSON int"),
        ("bad.json", b'[{"question": "a"', "not JSON"),
        ("bad.csv", b"question,answer\na", "line 2: 1 cells: wanted 2"),
        ("bad.csv", b'question,answer\n"a,5', "cannot be read"),
        ("bad.parquet", b"no parquet", "cannot be read as parquet"),
        ("bad.txt", b"", "ends in none of .jsonl.gz, .jsonl"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert name in str(caught.value)


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.parquet"
    path.touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'reasoning-gym-offline\[hub\]'"):
        load(path)


def test_unreachable_data_set_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(FileNotFoundError, match=r"gsm8k.train.jsonl.gz.*openai/gsm8k.*no network.*Set \$REASONING_DATA"):
        load("gsm8k", "train", tmp_path)
    monkeypatch.delenv("REASONING_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="REASONING_DATA"):
        load("gsm8k", "train")


def test_a_set_that_no_hub_has(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"agieval.math.jsonl.gz, and no hub"):
        load("agieval_math", "test", tmp_path)


def test_a_data_set_may_be_stored_as_any_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.json").write_bytes(as_json(ROWS[:1]))
    assert load("gsm8k", "test", tmp_path).tasks == ("gsm8k/test/000001",)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"problems": "gsm8"}, ValueError, "Did you mean 'gsm8k'"),
        ({"problems": "gsm8k", "split": "tset"}, ValueError, "Did you mean 'test'"),
        ({"problems": "gsm8k", "difficulty": 3}, ValueError, "difficulty: wanted only with problems='arithmetic'"),
        ({"problems": "gsm8k", "columns": {"answer": "x"}}, ValueError, "columns is wanted only with a file or a list"),
        ({"problems": "none/here.jsonl"}, FileNotFoundError, "no problem file at none/here.jsonl"),
        ({"problems": [3]}, ValueError, r"problems\[0\] is a int"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(**arguments)
