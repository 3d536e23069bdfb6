"""Attention in slots on small models of many families, against `transformers.generate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel

from agents import slots
from agents.generate import Row, Sampler
from agents.model import ActorCritic
from agents.sampling import Sampling
from agents.slots import Layout, SlotCache

EOS = 1
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SIZES | {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 256}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("LlamaConfig", GROUPED),
    "Mistral": ("MistralConfig", GROUPED | {"sliding_window": 64}),
    "Qwen2": ("Qwen2Config", GROUPED),
    "Qwen3": ("Qwen3Config", GROUPED | {"head_dim": 8}),
    "Gemma2": ("Gemma2Config", GROUPED | {"head_dim": 8, "sliding_window": 64, "attn_logit_softcapping": 2.0}),
    "Gemma3": ("Gemma3TextConfig", GROUPED | {"head_dim": 8, "sliding_window": 64}),
    "Phi3": ("Phi3Config", GROUPED),
    "GPTNeoX": ("GPTNeoXConfig", SIZES | {"intermediate_size": 64, "max_position_embeddings": 256}),
    "GPT2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),  # distances added to the scores
    "Falcon": ("FalconConfig", SIZES),  # an attention of its own
    "GptOss": ("GptOssConfig", GROUPED | {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}),  # a sink
    "Mamba": ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),  # no attention at all
}


def build(family: str, settings: dict[str, Any]) -> PreTrainedModel:
    config = getattr(transformers, family)(vocab_size=300, pad_token_id=0, eos_token_id=EOS, bos_token_id=2, **settings)
    torch.manual_seed(0)
    lm = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)
    return lm


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers(family: str) -> None:
    """Two turns; two rows begin alike, and lengths differ."""
    lm = build(*FAMILIES[family]).double()
    rng = np.random.default_rng(0)
    prompts = [rng.integers(4, 250, 3 + 5 * i).tolist() for i in range(5)]
    prompts.append([*prompts[4][:18], 7])
    rows = [Row(np.random.default_rng(0), tokens=list(prompt)) for prompt in prompts]
    sampler = Sampler(ActorCritic(lm), [EOS], Sampling(temperature=0, max_new_tokens=10))
    for _ in range(2):
        sampler.extend(rows)
        for row in rows:
            prompt = torch.tensor([row.tokens[: row.start]])
            mask = torch.ones_like(prompt)  # it would take any id 0 for padding
            found = lm.generate(prompt, attention_mask=mask, max_new_tokens=10, do_sample=False, eos_token_id=EOS, pad_token_id=0)
            assert row.action == found[0, row.start :].tolist()
            row.tokens += [7, 9, 11]


@pytest.mark.parametrize("family", OTHERS)
def test_other_attention_is_refused(family: str) -> None:
    lm = build(*OTHERS[family])
    with pytest.raises(ValueError, match=f"{family}ForCausalLM cannot be sampled from here"):
        Sampler(ActorCritic(lm), [EOS], Sampling())


def test_the_models_own_attention_is_back_after_a_pass() -> None:
    lm = build(*FAMILIES["Llama"])
    before = lm.config._attn_implementation
    Sampler(ActorCritic(lm), [EOS], Sampling(max_new_tokens=2)).extend([Row(np.random.default_rng(0), tokens=[4, 5, 6])])
    assert lm.config._attn_implementation == before


def test_a_long_prompt_is_attended_to_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows with 30 and 20 new tokens 8 at a time, of one with 3 all: the same states, and no mask is larger."""
    lm = build(*FAMILIES["Llama"]).double()
    rng = np.random.default_rng(0)
    prompts = [rng.integers(4, 250, count) for count in (30, 3, 20, 20)]
    ids, cached, counts = torch.from_numpy(np.concatenate(prompts)), [0] * 4, [30, 3, 20, 20]
    whole = Layout(cached, counts, lm.device, lm.dtype)
    states = slots.feed(lm.base_model, SlotCache(2), ids, whole)
    monkeypatch.setattr(slots, "QUERIES", 8)
    pieces = Layout(cached, counts, lm.device, lm.dtype)
    torch.testing.assert_close(slots.feed(lm.base_model, SlotCache(2), ids, pieces), states, rtol=1e-12, atol=1e-12)
    assert [run.count for run in pieces.runs] == [8, 8, 8, 6, 3, *(8, 8, 4) * 2]
    assert max(run.mask.numel() for run in pieces.runs) == 8 * 24 < max(run.mask.numel() for run in whole.runs)


@pytest.mark.parametrize("scaling", [None, 0.3])
def test_products_of_matrices_are_the_kernels_attention(scaling: float | None) -> None:
    """Two queries of each of three rows, which see 5, 7 and 4 of 7 columns."""
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 2, size, 8, generator=rng) for size in (2, 7, 7))
    visible = torch.arange(7) < torch.tensor([5, 7, 4])[:, None, None]
    mask = slots.additive(visible, torch.float32).expand(-1, 1, 2, -1)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scaling)
    torch.testing.assert_close(slots._decoded(q, k, v, mask, scaling), expected)


@pytest.mark.parametrize(
    ("rows", "dtype", "used"), [(16, torch.bfloat16, True), (15, torch.bfloat16, False), (16, torch.float32, False)]
)
def test_many_rows_in_bfloat16_are_attended_to_by_products(
    monkeypatch: pytest.MonkeyPatch, rows: int, dtype: torch.dtype, used: bool
) -> None:
    calls: list[int] = []
    usual = slots._decoded
    monkeypatch.setattr(slots, "_decoded", lambda *given: calls.append(1) or usual(*given))
    lm = build(*FAMILIES["Llama"]).to(dtype)
    sampler = Sampler(ActorCritic(lm), [EOS], Sampling(max_new_tokens=3), stop=lambda ids: False)
    sampler.extend([Row(np.random.default_rng(i), tokens=[4 + i, 5, 6]) for i in range(rows)])
    assert bool(calls) == used
