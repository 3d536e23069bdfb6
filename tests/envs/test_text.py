"""The text space: any Unicode, under every way in which vector environments carry observations."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.text import UnicodeText

HARD = "πr² 日本語 😀"


class Echo(gym.Env[str, str]):
    """Observes what was done; the reset observation is HARD. Done after "stop"."""

    observation_space = UnicodeText(32)
    action_space = UnicodeText(32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return HARD, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return action * (1 + 100 * (action == "too long")), 0.0, action == "stop", False, {}


@given(st.text())
def test_any_text_is_contained_and_survives_json(text: str) -> None:
    space = UnicodeText()
    assert text in space
    assert space.from_jsonable(json.loads(json.dumps(space.to_jsonable([text])))) == [text]


def test_what_is_not_contained() -> None:
    space = UnicodeText(3)
    assert "日本語" in space and "" in space
    assert not any(x in space for x in ("four", "\ud800", b"ab", None, 3))
    assert space == UnicodeText(3) != UnicodeText(4)
    assert (space.shape, space.dtype) == ((), np.dtype(object))


def test_samples_are_contained_varied_and_private() -> None:
    space = UnicodeText(seed=1)
    state = str(np.random.get_state())
    samples = [space.sample() for _ in range(50)]
    assert all(sample in space for sample in samples) and len(set(samples)) > 40
    assert any(not sample.isascii() for sample in samples) and any("\n" in sample for sample in samples)
    again = UnicodeText(seed=1)
    assert samples == [again.sample() for _ in range(50)]
    assert state == str(np.random.get_state())
    assert UnicodeText(0).sample() == ""


def check_vector(env: Any) -> None:
    """Two environments echo hard texts, shorter after longer, through two steps and an autoreset."""
    try:
        first, _ = env.reset(seed=0)
        assert tuple(first) == (HARD, HARD)
        assert first in env.observation_space
        second = env.step((HARD, "é\n"))[0]
        third = env.step(("stop", ""))[0]
        assert (tuple(second), tuple(third)) == ((HARD, "é\n"), ("stop", ""))
        assert tuple(env.step(("ignored", "😀"))[0]) == (HARD, "😀")
        assert tuple(first) == (HARD, HARD), "an observation that was returned changed later"
    finally:
        env.close()


def test_sync_vector() -> None:
    check_vector(SyncVectorEnv([Echo, Echo]))


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("shared_memory", [True, False])
def test_async_vector(context: str, shared_memory: bool) -> None:
    check_vector(AsyncVectorEnv([Echo, Echo], context=context, shared_memory=shared_memory))


def test_shared_memory_inside_a_dict_space_and_as_a_live_view() -> None:
    env = AsyncVectorEnv([Nested, Nested], context="fork", copy=False)
    try:
        live = env.reset()[0]["text"]
        env.step(env.action_space.sample())
        assert list(live) == ["1" + HARD] * 2 and live[0:1] == ("1" + HARD,) and len(live) == 2
    finally:
        env.close()


class Nested(gym.Env[dict[str, Any], Any]):
    """A text beside a number, which changes at the step."""

    observation_space = gym.spaces.Dict({"text": UnicodeText(32), "n": gym.spaces.Discrete(3)})
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"text": HARD, "n": 0}, {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        return {"text": "1" + HARD, "n": 1}, 0.0, False, False, {}


@pytest.mark.filterwarnings("ignore:.*(ERROR|Worker):UserWarning")
def test_a_text_longer_than_the_buffer_is_an_error_that_says_so() -> None:
    env = AsyncVectorEnv([Echo], context="fork")
    try:
        env.reset()
        with pytest.raises(ValueError, match=r"str of 808 characters does not fit.*larger max_length"):
            env.step(("too long",))
    finally:
        env.close(terminate=True)


def test_stable_baselines3_vector() -> None:
    env = DummyVecEnv([Echo, Echo])  # pyright: ignore[reportArgumentType]
    assert list(env.reset()) == [HARD, HARD]
    assert list(env.step(["a", HARD])[0]) == ["a", HARD]  # pyright: ignore[reportArgumentType]
