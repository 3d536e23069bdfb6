"""MathReason-v0: episodes, steps, the generator, and the sources."""

from __future__ import annotations

import gzip
import json
import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.grading import Outcome, grade
from envs.math_reason.env import MathReasonEnv
from envs.math_reason.generator import FAMILIES, arithmetic
from envs.math_reason.source import load
from envs.problem_env import DELIMITERS, segment
from envs.problems import Problem

DATA = Path(os.environ.get("REASONING_DATA", Path(__file__).parents[2] / "../shared/data"))
ROW = {"question": "2 + 3?", "answer": "2 + 3 = 5\n#### 5"}


def play(env: MathReasonEnv, *actions: str, **reset: Any) -> list[tuple[float, bool, bool, str | None]]:
    """Return (reward, terminated, truncated, outcome) of each action until the episode ends."""
    env.reset(options={"task": 0}, **reset)
    results = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation == "" and info["task"] == env.tasks[0] and ("outcome" in info) == (terminated or truncated)
        results.append((reward, terminated, truncated, info.get("outcome")))
        if terminated or truncated:
            break
    return results


GO = (0.0, False, False, None)
SOLVED = (1.0, True, False, "correct")


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["2 + 3 = 5\n", "#### 5"], [GO, SOLVED]),
        (["2 + 3 = 5\n", "#### 5\n", "more"], [GO, SOLVED]),  # a final answer ends it, delimiter or not
        (["2 + 3 = 5"], [SOLVED]),  # no delimiter: the turn was closed; the last number is graded
        (["2 + 3 = 5\n", ""], [GO, SOLVED]),  # the turn closed right after a line
        (["2 + 3 = 5\n", "\n"], [GO, SOLVED]),  # a blank line is no step
        (["2 + 3\n= ", "5\n", "#### 5\n"], [GO, GO, SOLVED]),  # a token spanned the delimiter
        (["2 + 3 = 5\n#### 1", "2\n"], [GO, (0.0, True, False, "wrong")]),  # "#### 1" was not complete
        (["2 + 3 = 5\n#### 5", "\n"], [GO, SOLVED]),
        (["2 + 3 = 6\n", "#### 6"], [GO, (0.0, True, False, "wrong")]),
        (["no idea"], [(0.0, True, False, "unparseable")]),
        (["5\n", "5\n", "5\n"], [GO, GO, (0.0, False, True, "unparseable")]),  # the limit truncates and never solves
        (["5\n", "5\n", "#### 5\n"], [GO, GO, SOLVED]),  # an answer at the limit is in time
    ],
)
def test_how_an_episode_ends(actions: list[str], expected: list[Any]) -> None:
    env = MathReasonEnv([ROW], max_steps=3)
    assert play(env, *actions) == expected
    with pytest.raises(gym.error.ResetNeeded):
        env.step("again\n")


def test_a_response_is_one_action() -> None:
    env = MathReasonEnv([ROW], level="response")
    assert play(env, "a\nb\n#### 5\n") == [SOLVED]
    assert play(env, "") == [(0.0, True, False, "unparseable")]


def test_reset_gives_the_problem_with_its_instruction_and_the_solution_beside() -> None:
    env = MathReasonEnv([ROW], instruction="\nThink.")
    observation, info = env.reset()
    assert observation == "2 + 3?\nThink."
    assert info == {"task": "problems/000000", "solution": ROW["answer"], "answer": "5"}


@pytest.mark.parametrize("rule", DELIMITERS)
def test_worked_solutions_win_step_by_step(rule: str) -> None:
    env = MathReasonEnv(segment=rule, difficulty=3)
    for task in range(20):
        _, info = env.reset(options={"task": task})
        results = [env.step(piece) for piece in env.segment(info["solution"])]
        assert [r[2] for r in results] == [False] * (len(results) - 1) + [True]
        assert results[-1][1] == 1.0 and len(results) == (1 if rule == "blank" else 4)


TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["\n", ". ", ".$ ", ".", "$", " ", "a", "\n\n", "\t"]), max_size=20).map("".join),
)


@given(TEXTS, TEXTS, st.sampled_from(list(DELIMITERS)))
def test_segments_join_and_are_causal(text: str, more: str, rule: str) -> None:
    pieces = segment(text, rule)
    assert "".join(pieces) == text
    assert all(piece.strip() and piece.endswith(DELIMITERS[rule]) for piece in pieces[:-1])
    assert segment(text + more, rule)[: len(pieces) - 1] == pieces[:-1]
    for piece in pieces[:-1]:  # a step holds no earlier end
        assert segment(piece, rule) == [piece, ""]


@pytest.mark.parametrize(
    ("text", "rule", "pieces"),
    [
        ("", "lines", [""]),
        ("a", "lines", ["a"]),
        ("a\n", "lines", ["a\n", ""]),
        ("\n\na\n\nb", "lines", ["\n\na\n", "\nb"]),
        ("It is $x.$ So 3.5 is it. Yes", "sentences", ["It is $x.$ ", "So 3.5 is it. ", "Yes"]),
        ("a\nb\n\n\nc", "blank", ["a\nb\n\n", "\nc"]),
    ],
)
def test_segment_by_hand(text: str, rule: str, pieces: list[str]) -> None:
    assert segment(text, rule) == pieces


def test_tasks_are_drawn_from_the_seed_and_picked_by_id_or_index() -> None:
    env = MathReasonEnv(difficulty=1, split="valid")
    drawn = [env.reset(seed=s)[1]["task"] for s in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(env.tasks), env.tasks[-1]] == [1000, "arithmetic-d1/valid/000999"]
    assert env.reset(options={"task": 7}) == env.reset(options={"task": env.tasks[7]})
    assert env.tasks[:2] == ["arithmetic-d1/valid/000000", "arithmetic-d1/valid/000001"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "arithmetic-d1/train/000001"}, "Did you mean 'arithmetic-d1/valid/000001'"),
        ({"task": 1000}, "from 0 to 999"),
        ({"task": -1}, "from 0 to 999"),
        ({"task": 1.5}, "float"),
        ({"taks": 1}, "Did you mean 'task'"),
    ],
)
def test_bad_reset_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MathReasonEnv(difficulty=1, split="valid").reset(options=options)


def check_solution(problem: Problem) -> int:
    """Follow the worked lines with an evaluator of their own: each continues from the last, the last is the answer."""
    *lines, final = problem.solution.split("\n")
    last: Fraction | None = None
    for line in lines:
        found = re.search(r"(\d+) ([-+*/]) (\d+) = (\d+) ?", line)
        assert found, line
        a, op, b, c = Fraction(found[1]), found[2], Fraction(found[3]), Fraction(found[4])
        assert last in (None, a) and {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[op] == c
        assert re.search(rf"\b{b}\b", problem.question), "a number of the solution does not come in the problem"
        last = c
    assert final == f"#### {last}" and problem.answer == str(last)
    return len(lines)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10), st.sampled_from(["train", "valid", "test"]), st.integers(0, 2**31), st.integers(0, 999))
def test_generated_solutions_are_right(difficulty: int, split: str, seed: int, index: int) -> None:
    problem = arithmetic(split, difficulty, seed=seed)[index]
    assert check_solution(problem) == difficulty
    assert problem == arithmetic(split, difficulty, seed=seed)[index]
    assert grade(problem.solution, problem.answer).outcome == Outcome.CORRECT
    assert segment(problem.solution)[-1] == f"#### {problem.answer}"


def test_generated_splits_share_no_problem_and_easy_ones_are_short() -> None:
    seen = {
        split: {p.question for seed in (0, 1) for p in arithmetic(split, 1, count=1500, seed=seed)}
        for split in ("train", "valid", "test")
    }
    assert not seen["train"] & seen["valid"] and not seen["train"] & seen["test"] and not seen["valid"] & seen["test"]
    easy = arithmetic(difficulty=3, count=1000)[:]
    assert max(len(p.question.split()) for p in easy) <= 45
    assert all(0 < int(p.answer) < 100 for p in easy)
    assert len(FAMILIES) >= 5 and len({p.question for p in easy}) > 990


def test_generated_problems_do_not_change_between_versions() -> None:
    assert arithmetic(difficulty=2)[0] == Problem(
        "arithmetic-d2/train/000000",
        "Leo buys 4 eggs at 2 dollars each. A coupon takes 3 dollars off. How many dollars does Leo pay?",
        "The eggs cost 4 * 2 = 8 dollars.\nThe coupon leaves 8 - 3 = 5 dollars.\n#### 5",
        "5",
    )


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine{ending}"
    rows = [ROW, {"id": "x", "problem": "1 + 1?", "solution": r"\boxed{2}"}, {"question": "1?", "answer": 1}]
    text = "\n\n".join(json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    problems = load(str(path))
    assert [(p.id, p.answer) for p in problems] == [("mine/000001", "5"), ("x", "2"), ("mine/000005", "1")]
    assert list(load(rows))[1] == problems[1] and load(path)[0] == problems[0]


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
    ],
)
def test_malformed_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert "bad.jsonl" in str(caught.value)


def test_a_cut_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(ROW).encode())[:-12])
    with pytest.raises(ValueError, match=r"cut\.jsonl\.gz cannot be read"):
        load(path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"problems": "gsm8"}, ValueError, "Did you mean 'gsm8k'"),
        ({"problems": "gsm8k", "split": "tset"}, ValueError, "Did you mean 'test'"),
        ({"problems": "gsm8k", "difficulty": 3}, ValueError, "difficulty: wanted only with problems='arithmetic'"),
        ({"problems": "none/here.jsonl"}, FileNotFoundError, "no problem file at none/here.jsonl"),
        ({"problems": [3]}, ValueError, r"problems\[0\] is a int"),
        ({"split": "trian"}, ValueError, "Did you mean 'train'"),
        ({"difficulty": 11}, ValueError, "from 1 to 10"),
        ({"count": 0}, ValueError, "at least one"),
        ({"segment": "line"}, ValueError, "Did you mean 'lines'"),
        ({"level": "steps"}, ValueError, "Did you mean 'step'"),
        ({"max_steps": 0}, ValueError, "at least 1"),
        ({"max_length": 9}, ValueError, "max_length belongs to level='token'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        envs.make("math", **arguments)


def test_unreachable_data_set_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(FileNotFoundError, match=r"gsm8k.train.jsonl.gz.*openai/gsm8k.*no network.*Set \$REASONING_DATA"):
        load("gsm8k", "train", tmp_path)
    monkeypatch.delenv("REASONING_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="REASONING_DATA"):
        load("gsm8k", "train")


def test_hub_rows_are_read_like_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: asked.append((a, k)) or [ROW])
    assert load("gsm8k", "test", tmp_path)[0] == Problem("gsm8k/test/000001", "2 + 3?", ROW["answer"], "5")
    assert asked == [(("openai/gsm8k", "main"), {"split": "test"})]


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("gsm8k", "train", 7473),
        ("gsm8k", "test", 1319),
        ("math", "train", 7498),
        ("math", "test", 5000),
        ("math500", "test", 500),
    ],
)
def test_real_files(name: str, split: str, count: int) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no data sets at {DATA}: set REASONING_DATA")
    env = MathReasonEnv(name, split, data_dir=DATA, segment="lines" if name == "gsm8k" else "sentences", max_steps=60)
    assert len(env.tasks) == count == len(set(env.tasks))
    assert env.observation_space.contains(max((p.question for p in env.problems), key=len))
    solved = 0
    for task in range(100):
        _, info = env.reset(options={"task": task})
        for piece in env.segment(info["solution"]):
            _, reward, terminated, truncated, _ = env.step(piece)
            if terminated or truncated:
                solved += int(reward)
                break
    assert solved >= (100 if name == "gsm8k" else 95)
