"""V of candidates, against plain forward passes over the whole text."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.agent import Action, History, Turn
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.sampling import Sampling
from agents.values import CriticValue, ImplicitValue, LikelihoodValue, Value

PROBLEM = "Ana has 3 apples and buys 4 more. How many apples does she have now?"


def critic(lm: LlamaForCausalLM, kind: str, rank: int = 0) -> ActorCritic:
    model = ActorCritic(lm, kind, rank=rank).eval()  # type: ignore[arg-type]
    assert model.value_head is not None
    torch.nn.init.normal_(model.value_head.weight, generator=torch.Generator().manual_seed(0))
    return model


def tried(agent: LMAgent, history: History, count: int) -> list[History]:
    """Forks of a history with an action each."""
    forks = [agent.fork(history, seed) for seed in range(count)]
    for fork, action in zip(forks, agent.act(forks), strict=True):
        fork.turns[-1].action = action
    return forks


def expected(model: ActorCritic, prompt: Prompt, history: History) -> float:
    """V at the position before a closing token, or else at the last one."""
    tokens = [token for piece in prompt.pieces(history.turns) for token in piece.tokens]
    place = len(tokens) - (2 if tokens[-1] == prompt.closer else 1)
    with torch.no_grad():
        return model.values(torch.tensor([tokens]))[0, place].item()


@pytest.mark.parametrize(("kind", "rank"), [("shared", 0), ("separate", 0), ("lora", 2)])
def test_v_is_that_of_the_whole_text_turn_after_turn(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, kind: str, rank: int
) -> None:
    """Three turns; each goes on from one of four candidates, in its place in the cache."""
    model = critic(small_lm, kind, rank)
    agent = LMAgent(model, tokenizer, Sampling(max_new_tokens=6))
    value, history = CriticValue(model, agent.prompt, agent.sampler), History("task", 0, [Turn(PROBLEM)])
    for turn in range(3):
        forks = tried(agent, history, 4)
        assert value(forks) == pytest.approx([expected(model, agent.prompt, fork) for fork in forks], abs=1e-5)
        history = forks[turn]
        history.turns.append(Turn("And what then?"))


def test_v_of_a_closed_action_needs_no_pass_of_its_own(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """The critic on the policy's trunk has read the state before the closing token when that was sampled."""
    model = critic(small_lm, "shared")
    agent = LMAgent(model, tokenizer, Sampling(max_new_tokens=40))
    forks = tried(agent, History("task", 0, [Turn(PROBLEM)]), 12)
    closed = [fork for fork in forks if fork.turns[-1].action and fork.turns[-1].action.tokens[-1] == agent.prompt.closer]  # type: ignore[index]
    assert closed
    calls: list[int] = []
    small_lm.base_model.register_forward_pre_hook(lambda *given: calls.append(1))
    CriticValue(model, agent.prompt, agent.sampler)(closed)
    assert not calls


def test_another_models_critic_reads_only_what_is_new(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """The second judgement feeds the new turn of each candidate, and what it begins with once."""
    agent = LMAgent(ActorCritic(small_lm), tokenizer, Sampling(max_new_tokens=6))
    model = critic(small_lm, "separate")
    value, history = CriticValue(model, agent.prompt), History("task", 0, [Turn(PROBLEM * 3)])
    sizes: list[int] = []
    assert model.critic is not None
    model.critic.register_forward_pre_hook(lambda module, args, kwargs: sizes.append(kwargs["input_ids"].numel()), with_kwargs=True)
    forks = tried(agent, history, 4)
    value(forks)
    whole = len([token for piece in agent.prompt.pieces(history.turns) for token in piece.tokens])
    assert sum(sizes) < whole + 4 * (6 + 16)


def test_the_implicit_value_is_the_log_ratio(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    model = ActorCritic(small_lm, reference=True).eval()
    agent = LMAgent(model, tokenizer, Sampling(max_new_tokens=6))
    with torch.no_grad():
        small_lm.lm_head.weight.mul_(1.1)
    forks = tried(agent, History("task", 0, [Turn(PROBLEM)]), 3)
    found = ImplicitValue(model, agent.prompt, 0.5)(forks)
    for one, fork in zip(found, forks, strict=True):
        action = fork.turns[-1].action
        assert action is not None and action.tokens is not None and action.logps is not None
        tokens = [token for piece in agent.prompt.pieces(fork.turns) for token in piece.tokens]
        assert model.reference is not None
        with torch.no_grad():
            logp = model.reference(torch.tensor([tokens])).logits.log_softmax(-1)[0, :-1]
        said = logp.gather(-1, torch.tensor(tokens[1:])[:, None])[-len(action.tokens) :, 0].sum().item()
        assert one == pytest.approx(0.5 * (sum(action.logps) - said), abs=1e-4)


def test_the_likelihood_is_the_geometric_mean_over_all_that_was_said() -> None:
    """The cube root of 1/2 * 1/4 * 1 is 1/2; an action without tokens says nothing of its probability."""
    spoken = Turn(PROBLEM, action=Action("3 + 4", (5, 6), (math.log(1 / 2), math.log(1 / 4))))
    ended = Turn("", action=Action("= 7", (7,), (0.0,)))
    silent = Turn("", action=Action("look"))
    value = LikelihoodValue()
    assert value([History("task", 0, [spoken, silent, ended, Turn("")])]) == pytest.approx([1 / 2])
    assert value([History("task", 0, [silent])]) == [1.0]


def test_what_has_no_value_is_refused(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    prompt, model = Prompt(tokenizer), ActorCritic(small_lm)
    with pytest.raises(ValueError, match="no value head"):
        CriticValue(model, prompt)
    with pytest.raises(ValueError, match="has none"):
        ImplicitValue(model, prompt, 0.1)
    with pytest.raises(ValueError, match="beta=0"):
        ImplicitValue(ActorCritic(small_lm, reference=True), prompt, 0)


def test_actions_without_tokens_are_judged_by_their_text(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """An expert's, or a server's."""
    model = critic(small_lm, "shared")
    prompt = Prompt(tokenizer)
    history = History("task", 0, [Turn(PROBLEM, action=Action("3 + 4 = 7"))])
    value: Value = CriticValue(model, prompt)
    assert value([history]) == pytest.approx([expected(model, prompt, history)], abs=1e-5)
