from __future__ import annotations

import math

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.model import ActorCritic
from algorithms.validation import HeldOut, Stopping, Validation


def test_training_tasks_that_the_log_lacks_are_played() -> None:
    """A log plays the first tasks by a hash of their names; these are the next."""
    args = {"split": "train", "difficulty": 1}
    used = set(HeldOut(Validation(every=1, tasks=12), "math", args, ()).tasks)
    found = HeldOut(Validation(every=1, tasks=5), "math", args, used)
    assert len(used) == 12
    assert len(set(found.tasks)) == 5
    assert not used & set(found.tasks)


def test_another_split_may_be_played() -> None:
    args = {"split": "train", "difficulty": 1}
    train, valid = (HeldOut(Validation(every=1, tasks=5, split=split), "math", args, ()) for split in (None, "valid"))
    assert len(valid.tasks) == 5
    assert not set(train.tasks) & set(valid.tasks)


def test_a_log_of_all_tasks_is_refused() -> None:
    problems = [{"question": "What is 1 + 1?", "answer": "2"}]
    args = {"problems": problems}
    everything = set(HeldOut(Validation(every=1), "math", args, ()).tasks)
    with pytest.raises(ValueError, match="none is left to validate on"):
        HeldOut(Validation(every=1), "math", args, everything)


def test_the_same_model_solves_the_same_tasks_again(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    held_out = HeldOut(Validation(every=1, tasks=3, temperature=1.0), "math", {"difficulty": 1}, (), action_tokens=8)
    assert held_out.success(ActorCritic(small_lm), tokenizer) == held_out.success(ActorCritic(small_lm), tokenizer) == 0.0


def test_an_episode_that_breaks_is_no_lost_task(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    held_out = HeldOut(Validation(every=1, tasks=3), "math", {"difficulty": 1}, (), action_tokens=8)
    make = held_out.make

    def broken() -> object:
        env = make()
        env.reset = lambda **_: 1 / 0  # type: ignore[method-assign]
        return env

    held_out.make = broken  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"3 held-out episodes ended by an error; the first, .*ZeroDivisionError"):
        held_out.success(ActorCritic(small_lm), tokenizer)


def test_when_tasks_are_played_and_when_it_is_enough() -> None:
    """Every 4 of 18 steps, the first 5 of the critic alone; patience of 2: after step 8's best, step 16 ends it."""
    stopping = Stopping(Validation(every=4, patience=2), steps=18, alone=5)
    assert [step for step in range(1, 19) if stopping.due(step)] == [8, 12, 16, 18]
    assert stopping.better(0.0, 0)
    assert not stopping.stale(12)
    assert stopping.stale(13)
    assert stopping.better(0.2, 8)
    assert not stopping.better(0.2, 12)
    assert (stopping.success, stopping.step) == (0.2, 8)
    assert not stopping.stale(15)
    assert stopping.stale(16)


def test_without_patience_training_goes_to_its_end() -> None:
    assert not Stopping(Validation(every=1, patience=0), steps=1000).stale(999)


@pytest.mark.parametrize(
    ("name", "number"), [("every", -1), ("patience", -1), ("tasks", 0), ("temperature", -0.5), ("temperature", math.nan)]
)
def test_numbers_that_make_no_sense_are_refused(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=f"--valid.{name} must be at least"):
        Validation(**{name: number})  # type: ignore[arg-type]
