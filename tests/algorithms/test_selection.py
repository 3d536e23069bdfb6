"""Which examples are taken: counts by hand, nothing twice, errors that say what is lacking."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from algorithms import dpo, dqo, dro, dvo, kto, oreo, rejection, sft, step_dpo, value
from algorithms.batch import Row
from algorithms.method import Method
from algorithms.selection import (
    balanced,
    capped,
    credited_rows,
    distinct,
    mismatched,
    named,
    response_pairs,
    signed,
    solved_rows,
    step_pairs,
    training_rows,
)


def row(task: str, solved: bool, *agent: int, target: tuple[float, ...] | None = None) -> Row:
    """A prompt token 9, then a token for each step."""
    steps = tuple(range(len(agent)))
    return Row((9, *agent), (-1, *steps), (0.0,) * len(agent), target=target, solved=solved, task=task)


def log(solved: int, failed: int, task: str = "t") -> list[Row]:
    return [row(task, i < solved, i) for i in range(solved + failed)]


def rng() -> random.Random:
    return random.Random(0)


@pytest.mark.parametrize(
    ("solved", "failed", "kept"),
    [(10, 10, (4, 4)), (10, 0, (1, 0)), (10, 1, (1, 1)), (10, 3, (3, 3)), (2, 10, (2, 4)), (0, 5, (0, 4)), (3, 3, (3, 3))],
)
def test_balanced_by_hand(solved: int, failed: int, kept: tuple[int, int]) -> None:
    """min(n+, max(n-, 1)) and at most 4 solved; at most 4 failed."""
    found = balanced(log(solved, failed), 4, rng())
    assert (sum(r.solved for r in found), sum(not r.solved for r in found)) == kept
    assert len({r.tokens for r in found}) == len(found)


def test_tasks_are_capped_apart() -> None:
    found = capped([*log(5, 0, "a"), *log(2, 0, "b")], 3, rng())
    assert Counter(r.task for r in found) == {"a": 3, "b": 2}


def test_repetitions_are_left_out_and_the_first_stays() -> None:
    rows = [row("t", True, 1), row("t", True, 2), row("t", True, 1)]
    assert distinct(rows) == rows[:2]
    chosen = rejection.solved_samples([*rows, row("t", False, 3)], rejection.Config(), rng())
    assert chosen == rows[:2]
    assert len(rejection.solved_samples(rows, rejection.Config(per_task=1), rng())) == 1
    assert len(rejection.solved_samples(rows, rejection.Config(distinct=False), rng())) == 3


def test_pairs_are_adjacent_distinct_and_capped_by_task() -> None:
    rows = [*log(3, 2, "a"), *log(1, 1, "b"), *log(2, 0, "c")]
    found = response_pairs(rows, 4, rng())
    assert [r.sign for r in found] == [1, -1] * 5
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all(a.solved and not b.solved and a.task == b.task for a, b in pairs)
    assert Counter(a.task for a, _ in pairs) == {"a": 4, "b": 1} and len({(a.tokens, b.tokens, a.task) for a, b in pairs}) == 5


def test_no_pair_is_an_error_that_says_what_to_collect() -> None:
    with pytest.raises(ValueError, match=r"no task of 2 has both.*3 of 5 are solved.*--samples"):
        response_pairs([*log(3, 0, "a"), *log(0, 2, "b")], 4, rng())


def test_sibling_steps() -> None:
    """Three paths: the second parts from the first at its second step, the third at once."""
    rows = [
        row("t", True, 1, 2, 3, target=(0.5, 0.25, 0.25)),
        row("t", False, 1, 4, target=(0.5, -1.5)),
        row("t", False, 5, target=(-1.0,)),
    ]
    found = step_pairs(rows, 9, rng())
    pairs = {(a.tokens, b.tokens) for a, b in zip(found[::2], found[1::2], strict=True)}
    assert pairs == {((9, 1, 2), (9, 1, 4)), ((9, 1), (9, 5))}
    better = next(r for r in found if r.tokens == (9, 1, 2))
    assert better.step == (-1, -1, 0) and better.sign == 1  # the common beginning is state


def test_a_step_without_tokens_is_nobodys_sibling() -> None:
    """Its second step says nothing."""
    silent = Row((9, 1, 3), (-1, 0, 2), (0.0,) * 3, target=(0.5, 0.0, -0.5), task="t")
    found = step_pairs([silent, row("t", True, 1, 4, target=(0.5, 0.25))], 9, rng())
    assert [r.tokens for r in found] == [(9, 1, 4), (9, 1, 3)]


def test_steps_of_equal_credit_and_of_other_tasks_are_no_pairs() -> None:
    rows = [row("a", True, 1, target=(0.5,)), row("a", True, 2, target=(0.5,)), row("b", False, 3, target=(-1.0,))]
    with pytest.raises(ValueError, match="no pair of steps among 3 episodes"):
        step_pairs(rows, 4, rng())


def test_a_step_without_tokens_is_no_step_of_a_pair() -> None:
    """Steps 0 and 2 have a token each, step 1 none: the siblings are 1 and 2 after the same beginning 5."""
    rows = [Row((9, 5, last), (-1, 0, 2), (0.0,) * 3, target=(0.0, 0.0, float(last)), task="t") for last in (1, 2)]
    better, worse = step_pairs(rows, 4, rng())
    assert (better.tokens, worse.tokens) == ((9, 5, 2), (9, 5, 1))


def test_a_step_that_was_credited_twice_has_the_mean() -> None:
    """Two rollouts began with step 1 and ended otherwise: (1 - 1) / 2 = 0 is less than step 2's one half."""
    rows = [row("t", True, 1, 7, target=(-1.0, 0.0)), row("t", True, 2, target=(0.5,)), row("t", True, 1, 8, target=(1.0, 0.0))]
    better, worse = step_pairs(rows, 4, rng())
    assert (better.tokens, worse.tokens) == ((9, 2), (9, 1))


def test_credits_are_asked_for() -> None:
    rows = [row("t", True, 1, target=(0.5,)), row("t", False, 2)]
    for choose in (lambda: step_pairs(rows, 4, rng()), lambda: credited_rows(rows)):
        with pytest.raises(ValueError, match=r"1 of 2 episodes have no credit.*\(t, seed 0\).*rollouts\.tree"):
            choose()


def test_mismatched_rows_have_one_prompt_and_another_response() -> None:
    a, b = Row((7, 7, 1, 2), (-1, -1, 0, 1), (0.0, 1.0), task="a"), Row((8, 3), (-1, 0), (0.0,), task="b")
    found = mismatched([a, b])
    assert [(r.tokens, r.step, r.sign) for r in found] == [((7, 7, 3), (-1, -1, 0), 0), ((8, 1, 2), (-1, 0, 1), 0)]
    assert mismatched([a]) == mismatched([a, a]) == []


def test_no_mismatched_row_is_longer_than_what_a_model_was_given() -> None:
    """Behind a beginning of 5 tokens 2 fit into 7: not what follows b's, but c's; where none fits there is no row."""
    a, b = Row((7,) * 5 + (1,), (-1,) * 5 + (0,), (0.0,), task="a"), Row((8,) + (2,) * 6, (-1,) + (0,) * 6, (1.0,), task="b")
    c = Row((9, 3, 3), (-1, 0, 0), (0.0,), task="c")
    assert [r.tokens for r in mismatched([a, b, c])] == [(7,) * 5 + (3, 3), (8, 3, 3), (9, 1)]
    assert [r.tokens for r in mismatched([a, b])] == [(8, 1)]


def test_rows_are_named_as_a_log_names_them() -> None:
    rows = [Row((1,), (0,), (0.0,), task=f"task {i}", seed=i) for i in range(4)]
    assert named(rows) == "task 0, seed 0; task 1, seed 1; task 2, seed 2; ..."
    assert named(rows[:1]) == "task 0, seed 0"


def test_the_response_of_another_task_is_taken_before_another_of_the_same() -> None:
    """Answers of one task to itself are no mismatch; only where there is one task alone must another of its answers do."""
    rows = [row("a", True, 1), row("a", False, 2), row("b", True, 3)]
    assert [r.tokens for r in mismatched(rows)] == [(9, 3), (9, 3), (9, 1)]
    assert [r.tokens for r in mismatched(rows[:2])] == [(9, 2), (9, 1)]


def test_signs() -> None:
    assert [r.sign for r in signed(log(1, 2))] == [1, -1, -1]


def test_nothing_solved() -> None:
    for choose in (solved_rows, training_rows):
        with pytest.raises(ValueError, match="no solved episode among 2"):
            choose(log(0, 2))


def test_failed_episodes_with_dense_rewards_are_learnt_from() -> None:
    """What was earned on the way, or a process score, says what is better; KTO has its signs from solved episodes alone."""
    penalised = [replace(r, reward=(-0.5,)) for r in log(0, 2)]
    scored = [replace(r, process_score=(0.5,)) for r in log(0, 2)]
    for rows in (penalised, scored):
        for method in (oreo.METHOD, dqo.METHOD, dro.METHOD):
            assert method.rows(rows, method.config(), rng()) == rows
        with pytest.raises(ValueError, match="no solved episode among 2"):
            kto.METHOD.rows(rows, kto.Config(), rng())


NO_CREDITS, SAME_CREDITS = log(1, 1), [replace(r, target=(0.0,)) for r in log(1, 1)]
LEARN_FROM_FAILURES = (oreo.METHOD, dqo.METHOD, dro.METHOD, dvo.METHOD, step_dpo.METHOD, value.METHOD)
NEEDS: list[tuple[Method, list[Row], str]] = [
    *((m, log(0, 3), r"no solved episode among 3 .*--agent expert") for m in (sft.METHOD, oreo.METHOD, dqo.METHOD, dro.METHOD)),
    *((m, log(0, 3), r"no solved episode among 3 .*collect more samples") for m in (rejection.METHOD, kto.METHOD)),
    (
        dpo.METHOD,
        log(0, 3),
        r"no task of 1 has both .*0 of 3 are solved; the log begins with t, seed 0; .*--samples 8",
    ),
    (
        dpo.METHOD,
        log(3, 0),
        r"no task of 1 has both .*3 of 3 are solved; the log begins with t, seed 0; .*--samples 8",
    ),
    (dvo.METHOD, NO_CREDITS, r"2 of 2 episodes have no credit .*t, seed 0; t, seed 0.*python -m rollouts\.tree writes"),
    (dvo.METHOD, [*SAME_CREDITS, *NO_CREDITS], r"2 of 4 episodes have no credit .*t, seed 0"),
    (step_dpo.METHOD, NO_CREDITS, r"2 of 2 episodes have no credit .*python -m rollouts\.tree writes"),
    (step_dpo.METHOD, SAME_CREDITS, r"no pair of steps among 2 episodes.*python -m rollouts\.tree"),
    *((m, [], "among 0 in the log") for m in (sft.METHOD, rejection.METHOD, kto.METHOD)),
    (dpo.METHOD, [], "no task of 0"),
    *((m, [], "no episode in the log that can be .*--max-length") for m in LEARN_FROM_FAILURES),
]


@pytest.mark.parametrize(("method", "rows", "message"), NEEDS, ids=lambda x: x.name if isinstance(x, Method) else "")
def test_each_learner_says_what_its_log_lacks(method: Method, rows: list[Row], message: str) -> None:
    """How many rows, of how many, which is the first, and the command that makes what is missing."""
    with pytest.raises(ValueError, match=message):
        method.rows(rows, method.config(), rng())


@pytest.mark.parametrize(
    ("config", "wrong", "message"),
    [
        (dqo.Config, {"lam": 1.5}, "--lam must be a finite number from 0 to 1, got 1.5"),
        (dqo.Config, {"cap": 0.0}, "--cap must be a finite number of at least 1, got 0"),
        (oreo.Config, {"beta": float("nan")}, "--beta must be a finite number of at least 0, got nan"),
        (oreo.Config, {"kl": float("inf")}, "--kl must be a finite number of at least 0, got inf"),
        (dpo.Config, {"pairs": 0}, "--pairs must be a finite number of at least 1, got 0"),
        (kto.Config, {"failed_weight": -1.0}, "--failed-weight must be a finite number of at least 0, got -1"),
    ],
)
def test_settings_that_make_no_sense(config: type[Any], wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**wrong)


def test_choices_hang_on_the_seed_alone() -> None:
    rows = [*log(5, 5, "a"), *log(5, 5, "b")]
    for choose in (response_pairs, balanced, capped):
        first, again, other = (choose(rows, 3, random.Random(seed)) for seed in (1, 1, 2))
        assert first == again != other
    assert replace(rows[0], sign=1) != rows[0]
