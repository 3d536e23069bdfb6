"""Choosing among texts: what a state offers, the language model's score of each, and the agent that picks one.

A state offers ALFWorld's `info["admissible_commands"]`, the letters of a question's `info["choices"]`, or the next steps that a
language model proposes. The policy is the language model itself, renormalised over what is offered:

    pi(c | s) = exp(score(c)) / sum over offered c' of exp(score(c'))

with score(c) = log p(c | s), the closing token included (GLAM, Carta et al. 2023, arXiv 2302.02662), or its mean per token (the
token normalisation of TWOSOME, Tan et al. 2024, arXiv 2401.14151), without which long texts are hardly ever tried by a model that
knows nothing yet.
"""

from __future__ import annotations

import string
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agents.agent import Action, Agent, History, Segment
from agents.attention import additive, alike, windowed
from agents.logprob import token_log_probs
from agents.model import ActorCritic
from agents.prompt import Prompt

NONE = -1
"""Fills id arrays after the last token; no id of a tokenizer, where a pad token may be one that is also said."""

Offer = Callable[[Sequence[History]], list[list[Action]]]
"""Histories whose last turn is still without an action -> the actions that each may choose from."""


@dataclass(frozen=True)
class View:
    """How a choice policy sees its environment. A checkpoint keeps it, so that evaluation shows what training showed."""

    per_token: bool = False
    """score by the mean log-probability per token, not the sum: for a model that knows nothing of the task yet"""
    max_tokens: int = 1024
    """most tokens of a state; of a longer one the first observation and the last turns are kept"""
    max_choices: int = 128
    """most texts on offer at once"""
    choice_tokens: int = 64
    """most tokens of a text on offer, and of a proposed one"""
    proposals: int = 0
    """next steps that the frozen starting model proposes; 0 offers what the environment lists"""


def listed(histories: Sequence[History]) -> list[list[Action]]:
    """Offer what the environment lists: admissible commands, or else an answer for each choice of a question.

    Raises:
        ValueError: a state without either.
    """
    return [_listed(history) for history in histories]


def _listed(history: History) -> list[Action]:
    if commands := history.turns[-1].info.get("admissible_commands"):
        return [Action(command) for command in commands]
    if choices := history.turns[0].info.get("choices"):
        return [Action(f"So the answer is {letter}.") for letter in string.ascii_uppercase[: len(choices)]]
    raise ValueError(
        f"task {history.task!r} offers no choices: wanted info['admissible_commands'] at each step, or info['choices'] at reset; "
        "where texts are free, let a trained model propose them (--view.proposals K --model DIR)"
    )


class Proposals:
    """Offers the different texts among `count` next steps that an agent samples, in the order of their first sample.

    Args:
        agent: who proposes; its weights must not change, or the same state would offer other things later.
        count: samples a state.
        segment: the environment's rule that cuts a response into steps; None where an action is whole.
    """

    def __init__(self, agent: Agent, count: int, segment: Segment | None = None) -> None:
        if count < 2:
            raise ValueError(f"proposals={count}: a choice needs at least 2")
        self.count, self.segment = count, segment
        self.agent = agent.stopping(lambda text: len(segment(text)) > 1) if segment else agent

    def __call__(self, histories: Sequence[History]) -> list[list[Action]]:
        """Sample; an episode's (task, seed) and turn name the random streams, so that it is offered the same again."""
        asked = [
            History(history.task, zlib.crc32(f"{history.seed}|{len(history.turns)}|{sample}".encode()), list(history.turns))
            for history in histories
            for sample in range(self.count)
        ]
        actions = iter(self.agent.act(asked))
        return [self._different([next(actions) for _ in range(self.count)]) for _ in histories]

    def _different(self, actions: list[Action]) -> list[Action]:
        # A step that was cut off would be taken for the end of the response: offered only where there is nothing else.
        whole = [action for action in actions if action.closed] or actions[:1]
        steps = [self.agent.cut(action, self.segment(action.text))[0] for action in whole] if self.segment else whole
        found: dict[str, Action] = {}
        for step in steps:
            found.setdefault(step.text, step)
        return list(found.values())


class ChoiceEncoder:
    """Turns a history and what it offers into two id arrays of fixed size, filled up with `NONE`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, view: View = View()) -> None:
        self.prompt, self.vocab, self.view = Prompt(tokenizer), len(tokenizer), view

    def encode(self, history: History, offered: Sequence[Action]) -> tuple[np.ndarray, np.ndarray]:
        """The episode so far, int32 [max_tokens], and the offered actions, int32 [max_choices, choice_tokens].

        Raises:
            ValueError: the task and the last turn alone, the number of choices or one of them do not fit.
        """
        view, choices = self.view, [self.prompt.action(action, last_of_message=True) for action in offered]
        tokens = self._state(history)
        for name, found in (
            ("max_tokens", len(tokens)),
            ("max_choices", len(choices)),
            ("choice_tokens", max(map(len, choices), default=0)),
        ):
            if found > (most := getattr(view, name)):
                where = f"task {history.task!r}, turn {len(history.turns)}"
                raise ValueError(
                    f"{where}: needs {name} of at least {found}, got {most}: give --view.{name.replace('_', '-')} more"
                )
        state = np.full(view.max_tokens, NONE, np.int32)
        state[: len(tokens)] = tokens
        rows = np.full((view.max_choices, view.choice_tokens), NONE, np.int32)
        for row, choice in zip(rows, choices, strict=False):
            row[: len(choice)] = choice
        return state, rows

    def _state(self, history: History) -> list[int]:
        """All pieces, or the first and as many of the last as fit, from an action on: the first ends where an action is wanted."""
        first, *rest = self.prompt.pieces(history.turns)
        actions = [index for index, piece in enumerate(rest) if piece.turn is not None]
        for start in actions or [0]:
            tokens = [token for piece in (first, *rest[start:]) for token in piece.tokens]
            if len(tokens) <= self.view.max_tokens:
                break
        return tokens


def score_choices(model: ActorCritic, tokens: Tensor, choices: Tensor, per_token: bool = False) -> tuple[Tensor, Tensor | None]:
    """Score every choice in one forward pass a row: the choices stand behind the state and do not see each other.

    Args:
        model: policy, and critic where there is one.
        tokens: the states' ids, long [B, T], `NONE` after the last.
        choices: the choices' ids, long [B, C, L], `NONE` after the last and in rows that are no choice.
        per_token: mean log-probability of a choice's tokens instead of their sum.

    Returns:
        Scores, float [B, C], -inf where there is no choice; and V of the states, float [B], None without a critic.
    """
    rows, width, _ = choices.shape
    length = (tokens >= 0).sum(1)
    count, longest = ((choices >= 0).any(2).sum(1).max(), (choices >= 0).sum(2).max())
    tokens = tokens[:, : int(length.max())]
    choices = choices[:, : max(1, int(count)), : max(1, int(longest))]
    real, (_, kept, longest) = choices >= 0, choices.shape
    hidden = _hidden(model.lm, tokens, choices[:, :, :-1], length)
    row = torch.arange(rows, device=tokens.device)
    state, after = hidden[row, length - 1], hidden[:, tokens.shape[1] :].unflatten(1, (kept, longest - 1))
    before = torch.cat([state[:, None, None].expand(-1, kept, 1, -1), after], 2)  # what each token was predicted from
    logp = token_log_probs(before[real], choices[real], model.logits)
    scores = torch.zeros(real.shape, dtype=logp.dtype, device=logp.device).masked_scatter(real, logp).sum(2)
    if per_token:
        scores = scores / real.sum(2).clamp(min=1)
    scores = scores.masked_fill(~real.any(2), -torch.inf)
    scores = torch.nn.functional.pad(scores, (0, width - kept), value=-torch.inf)
    if model.value_head is None:
        return scores, None
    return scores, model.values(tokens.clamp(min=0), hidden[:, : tokens.shape[1]])[row, length - 1]


def _hidden(lm: PreTrainedModel, tokens: Tensor, choices: Tensor, length: Tensor) -> Tensor:
    """Final hidden states [B, T + C * L, D] of states [B, T] and the choices [B, C, L] behind each."""
    (_, states), (_, count, longest) = tokens.shape, choices.shape
    ids = torch.cat([tokens, choices.flatten(1)], 1)
    place = torch.arange(longest, device=ids.device).repeat(count)
    position = torch.cat([torch.arange(states, device=ids.device).expand(len(ids), -1), length[:, None] + place], 1)
    # 0 owns the state's tokens, k > 0 those of choice k; a token sees the state and its own choice, up to itself.
    owner = torch.arange(1, count + 1, device=ids.device).repeat_interleave(longest)
    owner = torch.cat([torch.zeros(states, dtype=torch.long, device=ids.device), owner])
    visible = (ids >= 0)[:, None] & (position[:, None] <= position[:, :, None]) & ((owner == 0) | (owner == owner[:, None]))
    mask = additive(visible, lm.dtype)
    found = lm.base_model(input_ids=ids.clamp(min=0), position_ids=position, attention_mask=mask, use_cache=False)
    return found.last_hidden_state


def check_scoring(lm: PreTrainedModel) -> None:
    """Make sure that a model computes the same of texts that share a state: some attention takes no mask, or has a window.

    Raises:
        ValueError: it does not.
    """
    if windowed(lm) or not _same_scored(lm):
        raise ValueError(
            f"{type(lm).__name__} has windows, or takes no mask and positions of ours ({lm.config._attn_implementation} attention) "
            "and so cannot score several texts behind one state: give a model with full attention"
        )


def _same_scored(lm: PreTrainedModel) -> bool:
    """Whether two choices behind each of two states have the final states that they have alone."""
    states, choices = [[0, 1], [2, 1, 0]], [[[2, 3], [3, 1]], [[1, 1], [0, 2]]]
    rows = [[*state, *choice] for state, some in zip(states, choices, strict=True) for choice in some]
    tokens = torch.tensor([[*state, NONE, NONE][:3] for state in states], device=lm.device)
    with torch.no_grad():
        alone = [lm.base_model(torch.tensor([row], device=lm.device), use_cache=False)[0][0, -2:] for row in rows]
        try:
            found = _hidden(lm, tokens, torch.tensor(choices, device=lm.device), (tokens >= 0).sum(1))
        except (TypeError, ValueError, RuntimeError):  # what a model says that knows no such arguments
            return False
    return alike(found[:, tokens.shape[1] :].flatten(0, 1), torch.cat(alone))


class ChoiceAgent(Agent):
    """Picks among what is offered: the best score at temperature 0, else a draw from softmax(score / temperature).

    Args:
        model, encoder: the policy, and the encoder of its tokenizer.
        offer: what a state offers.
        temperature: of the choice.
        name: what logs call this agent.
        batch: states scored at once.

    Raises:
        ValueError: the model computes otherwise when several texts share a state.
    """

    def __init__(
        self,
        model: ActorCritic,
        encoder: ChoiceEncoder,
        offer: Offer = listed,
        temperature: float = 0.0,
        name: str = "choice",
        batch: int = 32,
    ) -> None:
        check_scoring(model.lm)
        self.model, self.encoder, self.offer = model.eval(), encoder, offer
        self.temperature, self.name, self.batch = temperature, name, batch

    def act(self, histories: Sequence[History]) -> list[Action]:
        """Choose one action each. Raises ValueError where nothing is offered, or more than the encoder holds."""
        offered = self.offer(histories)
        encoded = [self.encoder.encode(*pair) for pair in zip(histories, offered, strict=True)]
        found = []
        for first in range(0, len(encoded), self.batch):
            arrays = zip(*encoded[first : first + self.batch], strict=True)
            tokens, choices = (torch.from_numpy(np.stack(part)).long().to(self.model.lm.device) for part in arrays)
            with torch.inference_mode():
                found += score_choices(self.model, tokens, choices, self.encoder.view.per_token)[0].double().cpu().tolist()
        picked = [self._pick(*pair) for pair in zip(histories, found, strict=True)]
        # A proposer's log-probabilities are not those of this policy: logged, they would be taken for its own.
        return [replace(actions[index], logps=None) for actions, index in zip(offered, picked, strict=True)]

    def cut(self, action: Action, pieces: Sequence[str]) -> list[Action]:
        """Leave the action whole: what is offered is a step, even where its last token says a little of the next."""
        return [action]

    def _pick(self, history: History, scores: list[float]) -> int:
        if self.temperature == 0:
            return int(np.argmax(scores))
        stream = np.random.default_rng([history.seed, zlib.crc32(history.task.encode()), len(history.turns)])
        weights = np.exp((np.array(scores) - max(scores)) / self.temperature)
        return int(stream.choice(len(weights), p=weights / weights.sum()))
