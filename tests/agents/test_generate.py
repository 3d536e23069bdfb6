"""The sampler against `transformers.generate` and against plain forward passes."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from agents.generate import Row, Sampler
from agents.model import ActorCritic
from agents.sampling import Sampling

EOS = 1


def prompts(count: int, seed: int = 0) -> list[list[int]]:
    """Token lists of unequal lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 250, 3 + 5 * i).tolist() for i in range(count)]


def row(tokens: list[int], seed: int = 0) -> Row:
    return Row(np.random.default_rng(seed), tokens=list(tokens))


def extend(sampler: Sampler, rows: list[Row]) -> list[tuple[list[int], list[float]]]:
    sampler.extend(rows)
    return [(r.action, r.logps) for r in rows]


def generate(lm: LlamaForCausalLM, prompt: list[int], count: int) -> list[int]:
    found = lm.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False, eos_token_id=EOS, pad_token_id=0)
    return found[0, len(prompt) :].tolist()


def test_greedy_equals_transformers_over_turns_and_changing_batches(small_lm: LlamaForCausalLM) -> None:
    """Turn 1 with five rows; turn 2 with two of them in another order; turn 3 with old and new rows mixed."""
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(temperature=0, max_new_tokens=12))
    rows = [row(p) for p in prompts(5)]
    news = [row(p) for p in prompts(3, seed=1)]
    for turn in (rows, [rows[3], rows[0]], [news[0], rows[4], news[1], rows[0], news[2]]):
        for r in turn:
            r.tokens += [7, 9, 11]
        before = [list(r.tokens) for r in turn]
        for prompt, (ids, _) in zip(before, extend(sampler, turn), strict=True):
            assert ids == generate(small_lm, prompt, 12)


def test_logged_log_probabilities_are_the_models_own(small_lm: LlamaForCausalLM) -> None:
    """Whatever temperature and cut-offs draw with, the log has log-softmax of the raw logits."""
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(temperature=0.7, top_p=0.9, top_k=20, max_new_tokens=10))
    for prompt, (ids, logps) in zip(prompts(4), extend(sampler, [row(p, i) for i, p in enumerate(prompts(4))]), strict=True):
        full = small_lm(torch.tensor([prompt + ids])).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
        expected = full.gather(-1, torch.tensor(ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(logps), expected, atol=1e-5, rtol=0)


def test_an_episode_does_not_depend_on_the_batch_around_it(small_lm: LlamaForCausalLM) -> None:
    sampling = Sampling(max_new_tokens=15)
    alone = extend(Sampler(ActorCritic(small_lm), [EOS], sampling), [row(prompts(4)[2], seed=42)])[0][0]
    crowd = [row(p, seed=42 if i == 2 else i) for i, p in enumerate(prompts(4))]
    assert extend(Sampler(ActorCritic(small_lm), [EOS], sampling), crowd)[2][0] == alone


def test_rows_that_are_gone_free_their_place(small_lm: LlamaForCausalLM) -> None:
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(temperature=0, max_new_tokens=3))
    for seed in range(6):
        batch = [row(p) for p in prompts(4, seed)]
        sampler.extend(batch)
        del batch
        gc.collect()
    assert len(sampler.rows.order) == 4


def test_a_cache_that_grows_keeps_the_rows_that_there_are(small_lm: LlamaForCausalLM) -> None:
    """Of four rows the first goes on past its 64 columns when the others are gone: four times the columns, for one row."""
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(temperature=0, max_new_tokens=4), stop=lambda ids: False)
    rows = [row(p) for p in prompts(4)]
    sampler.extend(rows)
    first = rows[0]
    del rows
    gc.collect()
    first.tokens += [7, 9] * 100
    sampler.extend([first])
    assert [layer.keys.shape[0] for layer in sampler.rows.cache.layers] == [1, 1]
    assert first.action == generate(small_lm, first.tokens[: first.start], 4)


def fed(sampler: Sampler) -> list[int]:
    """A list that is told how many tokens each pass feeds."""
    sizes: list[int] = []
    sampler.model.lm.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return sizes


def test_a_beginning_in_common_is_computed_once(small_lm: LlamaForCausalLM) -> None:
    """Two problems of 60 and 50 tokens behind 40 tokens of examples, three samples each.

    One row feeds 100 tokens. Then, beside its second token, one row of the other problem feeds the 50 of its own, and the other
    samples of the first one the last token of their prompt; so do those of the second problem a pass later.
    """
    rng = np.random.default_rng(0)
    examples, *problems = [[first] + rng.integers(4, 250, size - 1).tolist() for first, size in ((5, 40), (6, 60), (7, 50))]
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(max_new_tokens=4), stop=lambda ids: False)
    sizes, rows = fed(sampler), [row(examples + problem, seed) for seed in range(3) for problem in problems]
    together = extend(sampler, rows)
    assert sizes[:3] == [100, 1 + 1 + 1 + 50, 3 + 1 + 1 + 1]
    for one, (ids, logps) in zip(rows, together, strict=True):
        alone = row(one.tokens[: one.start], rows.index(one) // 2)
        (expected, expected_logps) = extend(Sampler(ActorCritic(small_lm), [EOS], sampler.sampling), [alone])[0]
        assert ids == expected
        assert logps == pytest.approx(expected_logps, abs=1e-5)


def test_a_row_in_the_cache_lends_its_beginning_to_one_that_comes_later(small_lm: LlamaForCausalLM) -> None:
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(temperature=0, max_new_tokens=4))
    first, later = row(prompts(6)[5]), row([*prompts(6)[5][:20], 77, 78])
    extend(sampler, [first])
    sizes = fed(sampler)
    assert extend(sampler, [later])[0][0] == generate(small_lm, later.tokens[: later.start], 4)
    assert sizes[0] == 2


def test_rows_come_and_go_while_others_are_sampled(small_lm: LlamaForCausalLM) -> None:
    """One row is asked for anew as soon as its action is done; what each says is what it says alone."""
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(temperature=0, max_new_tokens=6), stop=lambda ids: ids[-1] % 3 == 0)
    rows, said, turns = [row(p) for p in prompts(4)], [], 0
    for one in rows:
        sampler.submit(one)
    while turns < 20:
        for one in sampler.step():
            turns += 1
            said.append((one.tokens[: one.start], one.action))
            one.tokens += [7, 9]
            sampler.submit(one)
    for prompt, ids in said:
        whole = generate(small_lm, prompt, 6)
        ends = [i + 1 for i, token in enumerate(whole) if token % 3 == 0]
        assert ids == whole[: min(ends, default=6)]


def test_a_pass_has_only_so_many_new_tokens(small_lm: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of 3, 8, 13, 18 and 23 tokens, at most 16 a pass: 3 + 8, 13, 18, 23, with those before at one each."""
    monkeypatch.setattr("agents.cached.PREFILL", 16)
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(temperature=0, max_new_tokens=9), stop=lambda ids: False)
    sizes = fed(sampler)
    found = extend(sampler, [row(p) for p in prompts(5)])
    assert sizes[:4] == [3 + 8, 1 + 1 + 13, 3 + 18, 4 + 23]
    assert [ids for ids, _ in found] == [generate(small_lm, p, 9) for p in prompts(5)]


def test_the_value_of_the_state_comes_with_the_action(small_lm: LlamaForCausalLM) -> None:
    model = ActorCritic(small_lm, "shared")
    torch.nn.init.normal_(model.value_head.weight)
    sampler = Sampler(model, [EOS], Sampling(max_new_tokens=5))
    for turn in range(2):
        one = row([*prompts(3)[2], *range(9 * turn)]) if not turn else one  # noqa: F821
        one.tokens += [7, 9] * turn
        sampler.extend([one])
        expected = model.values(torch.tensor([one.tokens[: one.start]]))[0, -1].item()
        assert one.value == pytest.approx(expected, abs=1e-5)


def test_a_batch_beside_others_is_refused(small_lm: LlamaForCausalLM) -> None:
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling())
    sampler.submit(row([4, 5]))
    with pytest.raises(RuntimeError, match="1 other rows are being sampled"):
        sampler.extend([row([6])])
    sampler.clear()
    sampler.extend([row([6])])


def test_a_full_context_gives_an_empty_action(small_lm: LlamaForCausalLM) -> None:
    sampler = Sampler(ActorCritic(small_lm), [EOS], Sampling(max_new_tokens=50), context=20)
    full, nearly = row(prompts(5)[4][:20]), row(prompts(5)[4][:17])
    (none, _), (some, _) = extend(sampler, [full, nearly])
    assert none == []
    assert 1 <= len(some) <= 3


def test_stop_keeps_the_token_that_made_it_true(small_lm: LlamaForCausalLM) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=8)
    whole = extend(Sampler(ActorCritic(small_lm), [EOS], sampling), [row(prompts(2)[1])])[0][0]
    three = Sampler(ActorCritic(small_lm), [EOS], sampling, stop=lambda ids: len(ids) == 3)
    stopped = extend(three, [row(prompts(2)[1])])[0][0]
    assert stopped == whole[:3]
