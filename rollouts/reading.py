"""A model read along logged episodes: V before every token and step, and how far the policy is from its reference.

Episodes are encoded just as for training, so that V is read where it was learnt. A critic that learnt V before whole steps only
says nothing between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from agents import checkpoint
from agents.model import ActorCritic
from rollouts.credit import Critic, learnt_by_token, load_critic
from rollouts.encode import Encoded, cut_by_length, encode
from rollouts.runs import run_checkpoint
from rollouts.step_reading import StepReading
from rollouts.trajectory import Trajectory


class Reader:
    """Reads a frozen critic, and with a reference its policy too, along episodes.

    Args:
        critic: the critic (`rollouts.credit.load_critic`).
        reference: the model that the policy's training started from.
    """

    def __init__(self, critic: Critic, reference: ActorCritic | None = None) -> None:
        self.critic, self.reference = critic, reference
        self.by_token = learnt_by_token(critic.meta)
        self.beta: float | None = critic.meta.get("settings", {}).get("beta")
        """the strength of the KL term that the policy was trained with, where it was"""

    def read(self, trajectories: Sequence[Trajectory], micro_tokens: int = 16384) -> list[list[StepReading]]:
        """The readings of each episode's steps, one a step. Those of an episode too long for the model are all empty.

        One forward pass reads at most `micro_tokens` tokens, padding included (or one episode).

        Raises:
            ValueError: the log's tokens are another tokenizer's.
        """
        found: list[list[StepReading]] = [[StepReading()] * len(t.steps) for t in trajectories]
        rows = {i: row for i, t in enumerate(trajectories) if (row := self._encoded(t)) is not None}
        batches = cut_by_length([[i] for i in rows], micro_tokens, lambda i: len(rows[i].tokens))
        for batch in batches:
            for i, steps in zip(batch, self._pass([rows[i] for i in batch]), strict=True):
                found[i][: len(steps)] = steps
        return found

    def _encoded(self, trajectory: Trajectory) -> Encoded | None:
        return encode(trajectory, self.critic.prompt, self.critic.max_length, self.critic.truncated)

    @torch.no_grad()
    def _pass(self, rows: Sequence[Encoded]) -> list[list[StepReading]]:
        device = self.critic.model.lm.device
        tokens = pad_sequence([torch.tensor(row.tokens) for row in rows], batch_first=True).to(device)
        agent = pad_sequence([torch.tensor(row.step) >= 0 for row in rows], batch_first=True).to(device)
        values = self.critic.model.values(tokens).cpu()
        ratios = torch.zeros(values.shape)
        if self.reference is not None:
            none = torch.zeros_like(tokens[:, :1])
            own, other = (model(tokens, agent, none).logp for model in (self.critic.model, self.reference))
            ratios.masked_scatter_(agent.cpu(), (own - other).float().cpu())
        return [list(self._steps(*given)) for given in zip(rows, values.tolist(), ratios.tolist(), strict=True)]

    def _steps(self, row: Encoded, values: list[float], ratios: list[float]) -> Iterator[StepReading]:
        starts = row.by_step(values)
        for step, after in enumerate([*starts[1:], 0.0]):
            own = [position for position, owner in enumerate(row.step) if owner == step]
            yield StepReading(
                texts=tuple(self._texts([row.tokens[position] for position in own])),
                values=tuple(values[position - 1] for position in own) if self.by_token else (),
                log_ratios=tuple(ratios[position] for position in own) if self.reference else (),
                value=starts[step],
                advantage=row.reward[step] + self.critic.gamma * after - starts[step],
            )

    def _texts(self, ids: list[int]) -> Iterator[str]:
        """What each token adds; a token that ends inside a character adds nothing, and the one that completes it the whole."""
        decode = self.critic.prompt.tokenizer.decode
        said = [str(decode(ids[:end], clean_up_tokenization_spaces=False)) for end in range(len(ids) + 1)]
        said = ["", *(text.rstrip("\ufffd") for text in said[1:-1]), *said[1:][-1:]]
        for before, text in pairwise(said):
            yield text[len(before) :]


def load_reader(source: str | Path, base: str | None = None, reference: str | Path | None = None) -> Reader:
    """The reader of a run directory or checkpoint, compared with the model `reference` (RUN/sft) where it is given.

    Raises:
        FileNotFoundError, ValueError: as `rollouts.credit.load_critic`.
    """
    critic = load_critic(source, base)
    if reference is None:
        return Reader(critic)
    other = ActorCritic(checkpoint.load_policy(run_checkpoint(reference), base).lm).to(critic.model.lm.device)
    return Reader(critic, other.eval())
