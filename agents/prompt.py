"""History -> pieces of tokens: the only place that knows chat templates.

An episode is one conversation. The environment's texts are user messages, the agent's actions are assistant messages; actions
with nothing from the environment between them (the steps of one solution) share a message. Every piece is encoded on its own, so
that no token spans the boundary between what the environment said and what the agent did, and sampled actions keep the very ids
that were sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from agents.agent import Action, Turn

PLAIN_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'assistant' %}{{ message.content + eos_token + '\n' }}"
    "{% else %}{{ message.content + '\n' }}{% endif %}{% endfor %}"
)
"""For tokenizers that bring no chat template: texts on lines of their own, each action closed by the end token."""

_FIRST, _SECOND, _THIRD = "\u2039first\u203a", "\u2039second\u203a", "\u2039third\u203a"


@dataclass(frozen=True)
class Piece:
    """A run of tokens: `turn` is the index of the turn whose action they are, or None where the environment speaks."""

    tokens: tuple[int, ...]
    turn: int | None


class Prompt:
    """Encodes episodes for one tokenizer.

    Raises:
        ValueError: the chat template does not close turns by a special token, or an earlier turn's text depends on later
            turns (then a token that was sampled would not be the token that is trained).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        if tokenizer.chat_template is None:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self._before, self._opening_end = self._split(self._render([("user", _FIRST)], True), _FIRST)
        turn = [("user", _FIRST), ("assistant", _SECOND)]
        after = self._render([*turn, ("user", _THIRD)], True).split(_SECOND, 1)[-1]
        between, self._between_end = self._split(after, _THIRD)
        self.closer = self._find_closer(between)
        self._between = between.split(self.closer_text, 1)[1]
        self._check_prefixes()

    @property
    def closer_text(self) -> str:
        """The text of the token that closes a turn, such as `<|im_end|>`."""
        return str(self.tokenizer.convert_ids_to_tokens(self.closer))

    def action(self, action: Action, last_of_message: bool) -> tuple[int, ...]:
        """The agent's tokens: the sampled ones, or the text's and, at the end of a message, the closing token."""
        if action.tokens is not None:
            return action.tokens
        return (*self._encode(action.text), *([self.closer] if last_of_message else []))

    def environment(self, turns: Sequence[Turn], index: int) -> tuple[int, ...]:
        """The environment's tokens before action `index`: none where the agent goes on within its own message."""
        return self._encode(self._said(turns, index))

    def _said(self, turns: Sequence[Turn], index: int) -> str:
        """The environment's text before action `index`, with the closing token where the agent's own text was cut short."""
        if index == 0:
            return self._before + turns[0].observation + self._opening_end
        before = turns[index - 1].action
        if turns[index].observation == "" or before is None:
            return ""
        closed = before.tokens is None or before.tokens[-1:] == (self.closer,)
        return ("" if closed else self.closer_text) + self._between + turns[index].observation + self._between_end

    def text(self, turns: Sequence[Turn]) -> str:
        """The whole episode as text, for those who encode it themselves."""
        found = ""
        for index, turn in enumerate(turns):
            found += self._said(turns, index)
            if turn.action is not None:
                last = index + 1 == len(turns) or turns[index + 1].observation != ""
                closed = last if turn.action.tokens is None else turn.action.tokens[-1:] == (self.closer,)
                found += turn.action.text + (self.closer_text if closed else "")
        return found

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """The whole episode, environment and agent pieces in turn."""
        found = []
        for index, turn in enumerate(turns):
            found.append(Piece(self.environment(turns, index), None))
            if turn.action is not None:
                last = index + 1 == len(turns) or turns[index + 1].observation != ""
                found.append(Piece(self.action(turn.action, last), index))
        return [piece for piece in found if piece.tokens]

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False)) if text else ()

    def _render(self, messages: list[tuple[str, str]], generate: bool) -> str:
        conversation = [{"role": role, "content": content} for role, content in messages]
        return str(self.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=generate))

    @staticmethod
    def _split(text: str, mark: str) -> tuple[str, str]:
        before, found, after = text.partition(mark)
        if not found:
            raise ValueError(f"the chat template drops or changes a message's text: {mark!r} is not in {text!r}")
        return before, after

    def _find_closer(self, after_action: str) -> int:
        for token in self._encode(after_action):
            if token in self.tokenizer.all_special_ids:
                return token
        raise ValueError(
            f"the chat template puts {after_action!r} after an assistant message, without a special token that closes the turn; "
            "give the tokenizer a chat_template whose assistant messages end with its eos_token"
        )

    def _check_prefixes(self) -> None:
        whole = self._render([("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")], True)
        later = self.closer_text + self._between
        ours = f"{self._before}a{self._opening_end}b{later}c{self._between_end}d{later}e{self._between_end}"
        if whole != ours:
            raise ValueError(
                f"the chat template rewrites earlier turns: it renders {whole!r} where turn by turn gives {ours!r}; "
                "such a template cannot be trained on sampled tokens, give the tokenizer a plainer chat_template"
            )
