"""`python -m envs.math_reason` and `python -m envs.commonsense`: list, show, stats, check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envs.commonsense.__main__ import run as commonsense
from envs.describe import describe
from envs.math_reason.__main__ import run
from envs.problems import Problem

ROWS = [
    {"id": "a", "question": "What is 2 + 3, dear reader of sums?", "answer": "2 + 3 = 5\n#### 5", "level": 1, "subject": "Sums"},
    {"id": "b", "question": "What is 4 + 4, dear reader of sums?", "answer": "#### 8", "level": 2, "subject": "Sums"},
    {"id": "c", "question": "Name [the] colour of the sky.", "answer": "blue"},
]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with GSM8K's test split alone."""
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    monkeypatch.setenv("REASONING_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def test_list_says_what_is_here(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert f"Files are looked for in {data}." in lines
    assert "gsm8k train - hub: openai/gsm8k" in lines and "test 3 gsm8k/test.jsonl" in lines


def test_list_of_commonsense(capsys: pytest.CaptureFixture[str]) -> None:
    assert commonsense(["list"]) == 0
    assert "hub: allenai/sciq" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["b", "1"])
def test_show_one(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "gsm8k", "--split", "test", "--task", task]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("b", "level 2", "What is 4 + 4", "#### 8", "answer\n8")) and "2 + 3" not in shown


def test_show_some_of_a_file_with_brackets(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", str(data / "gsm8k" / "test.jsonl"), "--count", "5"]) == 0
    assert "Name [the] colour" in capsys.readouterr().out


def test_show_generated_and_a_split_in_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "arithmetic/valid", "--count", "1"]) == 0
    assert "arithmetic-d2/valid/000000" in capsys.readouterr().out


def test_stats_by_hand() -> None:
    """Solutions of 6 and 2 words (the answers 5 and 8 count) and 1: median 2; by lines 2, 1 and 1 steps."""
    problems = [
        Problem("a", "What is 2 + 3?", "2 + 3 = 5\n#### 5", "5", info={"level": 1}),
        Problem("b", "What is 4 + 4?", "#### 8", "8", info={"level": 1}),
        Problem("c", "Name the colour.", "blue", "blue"),
    ]
    numbers = describe(problems)
    assert (numbers.problems, numbers.question, numbers.solution) == (3, (5, 5), (2, 7))
    assert numbers.steps == {"lines": (1, 2), "sentences": (1, 2), "blank": (1, 1)}
    assert numbers.answers == {"number": 2, "text": 1} and numbers.levels == {1: 2} and not numbers.subjects


def test_stats_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stats", "gsm8k/test", "arithmetic/test"]) == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert "problems 3 1000" in lines and "answers: number 2 1000" in lines and "subjects: Sums 2" in lines


def test_check(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = data / "other.jsonl"
    other.write_text("\n".join(map(json.dumps, [ROWS[2], {**ROWS[0], "question": "What is 7 + 9, dear reader of sums?"}])))
    out = data / "pairs.jsonl"
    assert run(["check", str(other), "gsm8k/test", "--out", str(out)]) == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert {"exact 1 1 of 3 33.3%", "numbers 2 2 of 3 66.7%", "near 0 0 of 3 0.0%", "any 3 3 of 3 100.0%"} <= set(lines)
    pairs = [json.loads(line) for line in out.read_text().splitlines()]
    assert (pairs[0]["kind"], pairs[0]["train"], pairs[0]["test"]) == ("exact", "c", "c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "Did you mean 'list'"),
        (["show", "gsm8"], "Did you mean 'gsm8k'"),
        (["show", "gsm8k/tset"], "Did you mean 'test'"),
        (["show", "gsm8k/test", "--task", "7"], "task 7 is out of range"),
        (["show", "gsm8k/test", "--task", "zz"], "unknown task 'zz'"),
        (["show", "gsm8k/test", "--count", "0"], "count=0"),
        (["show", "none.jsonl"], "no problem file at none.jsonl"),
        (["stats"], "no source"),
        (["check", "gsm8k/test", "gsm8k/test", "--threshold", "2"], "threshold=2.0"),
    ],
)
def test_bad_input_is_one_line_on_stderr(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and not shown.out


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0 and commonsense(["--help"]) == 0
    assert "check math/train math500" in capsys.readouterr().out
