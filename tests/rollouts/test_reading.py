from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.model import ActorCritic
from agents.prompt import Prompt
from rollouts.credit import Critic, credit
from rollouts.encode import encode
from rollouts.reading import Reader, StepReading
from rollouts.trajectory import End, Step, Trajectory

WON = Trajectory("E", "won", 0, (Step("2 + 3?", "x is 5.\n", 0.0), Step("", "#### 5\n", 1.0)), End.TERMINATED, "lm")
PLAYED = Trajectory("E", "played", 0, (Step("a room", "look", 0.0), Step("a mug", "take mug 1", 1.0)), End.TERMINATED, "lm")


def critic_of(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, **settings: Any) -> Critic:
    model = ActorCritic(lm, "separate")
    assert model.value_head is not None
    torch.nn.init.normal_(model.value_head.weight, generator=torch.Generator().manual_seed(0))
    return Critic(model.eval(), Prompt(tokenizer), "RUN/oreo", {"method": "oreo", "settings": settings})


@pytest.fixture
def critic(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Critic:
    return critic_of(small_lm, tokenizer, level="token", beta=0.03)


def test_steps_have_the_values_and_credits_of_the_credit_command(critic: Critic) -> None:
    (credited,) = (t for t in credit(critic, [PLAYED]) if isinstance(t, Trajectory))
    (found,) = Reader(critic).read([PLAYED])
    assert [step.value for step in found] == pytest.approx([step.value for step in credited.steps], abs=1e-6)
    assert [step.advantage for step in found] == pytest.approx([step.target for step in credited.steps], abs=1e-6)


def test_values_are_those_of_the_states_before_the_tokens(critic: Critic) -> None:
    row = encode(WON, critic.prompt, 1000)
    assert row is not None
    whole = critic.model.values(torch.tensor([row.tokens]))[0].tolist()
    expected = [whole[i - 1] for i, step in enumerate(row.step) if step >= 0]
    found = Reader(critic).read([WON])[0]
    assert [v for step in found for v in step.values] == pytest.approx(expected, abs=1e-6)


def test_the_tokens_texts_are_the_actions(critic: Critic) -> None:
    found = Reader(critic).read([PLAYED])[0]
    assert ["".join(step.texts) for step in found] == ["look<|end|>", "take mug 1<|end|>"]


def test_log_ratios_are_those_of_the_two_models(critic: Critic, small_lm: LlamaForCausalLM) -> None:
    other = deepcopy(small_lm)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    row = encode(WON, critic.prompt, 1000)
    assert row is not None
    ids = torch.tensor([row.tokens])
    with torch.no_grad():
        own, ref = (model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0] for model in (small_lm, other))
    expected = [float(own[i - 1] - ref[i - 1]) for i, step in enumerate(row.step) if step >= 0]
    found = Reader(critic, ActorCritic(other).eval()).read([WON])[0]
    assert [r for step in found for r in step.log_ratios] == pytest.approx(expected, abs=1e-5)
    assert found[0].implicit == pytest.approx(sum(found[0].log_ratios))


def test_an_episode_is_read_alike_beside_others(critic: Critic) -> None:
    alone, together = Reader(critic).read([WON])[0], Reader(critic).read([PLAYED, WON])[1]
    assert [step.value for step in together] == pytest.approx([step.value for step in alone], abs=1e-6)


def test_a_critic_of_steps_says_nothing_between_them(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    found = Reader(critic_of(small_lm, tokenizer, level="step")).read([WON])[0]
    assert [step.values for step in found] == [(), ()]
    assert found[0].value is not None


def test_steps_beyond_the_critics_length_are_empty(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    critic = critic_of(small_lm, tokenizer, level="token")
    row = encode(PLAYED, critic.prompt, 1000)
    assert row is not None
    critic.meta["training"] = {"max_length": row.step.index(1)}
    found = Reader(critic).read([PLAYED])[0]
    assert found[0].values and found[1] == StepReading()


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_a_character_of_several_tokens_is_one_text(text: str) -> None:
    """Bytes as tokens: the pieces are together what was said, whatever lies between two tokens."""

    class Bytes:
        def decode(self, ids: list[int], **_: Any) -> str:
            return bytes(ids).decode(errors="replace")

    reader = object.__new__(Reader)
    reader.critic = type("Fake", (), {"prompt": type("Fake", (), {"tokenizer": Bytes()})})()
    pieces = list(reader._texts(list(text.encode())))
    assert "".join(pieces) == text
    assert len(pieces) == len(text.encode())
