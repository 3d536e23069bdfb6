from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from agents.agent import Action, Turn
from agents.prompt import Piece, Prompt

TURNS = [Turn("You see a mug 1.", {}, Action("take mug 1")), Turn("You take it.", {}, Action("go")), Turn("Done.")]


def text(prompt: Prompt, pieces: list[Piece]) -> str:
    return "".join(prompt.tokenizer.decode(list(piece.tokens)) for piece in pieces)


def test_pieces_of_a_two_turn_episode(tokenizer: PreTrainedTokenizerFast) -> None:
    """user | agent: take, end | user, agent | go, end | user, agent; actions carry the index of their turn."""
    prompt = Prompt(tokenizer)
    pieces = prompt.pieces(TURNS)
    assert [piece.turn for piece in pieces] == [None, 0, None, 1, None]
    assert text(prompt, pieces) == (
        "<|user|>You see a mug 1.<|agent|>take mug 1<|end|><|user|>You take it.<|agent|>go<|end|><|user|>Done.<|agent|>"
    )
    assert pieces[1].tokens[-1] == pieces[3].tokens[-1] == tokenizer.eos_token_id


def test_steps_of_one_solution_share_a_message(tokenizer: PreTrainedTokenizerFast) -> None:
    """An empty observation adds nothing: only the last step is closed."""
    prompt = Prompt(tokenizer)
    pieces = prompt.pieces([Turn("2 + 3?", {}, Action("2 + 3 = 5\n")), Turn("", {}, Action("#### 5"))])
    assert [piece.turn for piece in pieces] == [None, 0, 1]
    assert text(prompt, pieces) == "<|user|>2 + 3?<|agent|>2 + 3 = 5\n#### 5<|end|>"


def test_sampled_tokens_are_kept_as_they_are(tokenizer: PreTrainedTokenizerFast) -> None:
    """Another split of the same text into tokens must survive; the closing token is part of what was sampled."""
    prompt = Prompt(tokenizer)
    odd = tuple(tokenizer.encode(c)[0] for c in "go") + (prompt.closer,)
    pieces = prompt.pieces([Turn("x", {}, Action("go", odd, (0.0,) * 3)), Turn("y")])
    assert pieces[1].tokens == odd
    assert pieces[2].tokens[0] != prompt.closer


def test_a_cut_off_action_is_closed_by_the_environment(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    cut_off = tuple(tokenizer.encode("go on"))
    pieces = prompt.pieces([Turn("x", {}, Action("go on", cut_off, (0.0,) * len(cut_off))), Turn("y")])
    assert pieces[1].tokens == cut_off
    assert pieces[2].turn is None
    assert pieces[2].tokens[0] == prompt.closer


def test_template_that_needs_no_special_token_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>")
    other.chat_template = "{% for m in messages %}{{ m.content + '\n' }}{% endfor %}"
    with pytest.raises(ValueError, match="closes the turn"):
        Prompt(other)


def test_template_that_rewrites_earlier_turns_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    """A template that numbers the messages says something else of the third turn than of the second."""
    other = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>")
    other.chat_template = (
        "{% for m in messages %}{{ loop.index ~ m.content }}{% if m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    )
    with pytest.raises(ValueError, match="rewrites earlier turns"):
        Prompt(other)


def test_tokenizer_without_a_template_gets_the_plain_one(tokenizer: PreTrainedTokenizerFast) -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>")
    prompt = Prompt(other)
    assert text(prompt, prompt.pieces(TURNS[:2])) == "You see a mug 1.\ntake mug 1<|end|>\nYou take it.\ngo<|end|>"
