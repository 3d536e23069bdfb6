"""A policy read along logged episodes: how likely what was done is to it, and its states before.

Episodes are encoded just as for training: sampled ids as they are, the environment's tokens never counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agents import checkpoint
from agents.draw import filtered
from agents.logprob import CHUNK, token_log_probs
from agents.model import ActorCritic
from agents.packing import pack, packs
from agents.prompt import Prompt
from agents.sampling import Sampling
from rollouts.encode import Encoded, cut_by_length, encode
from rollouts.runs import run_checkpoint
from rollouts.trajectory import Trajectory


@dataclass(frozen=True)
class Likelihood:
    """What a policy says of one episode with n tokens of the agent."""

    logps: np.ndarray
    """log-probability of each token as the policy is sampled, float [n]"""
    states: np.ndarray
    """the policy's final hidden state before each token, float32 [n, D]"""
    value: float | None
    """V before the first token, where the policy has a critic"""


class PolicyReader:
    """Reads a frozen policy along episodes.

    Args:
        model: the policy, with its critic where it has one.
        prompt: of its tokenizer.
        source: its name, for messages.
        sampling: how it is sampled; log-probabilities are of that.
    """

    def __init__(self, model: ActorCritic, prompt: Prompt, source: str, sampling: Sampling = Sampling()) -> None:
        if sampling.temperature == 0:
            raise ValueError(
                f"{source} at temperature 0 does one thing only, and a log of other actions says nothing of it: give > 0"
            )
        self.model, self.prompt, self.source, self.sampling = model.eval(), prompt, source, sampling
        self.packed = packs(model.lm)
        self.max_length = int(getattr(model.lm.config, "max_position_embeddings", None) or 2**30)

    def at(self, sampling: Sampling) -> PolicyReader:
        """The same policy, sampled otherwise."""
        return PolicyReader(self.model, self.prompt, self.source, sampling)

    def read(self, trajectories: Sequence[Trajectory], micro_tokens: int = 16384) -> list[Likelihood]:
        """What the policy says of each episode; one forward pass reads at most `micro_tokens` tokens, padding included (or one).

        Raises:
            ValueError: the log's tokens are another tokenizer's, or an episode is longer than the policy can read.
        """
        rows = [self._encoded(trajectory) for trajectory in trajectories]
        found: dict[int, Likelihood] = {}
        tasks: dict[str, list[int]] = {}
        for index, trajectory in enumerate(trajectories):
            tasks.setdefault(trajectory.task, []).append(index)
        for batch in cut_by_length(tasks.values(), micro_tokens, lambda i: len(rows[i].tokens)):
            found.update(zip(batch, self._pass([rows[i] for i in batch]), strict=True))
        return [found[i] for i in range(len(rows))]

    def _encoded(self, trajectory: Trajectory) -> Encoded:
        row = encode(trajectory, self.prompt, self.max_length)
        said = sum(len(step.tokens or ()) for step in trajectory.steps)
        if row is None or sum(step >= 0 for step in row.step) != said:
            raise ValueError(
                f"{trajectory.task}, seed {trajectory.seed} is longer than the {self.max_length} tokens that {self.source} reads: "
                "it could not have played it, leave such episodes out"
            )
        return row

    @torch.no_grad()
    def _pass(self, rows: Sequence[Encoded]) -> list[Likelihood]:
        device = self.model.lm.device
        tokens = pad_sequence([torch.tensor(row.tokens) for row in rows], batch_first=True).to(device)
        agent = pad_sequence([torch.tensor(row.step) >= 0 for row in rows], batch_first=True).to(device)
        packing = pack([row.tokens for row in rows]).to(device) if self.packed else None  # samples of a task begin alike
        hidden = self.model.hidden("policy", tokens, packing)
        firsts = (agent.int().argmax(1) - 1).tolist()
        values = None
        if self.model.value_head is not None:
            own = self.model.valued_role == "policy"
            values = self.model.values(tokens[:, : max(firsts) + 1], hidden[:, : max(firsts) + 1] if own else None).cpu()
        states, targets = hidden[:, :-1][agent[:, 1:]], tokens[:, 1:][agent[:, 1:]]
        counts = agent.sum(1).tolist()
        logps = self._log_probs(states, targets).double().cpu().split(counts)
        before = states.float().cpu().split(counts)
        return [
            Likelihood(logp.numpy(), state.numpy(), None if values is None else float(values[row, first]))
            for row, (logp, state, first) in enumerate(zip(logps, before, firsts, strict=True))
        ]

    def _log_probs(self, states: Tensor, targets: Tensor) -> Tensor:
        """Of the tokens [N] after states [N, D], as they are drawn."""
        sampling = self.sampling
        if sampling.top_p == 1 and not sampling.top_k:
            return token_log_probs(states, targets, lambda h: self.model.logits(h) / sampling.temperature)
        found = []
        for h, y in zip(states.split(CHUNK), targets.split(CHUNK), strict=True):
            found.append(filtered(self.model.logits(h).float(), sampling).gather(1, y[:, None])[:, 0].log())
        return torch.cat(found)


def load_policy_reader(
    source: str | Path, base: str | None = None, sampling: Sampling = Sampling(), critic: bool = True
) -> PolicyReader:
    """The reader of a run directory, checkpoint or model, on the GPU where there is one; with its `critic` where it has one.

    Raises:
        FileNotFoundError, ValueError: as `agents.checkpoint.load`, and for a policy that picks among what is listed.
    """
    path = run_checkpoint(source)
    meta: dict[str, Any] = checkpoint.read_config(path) if checkpoint.is_checkpoint(path) else {}
    if "view" in meta:
        raise ValueError(f"{source} picks among what the environment lists: it has no log-probabilities of tokens to compare")
    if critic and meta.get("critic"):
        model, tokenizer = checkpoint.load(path, base)
    else:
        loaded = checkpoint.load_policy(path, base)
        model, tokenizer = ActorCritic(loaded.lm), loaded.tokenizer
    return PolicyReader(model.to("cuda" if torch.cuda.is_available() else "cpu"), Prompt(tokenizer), str(source), sampling)
