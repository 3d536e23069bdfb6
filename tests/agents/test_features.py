"""Text environments in stable-baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents.agent import Action, History
from agents.choices import ChoiceEncoder, View
from agents.features import ChoicePolicy, ChoiceVecEnv, ChoiceView, LMFeatures
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


class Counted:
    """An offer that depends on the whole history, and counts how often it is asked, of how many."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, histories: Sequence[History]) -> list[list[Action]]:
        self.asked.append(len(histories))
        return [[Action(f"#### {(h.seed + len(h.turns)) % 7}\n"), Action("Let us see.\n")] for h in histories]


def test_views_side_by_side_are_the_views_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    """Observations, rewards, ends and what follows them, over several episodes of each; one offer for all of them a step."""
    offers = Counted(), Counted()
    views = [[ChoiceView(envs.make("math"), ChoiceEncoder(tokenizer, VIEW), offer) for _ in range(3)] for offer in offers]
    alone, together = DummyVecEnv([partial(lambda view: view, view) for view in views[0]]), ChoiceVecEnv(views[1])
    for env in (alone, together):
        env.seed(5)
    one, other = alone.reset(), together.reset()
    assert [info["offered"] for info in together.reset_infos] == [info["offered"] for info in alone.reset_infos]
    rng, ended, rewards = np.random.default_rng(0), 0, 0.0
    for _ in range(40):
        assert all(np.array_equal(one[name], other[name]) for name in ("tokens", "choices"))
        actions = rng.integers(0, 2, 3)
        (one, *mine), (other, *theirs) = alone.step(actions), together.step(actions)
        assert [x.tolist() for x in mine[:2]] == [x.tolist() for x in theirs[:2]]
        for expected, info in zip(mine[2], theirs[2], strict=True):
            assert {k: v for k, v in expected.items() if k != "terminal_observation"}.items() <= info.items()
            assert ("terminal_observation" in expected) == ("terminal_observation" in info)
            if "terminal_observation" in info:
                ended += 1
                assert all(np.array_equal(*(i["terminal_observation"][name] for i in (expected, info))) for name in one)
        rewards += theirs[0].sum()
    assert ended > 10
    assert rewards > 0
    assert set(offers[0].asked) == {1}
    assert offers[1].asked == [3] * 41


def test_views_side_by_side_have_one_offer(tokenizer: PreTrainedTokenizerFast) -> None:
    views = [ChoiceView(envs.make("math"), ChoiceEncoder(tokenizer, VIEW), Counted()) for _ in range(2)]
    with pytest.raises(ValueError, match="2 views with different offers"):
        ChoiceVecEnv(views)


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
