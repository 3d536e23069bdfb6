"""Small token MDPs with an exact soft optimum, and a tabular learner for any of the losses.

A tree of episodes over the tokens 0, 1, 2; the agent's token 2 ends an episode, and so does the last token. In the multi-turn one
the environment says a token of its own after every agent token (what it says depends on what was done), which is state and no
decision. Every episode is in the batch, so a residual of zero everywhere is the optimum:

    V*(s) = beta log sum_a ref(a|s) exp((r + gamma V*(s')) / beta),    pi*(a|s) = ref(a|s) exp((r + gamma V*(s') - V*(s)) / beta)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from algorithms.batch import Batch, Outputs

END = 2
State = tuple[int, ...]
"""the agent's tokens so far: in these MDPs the environment's words follow from them"""


@dataclass
class TokenMDP:
    """`reward(episode)` is earned at its end; `step_reward(episode so far)` after each token."""

    depth: int = 3
    multi_turn: bool = False
    gamma: float = 1.0
    beta: float = 0.5
    reward: Callable[[State], float] = lambda episode: float(sum(episode) % 3 == 2)
    step_reward: Callable[[State], float] = lambda prefix: 0.0
    seed: int = 0
    episodes: list[State] = field(init=False)
    index: dict[State, int] = field(init=False)
    ref_logits: Tensor = field(init=False)

    def __post_init__(self) -> None:
        found = set()
        for full in itertools.product(range(3), repeat=self.depth):
            found.add(full[: full.index(END) + 1 if END in full else self.depth])
        self.episodes = sorted(found)
        self.index = {s: i for i, s in enumerate(sorted({e[:n] for e in self.episodes for n in range(len(e))}))}
        self.ref_logits = torch.randn(len(self.index), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed))

    def optimum(self) -> tuple[Tensor, Tensor]:
        """V* [states] and pi* [states, 3], by dynamic programming, deepest states first."""
        finished = set(self.episodes)
        ref = self.ref_logits.softmax(-1)
        value, policy = torch.zeros(len(self.index), dtype=torch.float64), torch.zeros_like(ref)
        for state in sorted(self.index, key=len, reverse=True):
            q = []
            for child in ((*state, a) for a in range(3)):
                future = self.reward(child) if child in finished else self.gamma * value[self.index[child]].item()
                q.append(self.step_reward(child) + future)
            i = self.index[state]
            value[i] = self.beta * math.log(sum(p * math.exp(x / self.beta) for p, x in zip(ref[i].tolist(), q, strict=True)))
            policy[i] = ref[i] * ((torch.tensor(q, dtype=torch.float64) - value[i]) / self.beta).exp()
        return value, policy

    def batch(self) -> tuple[Batch, Tensor, Tensor]:
        """All episodes as token decisions, and of each decision its state and its token, long [B, S].

        Tokens: a prompt token, then the agent's; in the multi-turn MDP the environment's answer (token + 3) after each.
        """
        stride = 2 if self.multi_turn else 1
        rows, steps = len(self.episodes), self.depth
        mask = torch.tensor([[s < len(e) for s in range(steps)] for e in self.episodes])
        state, action = torch.zeros(rows, steps, dtype=torch.long), torch.zeros(rows, steps, dtype=torch.long)
        reward = torch.zeros(rows, steps, dtype=torch.float64)
        tokens = torch.zeros(rows, 1 + stride * steps, dtype=torch.long)
        decision = torch.full_like(tokens, -1)
        start = (stride * torch.arange(steps)).expand(rows, -1).clone()
        for b, episode in enumerate(self.episodes):
            for s, token in enumerate(episode):
                state[b, s], action[b, s] = self.index[episode[:s]], token
                reward[b, s] = self.step_reward(episode[: s + 1])
                tokens[b, 1 + stride * s], decision[b, 1 + stride * s] = token, s
                if self.multi_turn:
                    tokens[b, 2 + stride * s] = token + 3
            reward[b, len(episode) - 1] += self.reward(episode)
        return Batch(tokens, decision, start, mask, reward), state, action


Loss = Callable[[Outputs, Batch, Any], tuple[Tensor, dict[str, Tensor]]]


def outputs_of(mdp: TokenMDP, logits: Tensor, value: Tensor, state: Tensor, action: Tensor) -> Outputs:
    """What a tabular policy and critic say of the batch; the KL is exact."""
    logp, ref = logits.log_softmax(-1), mdp.ref_logits.log_softmax(-1)
    kl = (logp.exp() * (logp - ref)).sum(-1)
    chosen = action[..., None]
    return Outputs(
        logp=logp[state].gather(-1, chosen)[..., 0],
        ref_logp=ref[state].gather(-1, chosen)[..., 0],
        value=value[state],
        kl=None if mdp.depth == 0 else kl[state].mean(1),
    )


def fit(
    mdp: TokenMDP,
    loss: Loss,
    config: Any,
    steps: int = 600,
    lr: float = 0.1,
    value: Tensor | None = None,
    change: Callable[[Batch], Batch] = lambda batch: batch,
) -> tuple[Tensor, Tensor]:
    """Train table and critic from the reference and V = 0 (or keep `value` fixed); returns (V, pi)."""
    batch, state, action = mdp.batch()
    batch = change(batch)
    logits = mdp.ref_logits.clone().requires_grad_()
    table = torch.zeros(len(mdp.index), dtype=torch.float64) if value is None else value.clone()
    parameters = [logits] if value is not None else [logits, table.requires_grad_()]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        total, _ = loss(outputs_of(mdp, logits, table, state, action), batch, config)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    return table.detach(), logits.detach().softmax(-1)


def total_variation(p: Tensor, q: Tensor) -> float:
    """The largest total variation distance over the states."""
    return float(0.5 * (p - q).abs().sum(-1).max())
