from __future__ import annotations

from transformers import LlamaForCausalLM

from agents.model import ActorCritic
from algorithms import dpo
from algorithms.batch import Row
from benchmarks.packing import measure


def test_tokens_are_counted_with_padding_and_without_what_pairs_share(small_lm: LlamaForCausalLM) -> None:
    """A solved row of 6 tokens and a failed one of 4, the first three alike: 2 x 6 padded, 6 + 1 packed, every step."""
    prompt, step = (5, 6, 7), (-1, -1, -1)
    rows = [
        Row((*prompt, 8, 9, 10), (*step, 0, 0, 0), (1.0,), task="a", solved=True),
        Row((*prompt, 11), (*step, 0), (0.0,), task="a"),
    ]
    found = measure(ActorCritic(small_lm, reference=True), dpo.METHOD, rows, 1, steps=2)
    assert {packed: tokens for packed, (tokens, _) in found.items()} == {False: 12, True: 7}
    assert all(len(seconds) == 2 for _, seconds in found.values())
