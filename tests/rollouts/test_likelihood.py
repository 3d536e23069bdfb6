from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.draw import filtered
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.sampling import Sampling
from rollouts.encode import encode
from rollouts.likelihood import PolicyReader
from rollouts.trajectory import End, Step, Trajectory


def episode(tokenizer: PreTrainedTokenizerFast, *actions: str, task: str = "x") -> Trajectory:
    """The problem, then the actions, the last one closed."""
    ids = [tokenizer.encode(action, add_special_tokens=False) for action in actions]
    ids[-1].append(tokenizer.eos_token_id)
    steps = [
        Step("2 + 3?" if i == 0 else "", action, 0.0, tuple(own)) for i, (action, own) in enumerate(zip(actions, ids, strict=True))
    ]
    return Trajectory("E", task, 0, tuple(steps), End.TERMINATED, "lm")


@pytest.fixture
def reader(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> PolicyReader:
    return PolicyReader(ActorCritic(small_lm), Prompt(tokenizer), "RUN/sft")


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.5), Sampling(temperature=2, top_k=500, top_p=0.99999)])
def test_log_probabilities_are_the_samplers(
    reader: PolicyReader, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, sampling: Sampling
) -> None:
    played = episode(tokenizer, "x is 5.\n", "#### 5")
    row = encode(played, reader.prompt, 1000)
    assert row is not None
    with torch.no_grad():
        probs = filtered(small_lm(torch.tensor([row.tokens])).logits[0], sampling)
    expected = [float(probs[i - 1, row.tokens[i]].log()) for i, step in enumerate(row.step) if step >= 0]
    (found,) = reader.at(sampling).read([played])
    np.testing.assert_allclose(found.logps, expected, atol=1e-4)


def test_states_are_those_before_the_tokens(
    reader: PolicyReader, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Beside other episodes, of the same task and of another, too."""
    played = episode(tokenizer, "x is 5.\n", "#### 5")
    others = [episode(tokenizer, "x is 6.\n"), episode(tokenizer, "so 2 + 3 = 5 and that is all", "#### 7", task="y")]
    row = encode(played, reader.prompt, 1000)
    assert row is not None
    with torch.no_grad():
        whole = small_lm.base_model(torch.tensor([row.tokens])).last_hidden_state[0]
    expected = whole[[i - 1 for i, step in enumerate(row.step) if step >= 0]].numpy()
    found = reader.read([others[0], played, others[1]])[1]
    np.testing.assert_allclose(found.states, expected, atol=1e-4)
    assert found.value is None


@pytest.mark.parametrize("kind", ["separate", "shared"])
def test_v_is_read_before_the_first_token(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, kind: str) -> None:
    model = ActorCritic(small_lm, kind).eval()  # type: ignore[arg-type]
    assert model.value_head is not None
    torch.nn.init.normal_(model.value_head.weight, generator=torch.Generator().manual_seed(0))
    prompt, played = Prompt(tokenizer), episode(tokenizer, "x is 5.\n", "#### 5")
    row = encode(played, prompt, 1000)
    assert row is not None
    with torch.no_grad():
        expected = float(model.values(torch.tensor([row.tokens]))[0, row.starts[0]])
    (found,) = PolicyReader(model, prompt, "RUN/oreo").read([played])
    assert found.value == pytest.approx(expected, abs=1e-4)


def test_an_episode_that_is_too_long_is_named(reader: PolicyReader, tokenizer: PreTrainedTokenizerFast) -> None:
    reader.max_length = 12
    with pytest.raises(ValueError, match="x, seed 0 is longer than the 12 tokens"):
        reader.read([episode(tokenizer, "x is 5.\n", "#### 5")])


def test_a_policy_that_takes_the_likeliest_is_refused(reader: PolicyReader) -> None:
    with pytest.raises(ValueError, match="temperature 0"):
        reader.at(Sampling(temperature=0))
