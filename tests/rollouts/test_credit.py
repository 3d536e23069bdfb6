from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic, CriticKind
from agents.prompt import Prompt
from algorithms.batch import Level, collate
from algorithms.examples import encode_row
from rollouts.credit import Args, Critic, credit, credit_log, load_critic, main, with_credits
from rollouts.encode import encode
from rollouts.trajectory import End, Header, LogError, LogWriter, Step, Trajectory, read

HEADER = Header("MathReason-v0", "lm", model="abc")


def episode(*steps: Step, task: str = "t", seed: int = 0, end: End = End.TERMINATED) -> Trajectory:
    return Trajectory("E", task, seed, steps, end, "lm")


WON = episode(Step("2 + 3?", "x is 5.\n", 0.0), Step("", "#### 5\n", 1.0), task="won")
PLAYED = episode(Step("a room", "look", 0.0), Step("a desk", "go to desk 1", 0.0), Step("a mug", "take mug 1", 1.0), task="played")
LOST = episode(Step("2 + 3?", "#### 6\n", 0.0), task="lost")
CUT_OFF = episode(Step("a room", "look", 0.5), Step("a desk", "look", 0.5), task="cut off", end=End.TRUNCATED)
BROKEN = episode(Step("a room", "look", 0.0), task="broken", end=End.ERROR)
ALL = [WON, PLAYED, LOST, CUT_OFF, BROKEN]


def critic_of(
    lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, kind: CriticKind | None = "separate", **meta: Any
) -> Critic:
    """A critic whose head is random instead of zero."""
    model = ActorCritic(lm, kind)
    if model.value_head is not None:
        torch.nn.init.normal_(model.value_head.weight, generator=torch.Generator().manual_seed(0))
    return Critic(model.eval(), Prompt(tokenizer), "RUN/value", meta)


@pytest.fixture
def critic(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Critic:
    return critic_of(small_lm, tokenizer, method="value", settings={"level": "step"})


def write(path: Path, trajectories: Sequence[Trajectory], header: Header = HEADER) -> Path:
    with LogWriter(path, header) as log:
        log.append(*trajectories)
    return path


def credited(critic: Critic, trajectories: Sequence[Trajectory], **settings: Any) -> list[Trajectory]:
    return [t for t in credit(critic, trajectories, **settings) if isinstance(t, Trajectory)]


def values(t: Trajectory) -> list[float | None]:
    return [step.value for step in t.steps]


def targets(t: Trajectory) -> list[float]:
    return [step.target for step in t.steps if step.target is not None]


def test_credits_by_hand() -> None:
    """V = .2, .5, .4 and a reward of 1 at the end: .5 - .2, .4 - .5, 1 + 0 - .4."""
    found = with_credits(PLAYED, [0.2, 0.5, 0.4], [0, 0, 1])
    assert targets(found) == pytest.approx([0.3, -0.1, 0.6])
    assert values(found) == [0.2, 0.5, 0.4]


def test_a_critic_that_discounts_steps_gives_discounted_credits(
    critic: Critic, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """r + 0.5 V' - V of the same V."""
    (plain,) = credited(critic, [PLAYED])
    (found,) = credited(critic_of(small_lm, tokenizer, method="value", settings={"level": "step", "gamma": 0.5}), [PLAYED])
    v = [x for x in values(plain) if x is not None]
    assert targets(found) == pytest.approx([0.5 * v[1] - v[0], 0.5 * v[2] - v[1], 1 - v[2]], abs=1e-6)


def test_credits_add_up_to_the_return_minus_the_first_value(critic: Critic) -> None:
    """A truncated episode has return 0, whatever rewards it met."""
    for found, earned in zip(credited(critic, [WON, PLAYED, LOST, CUT_OFF]), (1, 1, 0, 0), strict=True):
        first = found.steps[0].value
        assert first is not None
        assert abs(first) > 1e-3
        assert sum(targets(found)) == pytest.approx(earned - first, abs=1e-6)


@pytest.mark.parametrize("level", ["token", "step"])
def test_every_position_that_is_read_was_trained(tokenizer: PreTrainedTokenizerFast, level: Level) -> None:
    """The states of the learners' own batches, at either level; at the level of steps they are the same."""
    prompt = Prompt(tokenizer)
    for trajectory in (WON, PLAYED, LOST, CUT_OFF):
        row, found = encode_row(trajectory, prompt, 2048), encode(trajectory, prompt, 2048)
        assert row is not None
        assert found is not None
        trained = collate([row], level).start[0].tolist()
        assert row.tokens == found.tokens
        assert set(found.starts.values()) <= set(trained)
        if level == "step":
            assert list(found.starts.values()) == trained


def test_what_is_read_is_what_training_computes(critic: Critic, tokenizer: PreTrainedTokenizerFast) -> None:
    batch = collate([encode_row(PLAYED, Prompt(tokenizer), 2048)], "step")  # type: ignore[list-item]
    with torch.no_grad():
        trained = critic.model(batch.tokens, batch.decision >= 0, batch.start, value=True).value[0]
    (found,) = credited(critic, [PLAYED])
    assert values(found) == pytest.approx(trained.tolist(), abs=1e-5)


def test_sampled_ids_are_read_as_they_are(critic: Critic, tokenizer: PreTrainedTokenizerFast) -> None:
    """Letter by letter is not how the tokenizer itself writes the word, and leads to another state."""
    ids = (*(tokenizer.convert_tokens_to_ids(letter) for letter in "look"), critic.prompt.closer)
    sampled = episode(Step("a room", "look", 0.0, ids, (-1.0,) * len(ids)), Step("a desk", "look", 1.0))
    written = episode(Step("a room", "look", 0.0), Step("a desk", "look", 1.0))
    one, other = credited(critic, [sampled, written])
    assert values(one)[0] == pytest.approx(values(other)[0], abs=1e-5)
    assert values(one)[1] != pytest.approx(values(other)[1], abs=1e-5)
    assert one.steps[0].tokens == ids


def test_tokens_of_another_tokenizer_are_refused_and_nothing_is_written(critic: Critic, tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [WON, episode(Step("see", "go", 1.0, (103, 111), (-1.0, -2.0)))])
    with pytest.raises(ValueError, match="this model reads the logged tokens as"):
        credit_log(log, critic, tmp_path / "out.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl"]


def test_values_do_not_depend_on_the_batch(critic: Critic) -> None:
    together, apart = credited(critic, ALL), credited(critic, ALL, micro_tokens=1)
    for one, other in zip(together, apart, strict=True):
        assert values(one) == pytest.approx(values(other), abs=1e-5)


def test_steps_beyond_the_critics_training_have_no_credit(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """The last step that training kept has the return, as in training."""
    whole = encode(PLAYED, Prompt(tokenizer), 2048)
    assert whole is not None
    short = critic_of(small_lm, tokenizer, training={"max_length": len(whole.tokens) - 1})
    (found,) = credited(short, [PLAYED])
    assert values(found)[2] is None
    assert found.steps[2].target is None
    assert sum(targets(found)) == pytest.approx(1 - (found.steps[0].value or 0), abs=1e-6)


def test_credits_of_another_source_do_not_stay(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Not even where nothing of the episode fits."""
    searched = episode(*(replace(step, value=0.5, target=0.5) for step in PLAYED.steps))
    (found,) = credited(critic_of(small_lm, tokenizer, training={"max_length": 3}), [searched])
    assert all(step.value is None and step.target is None for step in found.steps)


def test_a_log_that_is_not_there_is_said(critic: Critic, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no log at"):
        credit_log(tmp_path / "none.jsonl", critic, tmp_path / "out.jsonl")


def test_a_step_without_tokens_has_the_value_of_the_next(critic: Critic) -> None:
    """And so the credit 0, since it changes nothing that the model reads."""
    (found,) = credited(critic, [episode(Step("2 + 3?", "x is 5.\n", 0.0), Step("", "", 0.0), Step("", "#### 5\n", 1.0))])
    assert values(found)[1] == values(found)[2]
    assert found.steps[1].target == 0


def test_all_else_is_copied_and_episodes_that_ended_by_an_error_stay(critic: Critic, tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", ALL)
    credit_log(log, critic, tmp_path / "out.jsonl")
    found = read(tmp_path / "out.jsonl").trajectories
    plain = [replace(t, steps=tuple(replace(step, value=None, target=None) for step in t.steps)) for t in found]
    assert plain == ALL
    assert found[-1] == BROKEN
    assert all(step.target is not None for t in found[:-1] for step in t.steps)


def test_every_header_names_the_critic(critic: Critic, tmp_path: Path) -> None:
    """A joined log has two."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(write(tmp_path / f"{h.agent}.jsonl", [WON], h).read_bytes() for h in (HEADER, Header("E", "other"))))
    credit_log(log, critic, tmp_path / "out.jsonl")
    headers = read(tmp_path / "out.jsonl").headers
    assert [header.agent for header in headers] == ["lm", "other"]
    assert {header.credit["critic"] for header in headers} == {checkpoint.fingerprint(critic.model)}


def test_an_order_other_than_by_length_stays(critic: Critic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollouts.credit.WINDOW", 2)
    assert [t.task for t in credited(critic, ALL)] == [t.task for t in ALL]


def test_what_is_no_log_of_credits_is_left_alone(critic: Critic, tmp_path: Path) -> None:
    """The log itself above all; a log of credits is made again."""
    log, out = write(tmp_path / "log.jsonl", [WON]), tmp_path / "out.jsonl"
    text = log.read_bytes()
    with pytest.raises(LogError, match="give another --out"):
        credit_log(log, critic, log)
    assert log.read_bytes() == text
    for _ in range(2):
        credit_log(log, critic, out)
    assert len(read(out).trajectories) == 1


def test_a_value_that_is_not_finite_is_refused(critic: Critic) -> None:
    with pytest.raises(ValueError, match="the critic says nan of a state of won"):
        with_credits(WON, [0.5, float("nan")], [0, 1])


@pytest.mark.parametrize(
    ("kind", "meta", "message"),
    [
        (None, {"method": "sft"}, r"RUN/value \(sft\) has no value head"),
        ("separate", {"method": "value", "settings": {"level": "response"}}, "before the whole response only"),
        ("separate", {"method": "dro"}, "before the whole response only"),
        ("separate", {"method": "dqo", "settings": {"level": "token", "gamma": 0.9}}, r"gamma 0.9.*--level step or --gamma 1"),
        ("separate", {"method": "oreo", "training": {"truncated": "bootstrap"}}, "goes on behind a limit.*--truncated zero"),
    ],
)
def test_critics_that_cannot_say_v_of_each_step_are_refused(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, kind: CriticKind | None, meta: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        critic_of(small_lm, tokenizer, kind, **meta)


@pytest.mark.parametrize(("truncated", "earned"), [("zero", 0.0), ("drop", 0.0), ("keep", 1.0)])
def test_what_a_limit_cut_off_has_earned_what_the_critic_learnt(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, truncated: str, earned: float
) -> None:
    """Credits add up to the return minus V of the beginning: 0.5 + 0.5, or nothing."""
    critic = critic_of(small_lm, tokenizer, method="value", settings={"level": "step"}, training={"truncated": truncated})
    (found,) = credited(critic, [CUT_OFF])
    assert sum(targets(found)) + (values(found)[0] or 0.0) == pytest.approx(earned, abs=1e-6)


def test_oreo_at_response_level_has_values_at_all_tokens(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    assert credited(critic_of(small_lm, tokenizer, method="oreo", settings={"level": "response"}), [WON])


def test_the_command(
    critic: Critic, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, out = write(tmp_path / "log.jsonl", ALL), tmp_path / "out.jsonl"
    checkpoint.save(tmp_path / "value", critic.model, tokenizer, Base("tiny", ""), {"method": "value", "settings": {}})
    main(Args(log, str(tmp_path / "value"), out))
    assert "4 episodes, 2 solved" in capsys.readouterr().out
    assert read(out).headers[0].credit == load_critic(tmp_path / "value").described()
