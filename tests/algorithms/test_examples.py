from __future__ import annotations

import msgspec
import pytest
from transformers import PreTrainedTokenizerFast

from agents.prompt import Prompt
from algorithms.batch import collate
from algorithms.examples import encode_row, encode_rows
from algorithms.selection import solved_rows, training_rows
from rollouts.trajectory import End, Step, Trajectory


def episode(*steps: Step, end: End = End.TERMINATED) -> Trajectory:
    return Trajectory("E", "t", 0, steps, end, "lm")


def test_rows_hold_the_conversation_and_whose_it_is(tokenizer: PreTrainedTokenizerFast) -> None:
    """The last environment text is left out: no decision comes after it."""
    prompt = Prompt(tokenizer)
    row = encode_row(episode(Step("see", "go", 0.0), Step("there", "take", 1.0), end=End.TERMINATED), prompt, 100)
    assert row is not None
    spoken = ["".join(tokenizer.decode([t for t, s in zip(row.tokens, row.step, strict=True) if s == turn])) for turn in (0, 1)]
    assert spoken == ["go<|end|>", "take<|end|>"]
    assert tokenizer.decode(row.tokens) == "<|user|>see<|agent|>go<|end|><|user|>there<|agent|>take<|end|>"
    assert row.reward == (0.0, 1.0)
    assert row.solved
    assert row.logps is None


def test_sampled_tokens_and_their_log_probabilities_stay(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    ids = (*(tokenizer.convert_tokens_to_ids(letter) for letter in "go"), prompt.closer)  # not how the tokenizer itself writes it
    row = encode_row(episode(Step("see", "go", 1.0, ids, (-1.0, -2.0, -3.0))), prompt, 100)
    assert row is not None
    assert row.tokens[-3:] == ids
    assert row.logps is not None
    assert row.logps[-3:] == (-1.0, -2.0, -3.0)
    assert sum(row.logps[:-3]) == 0


def test_a_disturbance_is_not_the_agents(tokenizer: PreTrainedTokenizerFast) -> None:
    """Its text stays where it was, no learner is told to repeat it, and what it earned goes to the step before it."""
    prompt = Prompt(tokenizer)
    steps = [Step("see", "go", 0.0), Step("there", "look", 1.0, info={"disturbance": True}), Step("here", "take", 2.0)]
    row = encode_row(episode(*steps), prompt, 100)
    assert row is not None
    said = "<|user|>see<|agent|>go<|end|><|user|>there<|agent|>look<|end|><|user|>here<|agent|>take<|end|>"
    assert tokenizer.decode(row.tokens) == said
    assert tokenizer.decode([t for t, s in zip(row.tokens, row.step, strict=True) if s >= 0]) == "go<|end|>take<|end|>"
    assert collate([row], "step").reward.tolist() == [[1.0, 2.0]]


def test_log_probabilities_stay_with_their_steps_around_a_disturbance(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    ids = (*(tokenizer.convert_tokens_to_ids(letter) for letter in "go"), prompt.closer)
    forced = Step("a", "go", 0.0, ids, (-9.0, -9.0, -9.0), info={"disturbance": True})
    row = encode_row(episode(forced, Step("b", "go", 1.0, ids, (-1.0, -2.0, -3.0)), forced), prompt, 100)
    assert row is not None and row.logps is not None
    assert [logp for logp, step in zip(row.logps, row.step, strict=True) if step >= 0] == [-1.0, -2.0, -3.0]
    assert row.tokens[-3:] == ids and row.step[-3:] == (1, 1, 1)  # what follows the agent's last decision is left out


def test_tokens_of_another_tokenizer_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="give the model that sampled this log"):
        encode_row(episode(Step("see", "go", 1.0, (103, 111), (-1.0, -2.0))), Prompt(tokenizer), 100)


def test_scripted_and_sampled_turns_may_be_mixed(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    ids = (*prompt.tokenizer.encode("hi", add_special_tokens=False), prompt.closer)
    assert encode_row(episode(Step("see", "go", 0.0), Step("there", "hi", 1.0, ids, (0.0,) * len(ids))), prompt, 100) is not None


def test_a_character_cut_between_two_steps_is_no_fault(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    first, second = prompt.tokenizer.encode("é", add_special_tokens=False)
    steps = Step("see", "", 0.0, (first,), (-1.0,)), Step("", "é", 1.0, (second, prompt.closer), (-1.0, -1.0))
    assert encode_row(episode(*steps), prompt, 100) is not None


def test_a_truncated_episode_earned_nothing_or_what_it_was_given_or_is_dropped(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    cut_off = episode(Step("see", "go", 0.5), end=End.TRUNCATED)
    (row,) = encode_rows([cut_off], prompt, 100)
    assert row.reward == (0.0,)
    assert not row.solved
    (row,) = encode_rows([cut_off], prompt, 100, truncated="keep")
    assert row.reward == (0.5,)
    assert not row.solved
    assert list(encode_rows([cut_off], prompt, 100, truncated="drop")) == []


def test_a_truncated_episode_ends_at_the_state_that_its_value_is_read_at(tokenizer: PreTrainedTokenizerFast) -> None:
    """After what the environment said last, where the next action would have begun; mid-message where it said nothing."""
    prompt = Prompt(tokenizer)
    cut_off = episode(Step("see", "go", 0.5), end=End.TRUNCATED)
    (turns,) = encode_rows([msgspec.structs.replace(cut_off, final="there")], prompt, 100, truncated="bootstrap")
    assert tokenizer.decode(turns.tokens) == "<|user|>see<|agent|>go<|end|><|user|>there<|agent|>"
    assert (turns.cut, turns.reward) == (True, (0.5,))
    (message,) = encode_rows([cut_off], prompt, 100, truncated="bootstrap")
    assert tokenizer.decode(message.tokens) == "<|user|>see<|agent|>go"
    (ended,) = encode_rows([episode(Step("see", "go", 0.5))], prompt, 100, truncated="bootstrap")
    assert not ended.cut


def test_a_cut_row_too_long_leaves_what_it_lost_to_its_value(tokenizer: PreTrainedTokenizerFast) -> None:
    """First the second action does not fit, then its observation neither: V is not learnt behind the closing token that is left."""
    prompt = Prompt(tokenizer)
    score = {"process_score": 1.0}
    cut_off = episode(Step("see", "go", 0.5, info=score), Step("there", "take", 0.25, info=score), end=End.TRUNCATED)
    first = encode_row(episode(Step("see", "go", 0.5)), prompt, 100)
    whole = encode_row(cut_off, prompt, 100, truncated="keep")
    assert whole is not None and first is not None
    kept = encode_row(cut_off, prompt, len(whole) - 2, truncated="keep")
    cut = encode_row(cut_off, prompt, len(whole) - 2, truncated="bootstrap")
    assert kept is not None and cut is not None
    assert (kept.reward, kept.process_score) == ((0.75,), (2.0,))
    assert (cut.reward, cut.process_score) == ((0.5,), (1.0,))
    assert tokenizer.decode(cut.tokens) == "<|user|>see<|agent|>go<|end|><|user|>there<|agent|>"
    assert encode_row(cut_off, prompt, len(first), truncated="keep") is not None
    assert encode_row(cut_off, prompt, len(first), truncated="bootstrap") is None  # the only action left is closed


def test_what_a_silent_last_step_earned_is_kept_at_a_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tuple(tokenizer.encode("go", add_special_tokens=False))
    cut_off = episode(Step("see", "go", 0.5, ids, (0.0,) * len(ids)), Step("", "", 0.25, (), ()), end=End.TRUNCATED)
    row = encode_row(cut_off, Prompt(tokenizer), 100, truncated="bootstrap")
    assert row is not None
    assert row.reward == (0.5, 0.25)
    assert collate([row], "token").reward.tolist() == [[0.0] * (len(ids) - 1) + [0.75]]


def test_errors_and_empty_episodes_are_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    broken = episode(Step("see", "go", 1.0), end=End.ERROR)
    assert list(encode_rows([broken, episode()], Prompt(tokenizer), 100)) == []


def test_a_row_too_long_keeps_whole_steps_and_its_return(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    steps = [Step(f"see {i}", "go on and on", 1.0 if i == 4 else 0.0) for i in range(5)]
    whole = encode_row(episode(*steps), prompt, 1000)
    assert whole is not None
    part = encode_row(episode(*steps), prompt, len(whole) - 1)
    assert part is not None
    assert part.tokens == whole.tokens[: len(part)]
    assert max(part.step) == 3
    assert part.reward == (0.0, 0.0, 0.0, 1.0)
    assert encode_row(episode(*steps), prompt, 3) is None


def test_nothing_solved_is_an_error_that_says_what_to_do(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = list(encode_rows([episode(Step("see", "go", 0.0))], Prompt(tokenizer), 100))
    for choose in (solved_rows, training_rows):
        with pytest.raises(ValueError, match=r"no solved episode among 1.*collect more samples"):
            choose(rows)


def test_process_scores_stay_apart_from_rewards(tokenizer: PreTrainedTokenizerFast) -> None:
    """A step without one has 0. A truncated episode earned nothing, and its steps keep their scores."""
    steps = Step("see", "go", 1.0, info={"process_score": 0.5}), Step("there", "take", 1.0, info={"process_solved": 3})
    won, cut_off = (encode_row(episode(*steps, end=end), Prompt(tokenizer), 100) for end in (End.TERMINATED, End.TRUNCATED))
    assert won is not None
    assert cut_off is not None
    assert (won.reward, won.process_score, won.solved) == ((1.0, 1.0), (0.5, 0.0), True)
    assert (cut_off.reward, cut_off.process_score, cut_off.solved) == ((0.0, 0.0), (0.5, 0.0), False)
    plain = encode_row(episode(Step("see", "go", 1.0)), Prompt(tokenizer), 100)
    assert plain is not None
    assert plain.process_score is None


def test_a_score_does_not_make_an_episode_solved(tokenizer: PreTrainedTokenizerFast) -> None:
    lost = episode(Step("see", "go", 0.0, info={"process_score": 1.0}))
    with pytest.raises(ValueError, match="no solved episode"):
        solved_rows(list(encode_rows([lost], Prompt(tokenizer), 100)))


def test_process_scores_of_steps_that_do_not_fit_move_to_the_last_that_does(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = Prompt(tokenizer)
    steps = [Step(f"see {i}", "go on and on", 0.0, info={"process_score": 0.25}) for i in range(4)]
    whole = encode_row(episode(*steps), prompt, 1000)
    assert whole is not None
    part = encode_row(episode(*steps), prompt, len(whole) - 1)
    assert part is not None
    assert part.process_score == (0.25, 0.25, 0.5)


@pytest.mark.parametrize("score", ["high", None, True, [1.0], float("nan")])
def test_a_process_score_that_is_no_number_is_refused(tokenizer: PreTrainedTokenizerFast, score: object) -> None:
    steps = Step("see", "go", 0.0, info={"process_score": 0.0}), Step("there", "take", 1.0, info={"process_score": score})
    with pytest.raises(ValueError, match=r"info\['process_score'\] of step 2 is .*wanted a finite number"):
        encode_row(episode(*steps), Prompt(tokenizer), 100)
