"""stable-baselines3 with environments of text: its evaluation plays our agents, and what it says of what it cannot train on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents.agent import Action, Agent, History
from agents.choices import ChoiceEncoder, Offer, View, listed
from agents.features import ChoicePolicy, ChoiceVecEnv, ChoiceView
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.sampling import Sampling
from agents.scripted import ExpertAgent, RandomAgent
from agents.search import BestOf, Vote
from agents.values import CriticValue
from agents.vector import TextVecEnv

ENVIRONMENTS: dict[str, dict[str, Any]] = {"math": {}, "commonsense": {}, "alfworld": {"games": "generated"}}


def vector(name: str, count: int = 2, **kwargs: Any) -> TextVecEnv:
    arguments = ENVIRONMENTS[name] | kwargs
    return TextVecEnv(DummyVecEnv([lambda: Monitor(envs.make(name, **arguments))] * count))


def rewards(agent: Agent, env: TextVecEnv, episodes: int) -> list[float]:
    found, _ = evaluate_policy(env.player(agent), env, episodes, return_episode_rewards=True)  # type: ignore[arg-type]
    env.close()
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_expert_solves_every_environment(name: str) -> None:
    """Five episodes over two environments: one goes on to be stepped after its two are counted."""
    assert rewards(ExpertAgent(), vector(name), 5) == [1.0] * 5


def test_the_random_agent_sees_the_admissible_commands() -> None:
    assert len(rewards(RandomAgent(), vector("alfworld"), 3)) == 3


@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
def test_any_vector_environment_will_do(kind: type) -> None:
    env = TextVecEnv(VecMonitor(kind([lambda: envs.make("commonsense")] * 2)))
    assert rewards(ExpertAgent(), env, 3) == [1.0] * 3


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_language_model_plays_every_environment(
    name: str, tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM
) -> None:
    agent = LMAgent(ActorCritic(small_lm), tokenizer, Sampling(max_new_tokens=4))
    assert len(rewards(agent, vector(name, **({"difficulty": {"max_steps": 3}} if name == "alfworld" else {})), 3)) == 3


def test_searches_play(tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM) -> None:
    """A vote asks the environment for the answers of its task, whose name is in the info."""
    agent = LMAgent(ActorCritic(small_lm, "shared"), tokenizer, Sampling(max_new_tokens=4))
    votes = envs.make("math").unwrapped.votes  # type: ignore[attr-defined]
    best = BestOf(agent, CriticValue(agent.sampler.model, Prompt(tokenizer), agent.sampler), 2)
    for search in (best, Vote(agent, None, 2, votes)):
        assert len(rewards(search, vector("math"), 3)) == 3


class Says(Agent):
    """Says the same whenever it is asked, and remembers what it was asked."""

    def __init__(self, text: str, closed: bool = True) -> None:
        self.text, self.closed = text, closed
        self.asked: list[History] = []

    def act(self, histories: Sequence[History]) -> list[Action]:
        self.asked += histories
        return [Action(self.text, closed=self.closed) for _ in histories]


PROBLEM = {"question": "6 doubled?", "answer": "12"}


def test_a_whole_response_is_given_step_by_step() -> None:
    """Asked once an episode; the environment sees three steps, of which the last one closes the response."""
    agent = Says("6 * 2\n= 12\n#### 12")
    env = vector("math", 1, problems=[PROBLEM])
    found, lengths = evaluate_policy(env.player(agent), env, 2, return_episode_rewards=True)  # type: ignore[arg-type]
    assert (found, lengths) == ([1.0, 1.0], [3, 3])
    assert len(agent.asked) == 2


def test_a_number_that_was_cut_off_is_not_graded() -> None:
    """A limit on tokens ended the action before its closing token: "#### 12" may have become "#### 125"."""
    assert rewards(Says("#### 12"), vector("math", 1, problems=[PROBLEM]), 1) == [1.0]
    assert rewards(Says("#### 12", closed=False), vector("math", 1, problems=[PROBLEM]), 1) == [0.0]


def test_every_episode_has_its_task_and_a_stream_of_its_own() -> None:
    agent = Says("So the answer is A.\n")
    env = vector("commonsense", 2)
    evaluate_policy(env.player(agent), env, 4)  # type: ignore[arg-type]
    assert [history.seed for history in agent.asked[:4]] == [0, 1, 2, 3]
    assert all(history.task.startswith("categories-c4/train/") for history in agent.asked)
    assert all(len(history.turns) == 1 for history in agent.asked)


def test_environments_of_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the environments observe Box.*wanted texts"):
        vector("math", level="token")
    with pytest.raises(ValueError, match=r"observed an array of int64.*without level='token'"):
        Says("x").predict(np.zeros((2, 8), np.int64))


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_training_on_texts_says_what_to_do(name: str, algorithm: type) -> None:
    with pytest.raises(AssertionError, match=r"wrap the environment in agents.features.ChoiceView, or make it with level='token'"):
        algorithm("MlpPolicy", envs.make(name, **ENVIRONMENTS[name]))


def proposed(histories: Sequence[History]) -> list[list[Action]]:
    return [[Action(f"#### {number}\n") for number in range(3)] for _ in histories]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_can_be_trained_on(name: str, tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM) -> None:
    """PPO among the texts that a state offers: what the environment lists, or for maths what somebody proposes."""
    view = View(max_tokens=384, max_choices=32, choice_tokens=24)
    offer: Offer = proposed if name == "math" else listed
    encoder = ChoiceEncoder(tokenizer, view)
    env = ChoiceVecEnv([ChoiceView(envs.make(name, **ENVIRONMENTS[name]), encoder, offer) for _ in range(2)])
    learner = PPO(
        ChoicePolicy,
        env,
        n_steps=4,
        batch_size=8,
        n_epochs=1,
        ent_coef=0.1,  # where nothing was earned, V = 0 is right, and only this moves the policy
        policy_kwargs={"model": ActorCritic(small_lm, "shared")},
        device="cpu",
    )
    before = [parameter.detach().clone() for parameter in learner.policy.parameters()]
    learner.learn(8)
    assert any(not now.equal(then) for now, then in zip(learner.policy.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_can_be_trained_on_token_by_token(name: str) -> None:
    env = envs.make(name, level="token", max_length=1024, **ENVIRONMENTS[name])
    learner = PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(8)
    assert learner.num_timesteps == 8
