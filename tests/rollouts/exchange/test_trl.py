"""TRL's formats: TRL's own functions take them, and what they keep comes back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import Action, Turn
from agents.prompt import Prompt
from algorithms.batch import Row
from algorithms.selection import response_pairs
from rollouts.exchange import trl as formats
from rollouts.exchange.messages import messages_of
from rollouts.exchange.trl import Export, ExportPairs, ExportTurns, Import, from_trl, labels_of, pairs_of
from rollouts.trajectory import End, Header, Step, Trajectory
from tests.rollouts.logs import HEADERS, lines, maths_log, trajectories, write

Exporter = Callable[[Any], str]


def episode(task: str, reward: float, *texts: str, seed: int = 0, end: End = End.TERMINATED) -> Trajectory:
    """Observation and action in turn; the last step has the reward."""
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    steps = [Step(o, a, reward if i + 1 == len(pairs) else 0.0) for i, (o, a) in enumerate(pairs)]
    return Trajectory("Env-v0", task, seed, tuple(steps), end, "lm")


WON = episode("a", 1.0, "go", "x", "seen", "y")
LOST = episode("a", 0.0, "go", "z", seed=1)
CRASHED = episode("a", 1.0, "go", "x", seed=2, end=End.ERROR)
EMPTY = Trajectory("Env-v0", "a", 3, (), End.TRUNCATED, "lm")
LOG = [HEADERS[0], WON, LOST, CRASHED, EMPTY]


def exported(folder: Path, export: Exporter, args: type[Export], log: list[Any], **settings: Any) -> list[dict[str, Any]]:
    export(args(write(folder / "log.jsonl", log), folder / "out.jsonl", **settings))
    return [msgspec.json.decode(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


GO = [message("user", "go")]
WAY = [message("assistant", "x"), message("user", "seen"), message("assistant", "y")]


def test_solved_episodes_are_prompts_and_completions(tmp_path: Path) -> None:
    rows = exported(tmp_path, formats.to_prompt_completion, ExportTurns, LOG)
    assert rows == [{"prompt": GO, "completion": WAY}]


def test_all_episodes_that_were_played_have_a_label(tmp_path: Path) -> None:
    rows = exported(tmp_path, formats.to_unpaired, ExportTurns, LOG)
    lost = {"prompt": GO, "completion": [message("assistant", "z")], "label": False}
    assert rows == [{"prompt": GO, "completion": WAY, "label": True}, lost]


def test_a_pair_is_a_solved_and_a_failed_episode(tmp_path: Path) -> None:
    rows = exported(tmp_path, formats.to_preference, ExportPairs, LOG)
    assert rows == [{"prompt": GO, "chosen": WAY, "rejected": [message("assistant", "z")]}]


def test_plain_text_joins_the_steps(tmp_path: Path) -> None:
    rows = exported(tmp_path, formats.to_unpaired, ExportTurns, [HEADERS[0], episode("a", 1.0, "q", "x\n", "", "y")], form="text")
    assert rows == [{"prompt": "q", "completion": "x\ny", "label": True}]


def test_plain_text_cannot_say_several_turns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a, seed 0: the environment speaks after an action, which plain text cannot say"):
        exported(tmp_path, formats.to_unpaired, ExportTurns, LOG, form="text")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("export", "args", "message"),
    [
        (formats.to_prompt_completion, ExportTurns, "the log has no solved episode"),
        (formats.to_preference, ExportPairs, "the log has no task with both a solved and a failed episode"),
        (formats.to_stepwise, Export, "the log has no episode with a credit"),
    ],
)
def test_a_log_without_anything_to_export_is_said(tmp_path: Path, export: Exporter, args: type[Export], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exported(tmp_path, export, args, [HEADERS[0], LOST])
    assert not (tmp_path / "out.jsonl").exists()


def test_pairs_are_those_that_dpo_here_learns_from() -> None:
    """The same draws as `algorithms.selection.response_pairs`, from the same stream."""
    rng = random.Random(0)
    episodes = [episode(rng.choice("abc"), float(rng.random() < 0.5), "q", str(i), seed=i) for i in range(40)]
    rows = [Row((), (), (), solved=t.success, task=t.task, seed=t.seed) for t in episodes]
    theirs = [row.seed for row in response_pairs(rows, 5, random.Random(7))]
    assert [t.seed for pair in pairs_of(episodes, 5, random.Random(7)) for t in pair] == theirs


def test_a_pair_has_one_prompt() -> None:
    other = episode("a", 0.0, "go there", "z", seed=1)
    assert list(pairs_of([WON, other], 6, random.Random(0))) == []


@pytest.mark.parametrize(
    ("targets", "scores", "labels"),
    [
        ((0.0, -0.5, 0.5), (None, None, None), [True, False, True]),
        ((0.0, None, 0.5), (None, None, None), None),
        ((None, None, None), (0.5, 0, 0.0), [True, False, False]),
        ((None, None, None), (0.5, None, 0.0), None),
        ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), [False, False, False]),
    ],
)
def test_labels_are_of_credits_or_else_of_process_scores(targets, scores, labels) -> None:
    steps = [
        Step("", "a", 0.0, target=target, info={} if score is None else {"process_score": score})
        for target, score in zip(targets, scores, strict=True)
    ]
    assert labels_of(steps) == labels


def test_steps_have_labels(tmp_path: Path) -> None:
    steps = (Step("q", "x\n", 0.0, target=0.25), Step("", "y", 0.0, target=-1.0))
    log = [HEADERS[0], Trajectory("Env-v0", "a", 0, steps, End.TERMINATED, "lm"), LOST]
    rows = exported(tmp_path, formats.to_stepwise, Export, log)
    assert rows == [{"prompt": "q", "completions": ["x\n", "y"], "labels": [True, False]}]


# --- TRL's own functions ---


def loaded(path: Path) -> Any:
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


@pytest.fixture
def trl() -> Any:
    return pytest.importorskip("trl.data_utils", reason="trl is not installed")


def test_trl_renders_an_episode_as_the_house_does(tmp_path: Path, trl: Any, tokenizer: Any) -> None:
    """The prompt and the completion that TRL's template gives are the text that is trained here, its closing token included."""
    prompt = Prompt(tokenizer)
    exported(tmp_path, formats.to_prompt_completion, ExportTurns, LOG)
    (row,) = loaded(tmp_path / "out.jsonl")
    assert trl.is_conversational(row)
    rendered = trl.apply_chat_template(row, tokenizer)
    ours = prompt.text([Turn(step.observation, {}, Action(step.action)) for step in WON.steps])
    assert rendered["prompt"] == "<|user|>go<|agent|>"
    assert rendered["prompt"] + rendered["completion"] == ours


def test_trl_renders_both_sides_of_a_pair(tmp_path: Path, trl: Any, tokenizer: Any) -> None:
    exported(tmp_path, formats.to_preference, ExportPairs, LOG)
    (row,) = loaded(tmp_path / "out.jsonl")
    chosen = "x<|end|><|user|>seen<|agent|>y<|end|>"
    assert trl.apply_chat_template(row, tokenizer) == {"prompt": "<|user|>go<|agent|>", "chosen": chosen, "rejected": "z<|end|>"}


def test_trl_makes_labels_of_pairs(tmp_path: Path, trl: Any) -> None:
    exported(tmp_path, formats.to_preference, ExportPairs, LOG)
    unpaired = trl.unpair_preference_dataset(loaded(tmp_path / "out.jsonl"))
    assert sorted(unpaired.column_names) == ["completion", "label", "prompt"]
    assert unpaired["label"] == [True, False]


@pytest.mark.parametrize("form", ["messages", "text"])
def test_columns_are_the_documented_ones(tmp_path: Path, form: str) -> None:
    log = [HEADERS[0], episode("a", 1.0, "q", "x"), episode("a", 0.0, "q", "y", seed=1)]
    columns = {
        formats.to_prompt_completion: (ExportTurns, ["completion", "prompt"]),
        formats.to_preference: (ExportPairs, ["chosen", "prompt", "rejected"]),
        formats.to_unpaired: (ExportTurns, ["completion", "label", "prompt"]),
    }
    for export, (args, names) in columns.items():
        exported(tmp_path, export, args, log, form=form)
        assert sorted(loaded(tmp_path / "out.jsonl").column_names) == names
        (tmp_path / "out.jsonl").unlink()


# --- there and back ---


played = trajectories(least=1, end=st.sampled_from([End.TERMINATED, End.TRUNCATED]))


@settings(max_examples=50)
@given(st.lists(played, min_size=1, max_size=4))
def test_what_was_said_and_whether_it_was_good_comes_back(
    tmp_path_factory: pytest.TempPathFactory, episodes: list[Trajectory]
) -> None:
    folder = tmp_path_factory.mktemp("trl")
    exported(folder, formats.to_unpaired, ExportTurns, [HEADERS[0], *episodes])
    from_trl(Import((folder / "out.jsonl",), "Env-v0", folder / "back.jsonl"))
    header, *back = lines(folder / "back.jsonl")
    assert header == Header("Env-v0", "trl")
    assert [(messages_of(t.steps), t.success) for t in back] == [(messages_of(t.steps), t.success) for t in episodes]


def test_an_experts_steps_come_back(tmp_path: Path) -> None:
    """Maths is cut by lines: all actions are as they were, episodes of a problem are of one task."""
    log = lines(maths_log(tmp_path / "log.jsonl"))[1:]
    formats.to_unpaired(ExportTurns(tmp_path / "log.jsonl", tmp_path / "out.jsonl", form="text"))
    from_trl(Import((tmp_path / "out.jsonl",), "math", tmp_path / "back.jsonl", cut="lines"))
    header, *back = lines(tmp_path / "back.jsonl")
    assert header == Header("MathReason-v0", "trl")

    def kept(episodes: list[Any]) -> list[Any]:
        return [([(s.observation, s.action, s.reward) for s in t.steps], t.end, t.seed) for t in episodes]

    assert kept(back) == kept(log)
    assert [t.task for t in back[:3]] == ["trl/000000", "trl/000000", "trl/000001"]


def test_pairs_and_steps_come_back(tmp_path: Path) -> None:
    exported(tmp_path, formats.to_preference, ExportPairs, LOG)
    from_trl(Import((tmp_path / "out.jsonl",), "Env-v0", tmp_path / "back.jsonl"))
    _, won, lost = lines(tmp_path / "back.jsonl")
    assert (won.success, won.seed, messages_of(won.steps)) == (True, 0, messages_of(WON.steps))
    assert (lost.success, lost.seed, messages_of(lost.steps)) == (False, 1, messages_of(LOST.steps))


@given(st.lists(st.tuples(st.text("ab\n"), st.booleans()), min_size=1, max_size=4))
def test_labels_of_steps_come_back(tmp_path_factory: pytest.TempPathFactory, scored: list[tuple[str, bool]]) -> None:
    folder = tmp_path_factory.mktemp("stepwise")
    row = {"prompt": "q", "completions": [text for text, _ in scored], "labels": [label for _, label in scored]}
    (folder / "in.jsonl").write_bytes(msgspec.json.encode(row))
    from_trl(Import((folder / "in.jsonl",), "Env-v0", folder / "log.jsonl"))
    assert exported(folder, formats.to_stepwise, Export, lines(folder / "log.jsonl")) == [row]


def imported(tmp_path: Path, row: Any) -> list[Any]:
    (tmp_path / "in.jsonl").write_bytes(msgspec.json.encode(row) + b"\n")
    from_trl(Import((tmp_path / "in.jsonl",), "Env-v0", tmp_path / "back.jsonl"))
    return lines(tmp_path / "back.jsonl")[1:]


def test_a_pair_without_a_prompt_of_its_own_is_read(tmp_path: Path) -> None:
    won, lost = imported(tmp_path, {"chosen": [*GO, *WAY], "rejected": [*GO, message("assistant", "z")]})
    assert (messages_of(won.steps), messages_of(lost.steps)) == (messages_of(WON.steps), messages_of(LOST.steps))


def test_demonstrations_are_read_as_solved(tmp_path: Path) -> None:
    (found,) = imported(tmp_path, {"messages": [*GO, *WAY]})
    assert (found.success, messages_of(found.steps)) == (True, messages_of(WON.steps))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("notes", "in.jsonl:1: a str, wanted a row with one of"),
        ({"text": "a"}, r"in.jsonl:1: columns \['text'\], wanted a row with one of completions, chosen, completion, messages"),
        ({"completion": "a"}, "in.jsonl:1: .*missing required field `prompt`; wanted a row of prompt, completion, label"),
        ({"prompt": "a", "completion": "b", "score": 1}, "in.jsonl:1: .*unknown field `score`"),
        ({"prompt": "a", "completion": "b", "label": "yes"}, r"in.jsonl:1: .*at `\$.label`"),
        ({"prompt": "a", "completion": WAY}, "in.jsonl:1: prompt and completion are of different kinds"),
        ({"chosen": "a", "rejected": "b"}, "in.jsonl:1: .*or plain text has no prompt"),
        ({"prompt": GO, "completion": [message("tool", "x")]}, r"in.jsonl:1: .*'tool' - at `\$.completion\[0\].role`"),
        ({"prompt": GO, "completion": GO}, "in.jsonl:1: message 1 is the user's, wanted the assistant's"),
        ({"prompt": "a", "completions": ["b"], "labels": []}, "in.jsonl:1: 1 completions and 0 labels"),
        ({"prompt": "a", "completions": ["b"], "labels": [0.5]}, r"in.jsonl:1: .*at `\$.labels\[0\]`"),
    ],
)
def test_a_fault_is_named_with_file_row_and_field(tmp_path: Path, row: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        imported(tmp_path, row)
    assert not (tmp_path / "back.jsonl").exists()
