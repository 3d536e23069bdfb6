"""What a model reads of an episode."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.model import ActorCritic
from agents.prompt import Prompt
from rollouts.encode import encode
from rollouts.stats.tokens import Reader, Tokens, load_reader
from rollouts.trajectory import End, Step, Trajectory


@pytest.fixture
def prompt(tokenizer: PreTrainedTokenizerFast) -> Prompt:
    return Prompt(tokenizer)


def ids(prompt: Prompt, text: str, closed: bool = True) -> tuple[int, ...]:
    return (*prompt.tokenizer.encode(text, add_special_tokens=False), *([prompt.closer] if closed else []))


def episode(*steps: Step) -> Trajectory:
    return Trajectory("E", "t", 0, steps, End.TERMINATED, "lm")


def counted(prompt: Prompt, *episodes: Trajectory, context: int = 100) -> Tokens:
    found = Tokens(Reader(prompt, context, "--context"))
    for one in episodes:
        found.add(one)
    return found


def test_lengths_are_those_of_the_rows_that_are_learnt(prompt: Prompt) -> None:
    sampled = episode(Step("How many?", "Two.", 0.0, ids(prompt, "Two.")), Step("Sure?", "Yes.", 1.0, ids(prompt, "Yes.")))
    found = counted(prompt, sampled, episode(Step("How many apples?", "#### 3", 1.0)))
    rows = [encode(one, prompt, 10_000) for one in (sampled, episode(Step("How many apples?", "#### 3", 1.0)))]
    assert found.row.counts.total() == 2
    assert found.row.to_json()["sum"] == sum(len(row.tokens) for row in rows if row)
    assert found.own.to_json()["sum"] == sum(step >= 0 for row in rows if row for step in row.step)


def test_rows_beyond_the_context(prompt: Prompt) -> None:
    one = episode(Step("How many?", "Two.", 1.0))
    length = counted(prompt, one).row.quantile(1)
    assert counted(prompt, one, context=length).to_json()["beyond_context"] == 0
    assert counted(prompt, one, context=length - 1).to_json()["beyond_context"] == 1


def test_sound_ids_are_no_fault(prompt: Prompt) -> None:
    found = counted(prompt, episode(Step("How many?", "Two.", 1.0, ids(prompt, "Two.")))).to_json()
    assert {name: found[name] for name in ("sampled", "misread", "special", "open", "rewritten")} == {
        "sampled": 1,
        "misread": 0,
        "special": 0,
        "open": 0,
        "rewritten": 0,
    }


def test_ids_of_another_tokenizer_are_misread(prompt: Prompt) -> None:
    found = counted(prompt, episode(Step("How many?", "Two.", 1.0, ids(prompt, "Three."))))
    assert (found.misread, found.example) == (1, "t, seed 0: 'Two.' reads as 'Three.'")


def test_a_special_token_within_an_action(prompt: Prompt) -> None:
    special = next(token for token in prompt.tokenizer.all_special_ids if token != prompt.closer)
    text = prompt.tokenizer.decode([special], skip_special_tokens=False)
    found = counted(prompt, episode(Step("o", f"Two.{text}", 1.0, (*ids(prompt, "Two.", False), special, prompt.closer))))
    assert (found.special, found.misread, found.open) == (1, 0, 0)


def test_an_action_that_was_cut_off_is_open(prompt: Prompt) -> None:
    assert counted(prompt, episode(Step("o", "Two.", 1.0, ids(prompt, "Two.", closed=False)))).open == 1


def test_ids_that_no_encoder_gives(prompt: Prompt) -> None:
    """The text letter by letter reads the same, and is encoded otherwise."""
    spelt = tuple(token for letter in "How many" for token in prompt.tokenizer.encode(letter, add_special_tokens=False))
    found = counted(prompt, episode(Step("o", "How many", 1.0, (*spelt, prompt.closer))))
    assert (found.misread, found.rewritten) == (0, 1)


def test_an_episode_without_a_step_has_no_row(prompt: Prompt) -> None:
    assert len(counted(prompt, episode()).row) == 0


@pytest.mark.parametrize(
    ("max_length", "wanted"), [(300, (300, "max_length of its training")), (9000, (512, "the model's window"))]
)
def test_the_context_is_the_smaller_one(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM, max_length: int, wanted: tuple[int, str]
) -> None:
    base = checkpoint.Base("x", "y")
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm), tokenizer, base, {"training": {"max_length": max_length}})
    reader = load_reader(str(tmp_path / "run"))
    assert (reader.context, reader.source) == wanted
    assert load_reader(str(tmp_path / "run"), 77).context == 77


def test_no_model_and_no_context(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        load_reader(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="--context must be at least 1, got 0"):
        load_reader(str(tmp_path / "none"), 0)
