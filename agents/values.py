"""V of what might be done next: from which model, and read where.

V is read at the last state that was trained: before the token that closes an action, since nothing is learnt behind it, or at the
last token of a step of reasoning that goes on, which is the state before the next step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from agents.agent import History
from agents.cached import CachedRow, RowCache
from agents.generate import Sampler
from agents.model import ActorCritic
from agents.prompt import Prompt


class Value(ABC):
    """Judges histories. `name` goes into every log."""

    name: str = "value"

    @abstractmethod
    def __call__(self, histories: Sequence[History]) -> list[float]:
        """V after the last action of each history; larger is better, of histories of one task at least."""

    def release(self, history: History) -> None:
        """As `agents.agent.Agent.release`."""
        del history


class CriticValue(Value):
    """V of a critic. What a history, or the one that it was forked from, has said before is in the cache, and is not fed again.

    Args:
        model: policy and critic.
        prompt: of its tokenizer.
        sampler: who samples what is judged: where its model is this one and the critic reads the policy's own states, V is there
            as soon as an action is.

    Raises:
        ValueError: the model has no value head.
    """

    name = "critic"

    def __init__(self, model: ActorCritic, prompt: Prompt, sampler: Sampler | None = None) -> None:
        if model.value_head is None:
            raise ValueError("this model has no value head: give a checkpoint that was trained with a critic (such as OREO's)")
        self.prompt, self._memory = prompt, f"critic {id(self)}"
        self._shares = sampler is not None and sampler.model is model and model.valued_role == "policy"
        self.rows = sampler.rows if sampler is not None and self._shares else RowCache(model.eval(), model.valued_role)

    def __call__(self, histories: Sequence[History]) -> list[float]:
        """As `Value`."""
        rows = [self._row(history) for history in histories]
        self.rows.feed_all([row for row in rows if row.tokens[-1] != self.prompt.closer])
        return [_known(row.reached) for row in rows]

    def release(self, history: History) -> None:
        """As `Value`."""
        history.memory.pop(self._memory, None)

    def _row(self, history: History) -> CachedRow:
        if self._shares and (row := history.memory.get("row")) is not None:
            return row
        row = history.memory[self._memory] = CachedRow(tokens=said(self.prompt, history))
        return row


class ImplicitValue(Value):
    """The policy's own V: beta times the sum of log(pi / ref) over what the agent has said (OREO, eq. 12).

    That is V of the state less V of the first one, wherever the soft Bellman equation holds; of histories that began alike it says
    as much.

    Args:
        model: policy and reference.
        prompt: of its tokenizer.
        beta: the one that the policy was trained with.

    Raises:
        ValueError: the model has no reference, or beta is no positive number.
    """

    name = "implicit"

    def __init__(self, model: ActorCritic, prompt: Prompt, beta: float) -> None:
        if model.reference is None and not model.rank:
            raise ValueError("the implicit value is a ratio to the reference, and this model has none: give the reference with it")
        if not beta > 0:
            raise ValueError(f"beta={beta}: wanted the positive number that the policy was trained with")
        self.model, self.prompt, self.beta = model.eval(), prompt, beta

    @torch.no_grad()
    def __call__(self, histories: Sequence[History]) -> list[float]:
        """As `Value`. Every history is encoded anew: this one is there to be compared with."""
        pieces = [self.prompt.pieces(history.turns) for history in histories]
        rows = [torch.tensor([token for piece in own for token in piece.tokens]) for own in pieces]
        own = [torch.tensor([piece.turn is not None for piece in some for _ in piece.tokens]) for some in pieces]
        tokens, agent = (pad_sequence(x, batch_first=True).to(self.model.lm.device) for x in (rows, own))
        scores = self.model(tokens, agent, torch.zeros_like(tokens[:, :1]), reference=True)
        ratio = torch.zeros(agent.shape, dtype=scores.logp.dtype, device=agent.device).masked_scatter(
            agent, scores.logp - scores.ref_logp
        )
        return (self.beta * ratio.sum(1)).tolist()


class LikelihoodValue(Value):
    """How likely a history is to the agent that said it: the geometric mean of its tokens' probabilities, in (0, 1].

    No judgement, but what one has to beat: the best of many by it is near what greedy decoding does, and a beam by it is the
    classical beam search with its scores per token (Wu et al. 2016, arXiv 1609.08144, eq. 14 with alpha 1). What has no
    log-probabilities counts for nothing; where nothing has any, the value is 1.
    """

    name = "likelihood"

    def __call__(self, histories: Sequence[History]) -> list[float]:
        """As `Value`."""
        return [self._mean(history) for history in histories]

    @staticmethod
    def _mean(history: History) -> float:
        logps = [logp for turn in history.turns if turn.action for logp in turn.action.logps or ()]
        return math.exp(sum(logps) / len(logps)) if logps else 1.0


def said(prompt: Prompt, history: History) -> list[int]:
    """A history's tokens, up to the state where V after its last action is read."""
    tokens = [token for piece in prompt.pieces(history.turns) for token in piece.tokens]
    return tokens[:-1] if tokens[-1] == prompt.closer else tokens


def _known(value: float | None) -> float:
    assert value is not None  # it was fed
    return value
