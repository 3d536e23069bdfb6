"""The command: each finding from the smallest log that has it, and none from a sound one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.model import ActorCritic
from rollouts.lines import LogError
from rollouts.stats.__main__ import Args, main
from rollouts.stats.survey import go_through
from rollouts.stats.tokens import load_reader
from rollouts.trajectory import End, Header, Step, Trajectory
from tests.rollouts.logs import maths_log, write

HEADER = Header("MathReason-v0", "lm")


def episode(task: str, seed: int = 0, reward: float = 1.0, end: End = End.TERMINATED, **step: object) -> Trajectory:
    fields = {"observation": "o", "action": f"a{seed}", "info": {}} | step
    return Trajectory("MathReason-v0", task, seed, (Step(reward=reward, **fields),), end, "lm", final="broke")  # type: ignore[arg-type]


SOUND = [episode("x/1"), episode("x/1", 1, 0.0), episode("x/2"), episode("x/2", 1, 0.0)]


def found(folder: Path, *episodes: Trajectory, headers: tuple[Header, ...] = (HEADER,)) -> list[str]:
    return [finding.found for finding in go_through(write(folder / "log.jsonl", [*headers, *episodes])).findings()]


def test_a_sound_log_has_nothing_to_mend(tmp_path: Path) -> None:
    assert found(tmp_path, *SOUND) == []


@pytest.mark.parametrize(
    ("episodes", "finding"),
    [
        ([episode("x/1", reward=0.0)], "none of 1 episodes is solved"),
        ([episode("x/1")], "every episode is solved"),
        ([episode("x/1"), episode("x/2", reward=0.0)], "0 of 2 tasks have both a solved and an unsolved episode"),
        ([*SOUND, episode("x/3", end=End.ERROR)], "1 of 5 (20.0%) episodes ended by an error"),
        ([*SOUND, episode("x/3", end=End.TRUNCATED)], "1 of 5 (20.0%) episodes were truncated"),
        ([*SOUND, episode("x/3", info={"outcome": "unparseable"})], "1 of 5 (20.0%) episodes have the outcome unparseable"),
        ([*SOUND, episode("x/1")], "1 of 5 (20.0%) episodes do what an earlier one of their task did"),
        ([*SOUND, episode("x/3", tokens=(1,))], "some steps have tokens, others have none"),
        ([*SOUND, episode("x/3", action=" go")], "1 of 5 (20.0%) steps: space before the action (x/3, seed 0, step 1: ' go')"),
        (
            [*SOUND, episode("x/3", observation="<|im_start|>user")],
            "1 of 5 (20.0%) steps: template in what is observed (x/3, seed 0, step 1: '<|im_start|>user')",
        ),
    ],
)  # fmt: skip
def test_each_finding(tmp_path: Path, episodes: list[Trajectory], finding: str) -> None:
    assert found(tmp_path, *episodes) == [finding]


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        (Header("MathReason-v0", "lm", model="b"), "headers name 2 different model"),
        (Header("MathReason-v0", "lm", {"split": "test"}), "headers name 2 different env_args"),
        (Header("Other-v0", "lm"), "headers name 2 different env_id"),
    ],
)
def test_headers_that_differ(tmp_path: Path, other: Header, finding: str) -> None:
    assert found(tmp_path, *SOUND, headers=(HEADER, other)) == [finding]


def test_space_that_is_everywhere_is_no_drift(tmp_path: Path) -> None:
    spaced = [
        msgspec.structs.replace(t, steps=(msgspec.structs.replace(t.steps[0], action=" " + t.steps[0].action),)) for t in SOUND
    ]
    assert found(tmp_path, *spaced) == []


def test_a_slip_in_thousands_is_shown_and_no_finding(tmp_path: Path) -> None:
    many = [episode(f"x/{task}", seed, float(seed)) for task in range(60) for seed in (0, 1)]
    log = go_through(write(tmp_path / "log.jsonl", [HEADER, *many, episode("x/9", 2, 0.0, action=" go")]))
    assert log.texts.odd == {"space before the action": 1}
    assert list(log.findings()) == []


def test_an_error_that_was_played_again_does_not_count(tmp_path: Path) -> None:
    assert found(tmp_path, episode("x/1", end=End.ERROR, action="broke"), *SOUND) == []


def test_an_empty_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"log.jsonl has a header and no episode: collect some"):
        go_through(write(tmp_path / "log.jsonl", [HEADER]))
    with pytest.raises(LogError, match="no log at"):
        go_through(tmp_path / "none.jsonl")


def test_shards_say_the_same_as_one_file(tmp_path: Path) -> None:
    from rollouts.pack import pack

    whole = maths_log(tmp_path / "log.jsonl")
    pack((whole,), tmp_path / "shards", 1 << 20)
    one, other = (go_through(path).to_json() | {"log": ""} for path in (whole, tmp_path / "shards"))
    assert one == other


def test_ids_and_lengths_that_a_model_cannot_learn(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM
) -> None:
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm), tokenizer, checkpoint.Base("x", "y"))
    log = write(tmp_path / "log.jsonl", [HEADER, *SOUND[:3], episode("x/2", 1, 0.0, tokens=(300, 301))])
    findings = [finding.found for finding in go_through(log, load_reader(str(tmp_path / "run"), 3)).findings()]
    assert findings[0] == "some steps have tokens, others have none"
    assert findings[1] == "4 of 4 (100.0%) episodes are longer than 3 tokens (--context)"
    assert findings[2].startswith("the sampled ids of 1 of 1 (100.0%) episodes say another text (x/2, seed 1: 'a1' reads as ")


def test_tasks_of_the_test_split_are_found(tmp_path: Path) -> None:
    log = maths_log(tmp_path / "log.jsonl", 3)
    findings = [finding.found for finding in go_through(log, against=(str(log),)).findings()]
    assert findings == [f"3 of 3 (100.0%) tasks are in {log} as well (3 id)"]


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    log = maths_log(tmp_path / "log.jsonl", 4)
    command = [sys.executable, "-m", "rollouts.stats", str(log), "--against", "test", "--json", str(tmp_path / "stats.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads((tmp_path / "stats.json").read_text())
    assert (said["episodes"], said["solved"], said["tasks"]["sometimes"]) == (8, 4, 4)
    assert "50.0%" in done.stdout
    assert "against test" in done.stdout


def test_a_context_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--context counts a model's tokens.*give --model, too"):
        main(Args(maths_log(tmp_path / "log.jsonl", 1), context=100))
