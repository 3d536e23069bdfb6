"""A student whose moves an expert corrects."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.agent import Action, Agent, History, Turn
from agents.dagger import DAggerAgent
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.sampling import Sampling


class Says(Agent):
    """Always the same."""

    def __init__(self, *said: str, closed: bool = True) -> None:
        self.name, self.said, self.closed = "/".join(said), said, closed
        self.released: list[History] = []

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [Action(self.said[len(h.turns) - 1], closed=self.closed) for h in histories]

    def release(self, history: History) -> None:
        self.released.append(history)


def started(seeds: int = 1) -> list[History]:
    return [History("task", seed, [Turn("see")]) for seed in range(seeds)]


def test_what_both_would_do_is_the_experts() -> None:
    assert DAggerAgent(Says("go"), Says("go"), 0).act(started()) == [Action("go")]


def test_an_uncorrected_mistake_is_a_disturbance() -> None:
    found = DAggerAgent(Says("err"), Says("go"), 0).act(started())[0]
    assert found == Action("err", info={"disturbance": True})


def test_a_correction_says_what_it_corrected_and_frees_what_the_student_keeps() -> None:
    student, history = Says("err"), started()
    found = DAggerAgent(student, Says("go"), 1).act(history)[0]
    assert found.text == "go" and found.info == {"corrected": "err"}
    assert student.released == history


def test_a_student_cut_off_in_the_experts_move_has_not_made_it() -> None:
    found = DAggerAgent(Says("go", closed=False), Says("go"), 0).act(started())[0]
    assert not found.closed and found.info == {"disturbance": True}


def test_corrections_come_with_their_probability_and_repeat() -> None:
    agent = DAggerAgent(Says("err"), Says("go"), 0.3)
    first, again = ([action.text for action in agent.act(started(400))] for _ in range(2))
    assert first == again
    assert 90 < first.count("go") < 150  # 120, standard deviation 9


def test_a_probability_is_between_0_and_1() -> None:
    with pytest.raises(ValueError, match=r"correct=1.5: wanted a probability from 0 to 1"):
        DAggerAgent(Says("a"), Says("b"), 1.5)


def test_no_token_of_the_students_is_logged(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    lm = LMAgent(ActorCritic(small_lm), tokenizer, Sampling(temperature=0, max_new_tokens=8))
    found = DAggerAgent(lm, Says("go"), 0).act(started())[0]
    assert found.info == {"disturbance": True} and found.tokens is found.logps is None


def test_after_a_correction_the_student_goes_on_from_what_was_done(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """As a model that never proposed anything else would."""
    lm = LMAgent(ActorCritic(small_lm), tokenizer, Sampling(temperature=0, max_new_tokens=8))
    corrected = started()[0]
    taken = DAggerAgent(lm, Says("go", "go"), 1).act([corrected])[0]
    fresh = History("task", 0, [Turn("see", action=Action("go")), Turn("on")])
    corrected.turns[-1].action = taken
    corrected.turns.append(Turn("on"))
    assert lm.act([corrected])[0].tokens == lm.act([fresh])[0].tokens
