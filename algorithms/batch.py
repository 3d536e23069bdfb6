"""The data of the losses: tokens [B, T] reduced to decisions [B, S] once, so that no loss knows what a decision is.

A decision is a token, a step (a line of reasoning, an agent's turn) or the whole response. What the environment said is state and
never a decision; the state of a decision is the position just before its first token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agents.packing import Packing, pack

Level = Literal["token", "step", "response"]
Cut = Level | Literal["dialogue"]
"""What a batch's decisions are. Of a dialogue: the agent's tokens are one, and as if it were a second one, all that it was told."""


@dataclass
class Batch:
    """B episodes as decisions, right-padded."""

    tokens: Tensor
    """ids, long [B, T]"""
    decision: Tensor
    """the decision that each token belongs to, -1 where it is not the agent's; long [B, T]"""
    start: Tensor
    """the position before each decision's first token, long [B, S]"""
    mask: Tensor
    """which decisions are there, bool [B, S]"""
    reward: Tensor
    """float [B, S]"""
    target: Tensor | None = None
    """credit from search, r + V(s') - V(s), float [B, S]"""
    old_logp: Tensor | None = None
    """the behaviour policy's log-probability, float [B, S]; NaN where the log has none"""
    sign: Tensor | None = None
    """+1 preferred, -1 not, 0 a reference row of KTO; long [B]"""
    cut_at: Tensor | None = None
    """the state whose value stands for the return that a limit cut off, a position, -1 where there is none; long [B]"""
    ref_logp: Tensor | None = None
    """the frozen reference's log-probability of each token of the agent, where it is known before; float [N], in row-major order"""
    ref_states: Tensor | None = None
    """the frozen reference's final hidden state before each token of the agent, where it is known; float [N, D]"""
    packing: Packing | None = None
    """how a model computes on the tokens; None: as they are, padded"""
    step: Tensor | None = None
    """the agent's step that each decision is a part of (of several, the first), counted from 0; long [B, S]"""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved: dict[str, Any] = {f.name: x if (x := getattr(self, f.name)) is None else x.to(device) for f in fields(self)}
        return Batch(**moved)


@dataclass
class Outputs:
    """What the models say of a batch; fields that a learner does not need are None."""

    logp: Tensor
    """log pi of each decision: the sum over its tokens; float [B, S]"""
    ref_logp: Tensor | None = None
    """the frozen reference's, float [B, S]"""
    value: Tensor | None = None
    """V at each decision's state, float [B, S]"""
    target_value: Tensor | None = None
    """V of a slower copy of the critic, float [B, S]; None means `value.detach()`"""
    kl: Tensor | None = None
    """KL(pi || ref), exact or k3, averaged over the row's decision tokens; float [B]"""
    reference_point: Tensor | None = None
    """the mean log-ratio of the step's mismatched rows, at least 0, the same for all its micro-batches; float []"""
    cut_value: Tensor | None = None
    """V at the states of `Batch.cut_at`, 0 where there is none; float [B]"""


@dataclass(frozen=True)
class Row:
    """One episode as tokens, before it is known at which level it will be learnt."""

    tokens: tuple[int, ...]
    """ids, length T"""
    step: tuple[int, ...]
    """the agent's step that each token belongs to, -1 for the environment's; length T"""
    reward: tuple[float, ...]
    """one a step"""
    target: tuple[float, ...] | None = None
    """one a step, where the log has them"""
    logps: tuple[float, ...] | None = None
    """one a token (0 at the environment's), where the log has them"""
    solved: bool = False
    process_score: tuple[float, ...] | None = None
    """one a step, where the log has them (`rollouts.process`)"""
    task: str = ""
    """the task that was played: rows of a task can be compared"""
    seed: int = 0
    """names an episode of the task in the log"""
    sign: int | None = None
    """+1 preferred, -1 not, 0 a reference row of KTO"""
    cut: bool = False
    """V after the last token stands for a return that a limit cut off"""

    def __len__(self) -> int:
        return len(self.tokens)


def digest(*numbers: tuple[int, ...]) -> bytes:
    """Names tokens in 16 bytes, where rows that say the same are looked for among millions."""
    return blake2b(repr(numbers).encode(), digest_size=16).digest()


def collate(rows: Sequence[Row], level: Cut, pad: int = 0, packed: bool = False) -> Batch:
    """Rows -> a batch whose decisions are tokens, steps or whole responses (or a dialogue's two sides).

    At token level a step's reward (and target) stands at its last token; a response has the sum of its rewards; what a step
    without tokens earned is the step's before it. Process scores are added to the rewards (DQO, appendix A.1). A `packed` batch
    is computed without padding (`agents.packing`).

    Raises:
        ValueError: no rows, an unknown level, or a row without a token of the agent.
    """
    if level not in ("token", "step", "response", "dialogue"):
        raise ValueError(f"unknown level {level!r}: expected token, step or response")
    if not rows:
        raise ValueError("cannot collate an empty list of rows: the log gave no examples")
    parts = [_sides(row) if level == "dialogue" else _decide(row, level) for row in rows]
    decision, start, reward, target, old_logp, step = zip(*parts, strict=True)
    mask = [torch.ones(len(x), dtype=torch.bool) for x in start]

    def stack(x: Sequence[Tensor], value: float = 0) -> Tensor:
        return pad_sequence(list(x), batch_first=True, padding_value=value)

    return Batch(
        tokens=stack([torch.tensor(row.tokens) for row in rows], pad),
        decision=stack(decision, -1),
        start=stack(start),
        mask=stack(mask),
        reward=stack(reward),
        target=stack(target) if all(row.target is not None for row in rows) else None,
        old_logp=stack(old_logp),
        sign=torch.tensor([row.sign for row in rows]) if all(row.sign is not None for row in rows) else None,
        cut_at=torch.tensor([len(row) - 1 if row.cut else -1 for row in rows]) if any(row.cut for row in rows) else None,
        packing=pack([row.tokens for row in rows]) if packed else None,
        step=stack(step),
    )


def gather_decisions(scores: Tensor, batch: Batch) -> Tensor:
    """Sum scores of agent tokens [N] (in row-major order) within decisions -> [B, S]."""
    chosen = batch.decision >= 0
    rows = chosen.nonzero()[:, 0]
    size = batch.mask.shape[1]
    flat = scores.new_zeros(batch.mask.numel()).index_add(0, rows * size + batch.decision[chosen], scores)
    return flat.view_as(batch.mask)


def row_mean(scores: Tensor, batch: Batch) -> Tensor:
    """Mean of scores of agent tokens [N] within each row -> [B]."""
    chosen = batch.decision >= 0
    rows = chosen.nonzero()[:, 0]
    total = scores.new_zeros(len(chosen)).index_add(0, rows, scores)
    return total / chosen.sum(1)


def _sides(row: Row) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `_decide`: decision 0 is the agent's response, 1 what it was told. The first token has no state and is neither's."""
    response = _decide(row, "response")
    decision = (response[0] < 0).long()
    decision[0] = -1
    nothing = torch.zeros(1)
    start, reward, target, old_logp, step = (torch.cat([part, nothing.to(part.dtype)]) for part in response[1:])
    return decision, start, reward, target, old_logp, step


def _decide(row: Row, level: Level) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Decision [T], start [S], reward [S], target [S], old_logp [S], step [S] of one row."""
    step = torch.tensor(row.step)
    own = (step >= 0).nonzero()[:, 0]
    if not len(own) or own[0] == 0:
        raise ValueError("a row needs a token of the agent with a state before it; episodes without actions cannot be learnt from")
    # Index of each agent token's decision, counted from 0 without gaps.
    number = step[own].unique_consecutive(return_inverse=True)[1]
    if level == "token":
        index = torch.arange(len(own))
    elif level == "step":
        index = number
    else:
        index = torch.zeros(len(own), dtype=torch.long)
    count = int(index[-1]) + 1
    decision = torch.full((len(step),), -1)
    decision[own] = index
    first = torch.ones(len(own), dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    last_of_step = torch.ones(len(own), dtype=torch.bool)
    last_of_step[:-1] = step[own][1:] != step[own][:-1]

    ends, said = index[last_of_step], step[own][last_of_step]

    def at_decisions(per_step: Sequence[float]) -> Tensor:
        # What belongs to a step without tokens goes to the last one with tokens before it, or else to the first.
        host = torch.searchsorted(said, torch.arange(len(per_step)), right=True).sub(1).clamp(min=0)
        return torch.zeros(count).index_add(0, ends[host], torch.tensor(per_step, dtype=torch.float))

    logps = torch.tensor(row.logps, dtype=torch.float)[own] if row.logps is not None else torch.full((len(own),), torch.nan)
    old_logp = torch.zeros(count).index_add(0, index, logps)
    reward = at_decisions(row.reward)
    if row.process_score is not None:
        reward = reward + at_decisions(row.process_score)
    return decision, own[first] - 1, reward, at_decisions(row.target or row.reward), old_logp, number[first]
