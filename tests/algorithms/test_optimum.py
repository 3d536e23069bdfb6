"""OREO on a token MDP whose soft-optimal policy and value are computed exactly.

The MDP: a tree of token sequences over {0, 1, 2}, at most three long; token 2 ends an episode (the end token), and so does the
third token. Every finished sequence has a fixed reward. All sequences are in the log, so that a residual of zero everywhere is
the optimum: V*(s) = beta log sum_a ref(a|s) exp((r + V*(s')) / beta), pi*(a|s) = ref(a|s) exp((r + V*(s') - V*(s)) / beta).
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from algorithms.batch import Batch, Outputs
from algorithms.oreo import Config, loss

END, DEPTH, BETA = 2, 3, 0.5


def sequences() -> list[tuple[int, ...]]:
    """Every finished sequence."""
    found = set()
    for full in itertools.product(range(3), repeat=DEPTH):
        end = full.index(END) + 1 if END in full else DEPTH
        found.add(full[:end])
    return sorted(found)


def reward_of(sequence: tuple[int, ...]) -> float:
    return float(sum(sequence) % 3 == 2)


def states() -> list[tuple[int, ...]]:
    return sorted({seq[:n] for seq in sequences() for n in range(len(seq))})


def soft_optimum(ref: dict[tuple[int, ...], list[float]]) -> tuple[dict, dict]:
    """V* and pi* by dynamic programming, deepest states first."""
    finished, value, policy = set(sequences()), {}, {}
    for state in sorted(states(), key=len, reverse=True):
        children = [(*state, a) for a in range(3)]
        q = [reward_of(c) if c in finished else value[c] for c in children]
        value[state] = BETA * math.log(sum(p * math.exp(x / BETA) for p, x in zip(ref[state], q, strict=True)))
        policy[state] = [p * math.exp((x - value[state]) / BETA) for p, x in zip(ref[state], q, strict=True)]
    return value, policy


def batch_of(index: dict[tuple[int, ...], int]) -> tuple[Batch, Tensor]:
    """All sequences as one batch of token decisions, and the index of each decision's state [B, S]."""
    rows = sequences()
    mask = torch.tensor([[s < len(row) for s in range(DEPTH)] for row in rows])
    reward = torch.zeros(len(rows), DEPTH, dtype=torch.float64)
    state, action = torch.zeros(len(rows), DEPTH, dtype=torch.long), torch.zeros(len(rows), DEPTH, dtype=torch.long)
    for b, row in enumerate(rows):
        reward[b, len(row) - 1] = reward_of(row)
        for s, token in enumerate(row):
            state[b, s], action[b, s] = index[row[:s]], token
    positions = torch.arange(DEPTH).expand(len(rows), -1)
    return Batch(action, torch.where(mask, positions, -1), positions, mask, reward), state


@pytest.mark.parametrize("level", ["token", "step"])
def test_oreo_reaches_the_soft_optimum(level: str) -> None:
    """Without the KL term, from the reference and V = 0: policy and value within 1e-4 of the exact ones at every state."""
    torch.manual_seed(0)
    index = {state: i for i, state in enumerate(states())}
    ref_logits = torch.randn(len(index), 3, dtype=torch.float64)
    ref = {state: ref_logits[i].softmax(-1).tolist() for state, i in index.items()}
    best_value, best_policy = soft_optimum(ref)
    logits = ref_logits.clone().requires_grad_()
    value = torch.zeros(len(index), dtype=torch.float64, requires_grad=True)
    batch, state = batch_of(index)
    optimizer = torch.optim.Adam([logits, value], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2000)
    for _ in range(2000):
        logp = logits.log_softmax(-1)[state].gather(-1, batch.tokens[..., None])[..., 0]
        ref_logp = ref_logits.log_softmax(-1)[state].gather(-1, batch.tokens[..., None])[..., 0]
        total, _ = loss(Outputs(logp, ref_logp, value[state]), batch, Config(level=level, beta=BETA, kl=0.0))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    pi = logits.detach().softmax(-1)
    for s, i in index.items():
        assert value[i].item() == pytest.approx(best_value[s], abs=1e-4)
        assert pi[i].tolist() == pytest.approx(best_policy[s], abs=1e-4)


def test_the_exact_optimum_has_no_residual() -> None:
    """At (pi*, V*) every loss is zero, and moving V at the root by 0.1 costs 0.1^2 on each first decision."""
    torch.manual_seed(1)
    index = {state: i for i, state in enumerate(states())}
    ref_logits = torch.randn(len(index), 3, dtype=torch.float64)
    ref = {state: ref_logits[i].softmax(-1).tolist() for state, i in index.items()}
    best_value, best_policy = soft_optimum(ref)
    batch, state = batch_of(index)
    value = torch.tensor([best_value[s] for s in index], dtype=torch.float64)
    policy = torch.tensor([best_policy[s] for s in index], dtype=torch.float64)
    logp = policy.log()[state].gather(-1, batch.tokens[..., None])[..., 0]
    ref_logp = ref_logits.log_softmax(-1)[state].gather(-1, batch.tokens[..., None])[..., 0]
    for level in ("token", "step", "response"):
        total, _ = loss(Outputs(logp, ref_logp, value[state]), batch, Config(level=level, beta=BETA, kl=0.0))
        assert total.item() == pytest.approx(0.0, abs=1e-20)
    value[index[()]] += 0.1
    _, metrics = loss(Outputs(logp, ref_logp, value[state]), batch, Config(beta=BETA, kl=0.0))
    lengths = batch.mask.sum(1).double()
    assert metrics["value_loss"].item() == pytest.approx((0.01 / lengths).mean().item(), abs=1e-12)
