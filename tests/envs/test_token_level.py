"""The token MDP: growing context, closed turns, limits, and what other libraries make of it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3 import PPO

import envs
from envs.math_reason.env import MathReasonEnv
from envs.text import UnicodeText
from envs.token_level import ByteTokenizer, TokenLevel

EOS = ByteTokenizer.eos_token_id
ROW = {"question": "2 + 3?", "answer": "2 + 3 = 5\n#### 5"}


class Household(gym.Env[str, str]):
    """Answers each command with its echo; won at the second turn if it is "take π"."""

    observation_space = UnicodeText(100)
    action_space = UnicodeText(100)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.commands: list[str] = []
        return "You see π.", {"task": "t"}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.commands.append(action)
        won = self.commands[1:] == ["take π"]
        return f"[{action}]", float(won), won, len(self.commands) == 3, {"task": "t", "won": won}


def write(env: gym.Env[Any, Any], text: str) -> tuple[Any, ...]:
    """Write a turn and close it; return the last result."""
    for token in text.encode():
        _, reward, terminated, truncated, _ = env.step(token)
        assert (reward, terminated, truncated) == (0.0, False, False)
    return env.step(EOS)


def text_of(result: tuple[Any, ...]) -> str:
    """Return the context, with | for EOS."""
    observation, info = result[0], result[-1]
    assert (observation[info["length"] :] == EOS).all()
    return b"".join(b"|" if token == EOS else bytes([token]) for token in observation[: info["length"]]).decode()


def test_turns_grow_one_context() -> None:
    env = TokenLevel(Household(), max_length=64)
    assert text_of(env.reset()) == "You see π."
    result = write(env, "look")
    assert text_of(result) == "You see π.look|[look]" and result[1:4] == (0.0, False, False)
    result = write(env, "take π")
    assert text_of(result) == "You see π.look|[look]take π|[take π]" and result[1:4] == (1.0, True, False)
    assert result[4]["won"] is True
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_a_full_context_is_truncated() -> None:
    env = TokenLevel(Household(), max_length=16)
    env.reset()  # 11 bytes
    assert write(env, "abc")[2:4] == (False, True), "the answer does not fit: cut and truncated"
    env.reset()
    results = [env.step(ord("a")) for _ in range(5)]
    assert [r[3] for r in results] == [False] * 4 + [True]
    assert results[-1][4]["length"] == 16


def test_winning_with_the_last_token_is_not_a_truncation() -> None:
    env = TokenLevel(MathReasonEnv([ROW], level="response"), max_length=len("2 + 3?") + 2)
    env.reset()
    assert write(env, "5")[1:4] == (1.0, True, False)


def test_a_turn_limit_closes_the_turn() -> None:
    env = TokenLevel(Household(), max_length=64, max_turn=2)
    env.reset()
    env.step(ord("h"))
    assert text_of(env.step(ord("i"))) == "You see π.hi|[hi]"


@pytest.mark.parametrize("token", [-1, 257, 10**6])
def test_tokens_outside_the_vocabulary(token: int) -> None:
    env = envs.make("math", level="token")
    env.reset()
    with pytest.raises(ValueError, match=f"action {token} is outside the vocabulary: wanted a token id from 0 to 256"):
        env.unwrapped.step(token)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="larger max_length"):
        TokenLevel(Household(), max_length=11).reset()
    with pytest.raises(ValueError, match="max_length=1"):
        TokenLevel(Household(), max_length=1)
    tokenizer = ByteTokenizer()
    tokenizer.eos_token_id = None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="no eos_token_id"):
        TokenLevel(Household(), tokenizer)


@given(st.text())
def test_bytes_round_trip(text: str) -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert isinstance(tokenizer.decode([0xFF, 0x80]), str)


class Words:
    """A tokenizer of the Hugging Face shape whose pad token is id 0."""

    eos_token_id, pad_token_id = 1, 0
    words = ["<pad>", "<eos>", "2", " ", "+", "3", "?", "5"]

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [self.words.index(c) for c in text]

    def decode(self, token_ids: list[int]) -> str:
        return "".join(self.words[i] for i in token_ids)

    def __len__(self) -> int:
        return len(self.words)


def test_another_tokenizer_and_its_pad_token() -> None:
    env = TokenLevel(MathReasonEnv([ROW], level="response"), Words(), max_length=10)
    observation, info = env.reset()
    assert observation.tolist() == [2, 3, 4, 3, 5, 6, 0, 0, 0, 0] and info["length"] == 6
    env.step(7)
    assert env.step(1)[1] == 1.0
    assert env.tasks[0] == "problems/000000" and env.segment("a") == ["a"]  # what the text environment offers
    with pytest.raises(AttributeError):
        _ = env.nothing


def test_tasks_and_seeds_reach_the_text_environment() -> None:
    env = envs.make("math", level="token", difficulty=1)
    observation, info = env.reset(options={"task": 3})
    assert info["task"] == env.unwrapped.tasks[3]  # pyright: ignore[reportAttributeAccessIssue]
    assert env.reset(seed=5)[1]["task"] == env.reset(seed=5)[1]["task"]
    assert observation in env.observation_space and observation.dtype == np.int64


def test_ppo_learns_on_it_and_async_vectors_carry_it() -> None:
    env = envs.make("math", level="token", difficulty=1, max_length=128)
    PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu").learn(32)
    vector = AsyncVectorEnv([lambda: gym.make("envs:MathReason-v0", level="token", max_length=160)] * 2, context="fork")
    try:
        observation, info = vector.reset(seed=0)
        assert observation.shape == (2, 160) and (info["length"] < 160).all()
        assert vector.step(np.array([65, 66]))[0][0, info["length"][0]] == 65
    finally:
        vector.close()
