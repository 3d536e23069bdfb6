from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.agent import History, Turn
from agents.checkpoint import Base, Loaded
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.sampling import Sampling
from benchmarks.sampling import Clocked, Padded
from rollouts.episodes import collect, episode_keys
from rollouts.resolve import env_maker


@pytest.fixture
def loaded(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Loaded:
    return Loaded(small_lm, tokenizer, Base("tiny", "f"))


def test_the_padded_loop_says_what_the_sampler_says(loaded: Loaded) -> None:
    """Greedily, for histories of unequal lengths: it is a fair opponent."""
    padded = Padded(loaded, 8)
    padded.settings.do_sample = False
    ours = LMAgent(ActorCritic(loaded.lm), loaded.tokenizer, Sampling(temperature=0, max_new_tokens=8))
    texts = ("one plus one", "You are in the middle of a room with a bed")
    histories = [[History("t", seed, turns=[Turn(text, {})]) for seed, text in enumerate(texts)] for _ in range(2)]
    theirs, own = padded.act(histories[0]), ours.act(histories[1])
    assert [action.tokens for action in theirs] == [action.tokens for action in own]


def test_the_clock_counts_every_token(loaded: Loaded, tmp_path: Path) -> None:
    make = env_maker("math", {"count": 4})
    clock, found = Clocked(LMAgent(ActorCritic(loaded.lm), loaded.tokenizer, Sampling(max_new_tokens=5))), []
    collect(make, clock, episode_keys(make(), 4), found.append)
    assert clock.tokens == sum(len(step.tokens) for trajectory in found for step in trajectory.steps) > 0
    assert clock.seconds > 0
