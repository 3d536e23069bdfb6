"""Text environments in stable-baselines3."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_checker import check_env
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents.choices import ChoiceEncoder, View
from agents.features import ChoicePolicy, ChoiceView, LMFeatures
from agents.model import ActorCritic

VIEW = View(max_tokens=512, max_choices=16, choice_tokens=32)


@pytest.fixture
def view(tokenizer: PreTrainedTokenizerFast) -> ChoiceView:
    return ChoiceView(envs.make("commonsense"), ChoiceEncoder(tokenizer, VIEW))


def policy_of(view: ChoiceView, lm: LlamaForCausalLM) -> ChoicePolicy:
    return ChoicePolicy(view.observation_space, view.action_space, lambda _: 1e-3, model=ActorCritic(lm, "shared"))


def batch(view: ChoiceView, count: int) -> dict[str, torch.Tensor]:
    """The first observations of `count` tasks."""
    seen = [view.reset(seed=0, options={"task": index})[0] for index in range(count)]
    return {name: torch.from_numpy(np.stack([one[name] for one in seen])) for name in seen[0]}


@pytest.mark.parametrize("env", ["commonsense", "alfworld"])
def test_stable_baselines_accepts_the_view(tokenizer: PreTrainedTokenizerFast, env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checker draws actions from the whole space, so that here the view takes the first text for those not on offer."""
    view = ChoiceView(envs.make(env, **({"games": "generated"} if env == "alfworld" else {})), ChoiceEncoder(tokenizer))
    step = view.step
    monkeypatch.setattr(view, "step", lambda action: step(action if view.action_masks()[action] else 0))
    check_env(view)


def test_the_right_choice_is_rewarded(view: ChoiceView) -> None:
    _, info = view.reset(seed=0, options={"task": 3})
    assert info["offered"] == tuple(f"So the answer is {letter}." for letter in "ABCD")
    observation, reward, terminated, truncated, info = view.step("ABCD".index(info["answer"]))
    assert (reward, terminated, truncated, info["offered"]) == (1.0, True, False, ())
    assert (observation["choices"] == -1).all()


def test_masks_say_what_is_on_offer(view: ChoiceView) -> None:
    view.reset(seed=0)
    assert view.action_masks().tolist() == [True] * 4 + [False] * 12


def test_what_is_not_on_offer_cannot_be_taken(view: ChoiceView) -> None:
    view.reset(seed=0)
    with pytest.raises(ValueError, match="action 4 is not on offer: wanted 0 to 3 here"):
        view.step(4)


def test_a_view_wants_an_environment_of_texts(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"observes Box.*wants one that observes and takes texts"):
        ChoiceView(gym.make("CartPole-v1"), ChoiceEncoder(tokenizer))  # type: ignore[arg-type]


def test_a_policy_wants_a_view(small_lm: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match=r"observes Box.*wrap it in agents.features.ChoiceView"):
        LMFeatures(spaces.Box(0, 1, (4,)), ActorCritic(small_lm, "shared"))  # type: ignore[arg-type]


def test_a_policy_wants_a_critic(view: ChoiceView, small_lm: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="has no critic"):
        LMFeatures(view.observation_space, ActorCritic(small_lm))  # type: ignore[arg-type]


def test_what_is_not_on_offer_has_probability_zero(view: ChoiceView, small_lm: LlamaForCausalLM) -> None:
    probabilities = policy_of(view, small_lm).get_distribution(batch(view, 3)).distribution.probs
    assert (probabilities[:, 4:] == 0).all()
    torch.testing.assert_close(probabilities[:, :4].sum(1), torch.ones(3))
    assert (probabilities[:, :4] > 0).all()


def test_masking_leaves_entropy_and_gradient_finite(view: ChoiceView, small_lm: LlamaForCausalLM) -> None:
    """The entropy over four choices is that of the four probabilities: the zeros add nothing and spoil nothing."""
    policy, seen = policy_of(view, small_lm), batch(view, 3)
    value, logp, entropy = policy.evaluate_actions(seen, torch.tensor([0, 1, 2]))
    p = policy.get_distribution(seen).distribution.probs[:, :4]
    torch.testing.assert_close(entropy, -(p * p.log()).sum(1))
    (value.sum() + logp.sum() + entropy.sum()).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in policy.parameters())


def test_the_order_of_the_batch_does_not_matter(view: ChoiceView, small_lm: LlamaForCausalLM) -> None:
    """States are scored in chunks of like length, and come back in their own order."""
    policy, seen = policy_of(view, small_lm), batch(view, 11)
    alone = torch.cat([policy.extract_features({name: part[[row]] for name, part in seen.items()}) for row in range(11)])
    torch.testing.assert_close(policy.extract_features(seen), alone, rtol=1e-5, atol=1e-5)
