"""Any text environment as the token MDP of the papers: a state is the tokens so far, an action is the next token."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any, Protocol, SupportsIndex, cast

import gymnasium as gym
import numpy as np

from envs.hints import choose


class Tokenizer(Protocol):
    """The part of a tokenizer that is used: any Hugging Face tokenizer has it."""

    eos_token_id: Any

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Any:
        """Return the ids of `text`."""
        ...

    def decode(self, token_ids: Any) -> Any:
        """Return the text of `token_ids`."""
        ...

    def __len__(self) -> int: ...


class ByteTokenizer:
    """UTF-8 bytes, and the end of turn as id 256: 257 ids, no file needed."""

    eos_token_id = 256

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the UTF-8 bytes of `text`; there are no special tokens to add."""
        return list(text.encode())

    def decode(self, token_ids: Any) -> str:
        """Return the text of ids below 256; bytes that are no UTF-8 become the replacement character."""
        return bytes(token_ids).decode(errors="replace")

    def __len__(self) -> int:
        return 257


class TokenLevel(gym.Env[np.ndarray, np.int64]):
    """A text environment (`env`, actions and observations `str`) and a tokenizer as an environment of tokens.

    An action is one of Discrete(len(tokenizer)). An observation is all tokens so far, int64 of shape (max_length,),
    padded on the right (with the pad token where the tokenizer has one, else EOS); their number is `info["length"]`.
    Tokens are appended until the agent closes its turn with EOS. Then the text environment steps with the decoded turn,
    and the tokens of what it answers are appended: the whole episode is one growing context. A context that is full and
    not terminated is truncated, with no grading; the reward is the text environment's. A turn of `max_turn` tokens is
    closed as if EOS had followed.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        env: gym.Env[str, str],
        tokenizer: Tokenizer | None = None,
        max_length: int = 4096,
        max_turn: int | None = None,
    ) -> None:
        self.env = env
        self.tokenizer: Tokenizer = ByteTokenizer() if tokenizer is None else tokenizer
        if self.tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no eos_token_id: wanted one, it closes the agent's turn; set tokenizer.eos_token")
        if max_length < 2 or (max_turn is not None and max_turn < 1):
            raise ValueError(f"max_length={max_length}, max_turn={max_turn}: wanted at least 2 and 1 tokens")
        self.max_length = max_length
        self.max_turn = max_turn
        self._eos = int(self.tokenizer.eos_token_id)
        pad = getattr(self.tokenizer, "pad_token_id", None)
        self._pad = self._eos if pad is None else int(pad)
        vocabulary = len(self.tokenizer)
        self.action_space = gym.spaces.Discrete(vocabulary)
        self.observation_space = gym.spaces.Box(0, vocabulary - 1, (max_length,), np.int64)
        self._context: list[int] = []
        self._turn: list[int] = []
        self._over = True

    def __getattr__(self, name: str) -> Any:
        # What the text environment offers (tasks, segment, problems) is offered here too. Private names are never
        # forwarded: copying and pickling ask for them before `env` is set.
        if name.startswith("_") or name == "env":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.env.unwrapped, name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset the text environment with the same arguments; the observation is its text's tokens."""
        super().reset(seed=seed)
        text, info = self.env.reset(seed=seed, options=options)
        self._context, self._turn, self._over = self._encode(text), [], False
        if len(self._context) >= self.max_length:
            raise ValueError(
                f"the problem takes {len(self._context)} tokens and the context holds {self.max_length}: make the "
                "environment with a larger max_length"
            )
        return self._observation(), {**info, "length": len(self._context)}

    def step(self, action: SupportsIndex) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Append one token; where it closes the turn, step the text environment.

        Raises ValueError for an id outside the vocabulary, gymnasium's ResetNeeded where no episode is running.
        """
        if self._over:
            raise gym.error.ResetNeeded("the episode is over, or none was begun: call reset() before step()")
        token = self._checked(action)
        self._context.append(token)
        if token != self._eos:
            self._turn.append(token)
            if self.max_turn is None or len(self._turn) < self.max_turn:
                return self._result(0.0, False, False, {})
            self._context.append(self._eos)  # cut short: the closer is the environment's
        text, reward, terminated, truncated, info = self.env.step(cast(str, self.tokenizer.decode(self._turn)))
        self._turn = []
        self._context += self._encode(text)
        return self._result(float(reward), terminated, truncated, info)

    def close(self) -> None:
        """Close the text environment."""
        self.env.close()

    def _checked(self, action: SupportsIndex) -> int:
        vocabulary = len(self.tokenizer)
        token = index(action)
        if not 0 <= token < vocabulary:
            raise ValueError(f"action {token} is outside the vocabulary: wanted a token id from 0 to {vocabulary - 1}")
        return token

    def _result(
        self, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        full = len(self._context) >= self.max_length
        del self._context[self.max_length :]
        truncated = truncated or (full and not terminated)
        self._over = terminated or truncated
        return self._observation(), reward, terminated, truncated, {**info, "length": len(self._context)}

    def _observation(self) -> np.ndarray:
        padding = [self._pad] * (self.max_length - len(self._context))
        return np.array(self._context + padding, dtype=np.int64)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


def at_level(
    make: Callable[..., gym.Env[str, str]], level: str, tokenizer: Tokenizer | None, max_length: int | None, **kwargs: Any
) -> gym.Env[Any, Any]:
    """Make an environment at one of the levels that its class declares in `metadata["levels"]`.

    "token", which alone takes the two extra arguments, is a `TokenLevel` around whole responses where the environment has them,
    else around steps. Other levels are the environment's own, and those with only one text level take no argument for it.
    """
    levels = make.metadata["levels"]  # type: ignore[attr-defined]  # an environment's class
    texts = [name for name in levels if name != "token"]
    chosen = {"level": choose("level", level, levels)} if len(texts) > 1 else {}
    if choose("level", level, levels) == "token":
        env = make(**kwargs, **(chosen and {"level": texts[-1]}))
        return TokenLevel(env, tokenizer, **({"max_length": max_length} if max_length else {}))
    for name, value in (("tokenizer", tokenizer), ("max_length", max_length)):
        if value is not None:
            raise ValueError(f"{name} belongs to level='token', and level is {level!r}: leave it out or change the level")
    return make(**kwargs, **chosen)
