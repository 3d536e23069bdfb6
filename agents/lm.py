"""The sampling agent: a language model that reads text and writes actions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from agents.agent import Action, Agent, Engine, History
from agents.generate import Row, Sampler
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.sampling import Sampling


class TokenAgent(Agent):
    """An agent whose actions are sampled tokens, closed by the prompt's closing token."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.prompt = tokenizer, Prompt(tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an action's tokens, without the closing token."""
        ids = ids[:-1] if ids and ids[-1] == self.prompt.closer else ids
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def cut(self, action: Action, pieces: Sequence[str]) -> list[Action]:
        """Cut a whole response where its text was cut; a token that spans a boundary belongs to the step it starts in."""
        if action.tokens is None:
            return super().cut(action, pieces)
        starts = [len(self.decode(action.tokens[:index]).rstrip("\ufffd")) for index in range(len(action.tokens))]
        ends = np.cumsum([len(piece) for piece in pieces])[:-1]
        step_of = np.searchsorted(ends, starts, side="right")
        found = []
        for step in range(len(pieces)):
            chosen = np.flatnonzero(step_of == step)
            if not len(chosen):
                continue  # a step shorter than one token: its text went to the step before
            first, last = int(chosen[0]), int(chosen[-1]) + 1
            end = starts[last] if last < len(starts) else len(action.text)
            found.append(
                replace(
                    action,
                    text=action.text[starts[first] : end],
                    tokens=action.tokens[first:last],
                    logps=action.logps and action.logps[first:last],
                    closed=action.closed or last < len(starts),
                    value=action.value if first == 0 else None,
                    info=action.info if first == 0 else {},
                )
            )
        return found


class LMAgent(TokenAgent):
    """Samples actions from a policy, keeping each episode's KV cache between its turns.

    Args:
        model: policy (and perhaps critic).
        tokenizer: its tokenizer.
        sampling: how tokens are drawn.
        name: what logs call this agent.
        stop: `stop(text)` ends an action early (used for one step at a time); the token that made it true is kept.
    """

    def __init__(
        self,
        model: ActorCritic,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling = Sampling(),
        name: str = "lm",
        stop: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(tokenizer)
        self.name, self.sampling, self.stop = name, sampling, stop
        stop_ids = (lambda ids: stop(self.decode(ids))) if stop else None
        self.sampler = Sampler(model.eval(), [self.prompt.closer], sampling, stop=stop_ids)

    def act(self, histories: Sequence[History]) -> list[Action]:
        """Sample the next action of every history; see `agents.agent.Agent.act`."""
        rows = [self.row(history) for history in histories]
        self.sampler.extend(rows)
        return [self.action(row) for row in rows]

    def engine(self) -> LMEngine:
        """Continuous batching; one engine at a time."""
        return LMEngine(self)

    def stopping(self, stop: Callable[[str], bool]) -> LMAgent:
        """The same model and sampling with `stop`, and a cache of its own."""
        return LMAgent(self.sampler.model, self.tokenizer, self.sampling, self.name, stop)

    def action(self, row: Row) -> Action:
        """What a row's last sampled tokens are."""
        ids = row.action
        return Action(self.decode(ids), tuple(ids), tuple(row.logps), self._closed(ids), row.value)

    def _closed(self, ids: Sequence[int]) -> bool:
        """Whether the agent ended the action itself: by its closing token, or where one step was asked for."""
        return bool(ids) and (ids[-1] == self.prompt.closer or bool(self.sampler.stop and self.sampler.stop(list(ids))))

    def fork(self, history: History, seed: int) -> History:
        """As `Agent.fork`; what the episode has said is not encoded again, nor fed to the model."""
        found = super().fork(history, seed)
        if (row := history.memory.get("row")) is not None:
            found.memory["row"] = Row(_stream(found), tokens=list(row.tokens))
        return found

    def release(self, history: History) -> None:
        """As `Agent.release`: its row in the cache, which is fed again when it is gone on from."""
        history.memory.pop("row", None)

    def row(self, history: History) -> Row:
        """The episode's row, with all that was said up to the action that is asked for."""
        row = history.memory.get("row")
        if row is None:  # the first action asked for need not be the episode's first
            row = history.memory["row"] = Row(_stream(history))
            row.tokens += [token for piece in self.prompt.pieces(history.turns) for token in piece.tokens]
        else:
            row.tokens += self.prompt.environment(history.turns, len(history.turns) - 1)
        return row


def _stream(history: History) -> np.random.Generator:
    return np.random.default_rng([history.seed, zlib.crc32(history.task.encode())])


class LMEngine(Engine):
    """Continuous batching: an answered history's row is free for others, whatever they are at."""

    def __init__(self, agent: LMAgent) -> None:
        self._agent: LMAgent = agent
        self._asked: dict[Row, History] = {}

    def add_request(self, history: History) -> None:
        """As `Engine.add_request`."""
        row = self._agent.row(history)
        self._asked[row] = history
        self._agent.sampler.submit(row)

    def step(self) -> list[tuple[History, Action]]:
        """Sample one token of each."""
        return [(self._asked.pop(row), self._agent.action(row)) for row in self._agent.sampler.step()]

    def close(self) -> None:
        """As `Engine.close`."""
        self._asked = {}
        self._agent.sampler.clear()
