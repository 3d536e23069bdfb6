from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents import checkpoint
from agents.agent import Action, Agent, Engine, History
from agents.checkpoint import Base
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.sampling import Sampling
from agents.scripted import ExpertAgent
from rollouts.collect import collect_log
from rollouts.episodes import EpisodeKey, collect, episode_keys
from rollouts.resolve import parse_pairs, resolve_agent
from rollouts.trajectory import End, Header, LogError, LogWriter, Trajectory, read

ROOT = Path(__file__).parents[2]


def play(make: Any, agent: Agent, keys: Any, parallel: int = 8) -> list[Trajectory]:
    found: list[Trajectory] = []
    collect(make, agent, keys, found.append, parallel, "MathReason-v0")
    return found


def maths() -> gym.Env:
    return envs.make("math", count=40)


def test_expert_solves_every_problem_once() -> None:
    keys = episode_keys(maths(), 20, samples=2)
    found = play(maths, ExpertAgent(), keys)
    assert sorted((t.task, t.seed) for t in found) == sorted((k.task, k.seed) for k in keys)
    assert len({t.task for t in found}) == 20
    assert all(t.success and t.end is End.TERMINATED for t in found)
    assert all(t.steps[0].observation and not t.steps[1].observation for t in found)


def test_a_smaller_choice_of_tasks_is_part_of_a_larger_one() -> None:
    few, many = ({k.task for k in episode_keys(maths(), n)} for n in (5, 15))
    assert len(few) == 5
    assert few < many


class Scripted(gym.Env):
    """Raises at the task "bad", else ends when it is told to."""

    tasks = ("good", "bad")
    observation_space = action_space = gym.spaces.Text(100)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.task = (options or {})["task"]
        return "start", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.task == "bad":
            raise RuntimeError("the simulator broke")
        return "on", 1.0, action == "stop", False, {"ok": True, "commands": ["a"]}


class Says(Agent):
    name = "says"

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [Action("stop" if len(h.turns) == 3 else "go") for h in histories]


class Slow(Agent):
    """Its engine answers "good" at once and "bad" only when nothing else is asked for."""

    name = "slow"

    def act(self, histories: Sequence[History]) -> list[Action]:
        raise AssertionError("asked for a whole batch")

    def engine(self) -> Engine:
        return SlowEngine(self)


class SlowEngine(Engine):
    def step(self) -> list[tuple[History, Action]]:
        asked = [history for history in self._waiting if history.task == "good"] or self._waiting
        self._waiting = [history for history in self._waiting if history not in asked]
        return [(history, Action("stop" if len(history.turns) == 3 else "go")) for history in asked]


def test_an_episode_goes_on_while_another_waits_for_its_action() -> None:
    keys = [EpisodeKey("bad", 1, 0), EpisodeKey("good", 0, 0), EpisodeKey("good", 0, 1)]
    assert [t.task for t in play(Scripted, Slow(), keys, 2)] == ["good", "good", "bad"]


def test_an_environment_that_raises_costs_its_own_episode_only() -> None:
    found = {t.task: t for t in play(Scripted, Says(), episode_keys(Scripted(), None))}
    assert found["bad"].end is End.ERROR
    assert found["bad"].final == "RuntimeError: the simulator broke"
    assert not found["bad"].success
    assert [s.action for s in found["good"].steps] == ["go", "go", "stop"]
    assert found["good"].steps[0].info == {"ok": True}


def test_resuming_plays_only_what_is_missing(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    args = ("math", {"count": 40}, ExpertAgent(), Header("", "expert"), log)
    collect_log(*args, episodes=10)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:6]) + lines[6][:20])
    with pytest.warns(UserWarning, match="unfinished"):
        found = collect_log(*args, episodes=10)
    assert len(found) == 10
    assert len({(t.task, t.seed) for t in read(log).trajectories}) == len(read(log).trajectories) == 10
    with pytest.raises(LogError, match="env_args"):
        collect_log("math", {"count": 39}, ExpertAgent(), Header("", "expert"), log, episodes=10)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_cut_and_stepwise_episodes_log_the_same(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, temperature: float
) -> None:
    """A response sampled whole and cut by the environment's rule, and one sampled a step at a time.

    The model is made to write line breaks often, alone and inside a token that spans the boundary, and to close some turns.
    """
    ids = [i for i in range(len(tokenizer)) if "\n" in tokenizer.decode([i])] + [Prompt(tokenizer).closer]
    small_lm.lm_head.weight.data[ids] *= 3
    sampling = Sampling(temperature=temperature, max_new_tokens=24)
    segment = maths().unwrapped.segment  # type: ignore[attr-defined]
    whole = LMAgent(ActorCritic(small_lm), tokenizer, sampling)
    steps = LMAgent(ActorCritic(small_lm), tokenizer, sampling, stop=lambda text: len(segment(text)) > 1)
    keys = episode_keys(maths(), 24)
    one, two = (sorted(play(maths, agent, keys), key=lambda t: t.task) for agent in (whole, steps))
    assert max(len(t.steps) for t in one) > 1
    for cut, stepwise in zip(one, two, strict=True):
        whole_response = cut.end is End.TERMINATED
        # The limit on tokens cuts a whole response off, or each step; but for that the records are the same.
        shared = None if whole_response else len(cut.steps) - 1
        for a, b in zip(cut.steps[:shared], stepwise.steps[:shared], strict=whole_response):
            assert (a.observation, a.action, a.tokens, a.reward, a.info) == (b.observation, b.action, b.tokens, b.reward, b.info)
            assert a.logps == pytest.approx(b.logps, abs=1e-4)
        assert not whole_response or (cut.end, cut.final) == (stepwise.end, stepwise.final)
    assert temperature == 0 or {t.end for t in one} == {End.TERMINATED, End.TRUNCATED}  # greedily it never closes a turn


class Writes(Agent):
    """Writes one response, closed or cut off."""

    name = "writes"

    def __init__(self, text: str, closed: bool) -> None:
        self.action = Action(text, closed=closed)

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [self.action for _ in histories]

    def cut(self, action: Action, pieces: Sequence[str]) -> list[Action]:
        return [Action(piece, closed=index + 1 < len(pieces) or action.closed) for index, piece in enumerate(pieces) if piece]


@pytest.mark.parametrize(
    ("text", "closed", "end", "reward"),
    [
        ("2 + 3 = 5", True, End.TERMINATED, 1.0),
        ("2 + 3 = 5", False, End.TRUNCATED, 0.0),  # it might have gone on: 57
        ("2 + 3 = 5\n#### 5\n", False, End.TERMINATED, 1.0),
        ("2 + 3 = 5\n#### 5", False, End.TRUNCATED, 0.0),
    ],
)
def test_half_a_response_is_not_graded(text: str, closed: bool, end: End, reward: float) -> None:
    for level in ("step", "response"):
        if level == "response" and end is End.TERMINATED and not closed:
            continue  # the whole response is one action there, and it was cut off
        make = lambda level=level: envs.make("math", problems=[{"question": "2 + 3?", "answer": "5"}], level=level)  # noqa: E731
        (found,) = play(make, Writes(text, closed), episode_keys(make(), None))
        assert (found.end, found.total_reward) == (end, reward)
        assert "".join(step.action for step in found.steps) == text


@pytest.mark.parametrize(
    ("prefix", "text", "steps"),
    [
        (["one\n"], "two\n#### 5\n", ["two\n", "#### 5\n"]),
        (["one\ntw"], "o\n#### 5\n", ["o\n", "#### 5\n"]),
        (["one\ntwo"], "\n\nthree\n5", ["\n", "\nthree\n", "5"]),  # alone it would be cut as "\n\nthree\n", "5"
        (["one\n", "two\n"], "", [""]),
    ],
)
def test_a_continuation_is_cut_as_the_whole_response_would_be(prefix: list[str], text: str, steps: list[str]) -> None:
    """The first steps are played before the agent is asked; a token that spans a line break left text after it in a step."""
    make = lambda: envs.make("math", problems=[{"id": "a", "question": "2 + 3?", "answer": "5"}])  # noqa: E731
    keys = [EpisodeKey("a", 0, 0, tuple(Action(step) for step in prefix))]
    (found,) = play(make, Writes(text, True), keys)
    assert [step.action for step in found.steps] == prefix + steps
    assert found.end is End.TERMINATED
    assert found.success == bool(text)


@pytest.mark.parametrize("level", ["step", "response"])
def test_the_expert_solves_at_both_levels_of_text(level: str) -> None:
    make = lambda: envs.make("math", count=5, level=level)  # noqa: E731
    assert all(t.success for t in play(make, ExpertAgent(), episode_keys(make(), None)))


def test_a_log_replays_to_itself(tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Token ids, cut-offs and ends included."""
    logged = collect_log(
        "math",
        {"count": 40},
        LMAgent(ActorCritic(small_lm), tokenizer, Sampling(max_new_tokens=24)),
        Header("", "lm"),
        tmp_path / "log.jsonl",
        episodes=6,
    )
    agent, header = resolve_agent(str(tmp_path / "log.jsonl"), Sampling())
    again = collect_log("math", {"count": 40}, agent, header, tmp_path / "again.jsonl", episodes=6)
    for a, b in zip(*(sorted(episodes, key=lambda t: t.task) for episodes in (logged, again)), strict=True):
        assert (a.task, a.steps, a.end) == (b.task, b.steps, b.end)


class Solves(Agent):
    """Solves every task but the first in two sampled steps."""

    name = "solves"

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [self._act(history) for history in histories]

    def _act(self, history: History) -> Action:
        info = history.turns[0].info
        answer = "none" if info["task"].endswith("000000") else info["answer"]
        text = "I think.\n" if len(history.turns) == 1 else f"#### {answer}\n"
        tokens = tuple(self.tokenizer.encode(text, add_special_tokens=False))
        return Action(text, tokens, (-0.5,) * len(tokens))


def test_a_log_replays_under_another_prompt(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """DVO's format stage: few-shot samples become zero-shot examples. Their log-probabilities are the few-shot prompt's and go."""
    few, zero = ({"count": 4, "prompt": prompt} for prompt in ("gsm8k-few-shot", "gsm8k"))
    logged = collect_log("math", few, Solves(tokenizer), Header("", "solves"), tmp_path / "few.jsonl", episodes=8, samples=2)
    agent, header = resolve_agent(str(tmp_path / "few.jsonl"), Sampling())
    again = collect_log("math", zero, agent, header, tmp_path / "zero.jsonl")
    assert {(t.task, t.seed): t.success for t in again} == {(t.task, t.seed): t.success for t in logged}
    assert sorted(t.success for t in again) == [False] * 2 + [True] * 6
    before = {(t.task, t.seed): t for t in logged}
    for t in again:
        was = before[t.task, t.seed]
        assert [(s.action, s.tokens, s.reward) for s in t.steps] == [(s.action, s.tokens, s.reward) for s in was.steps]
        assert [s.logps for s in t.steps] == [None, None]
        assert "A baker fills 6 trays" in was.steps[0].observation
        assert "A baker fills 6 trays" not in t.steps[0].observation


def test_who_plays_otherwise_has_another_header(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """So that no log of the one is gone on with by the other: a model that writes, and that picks; a log, and what replaced it."""
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("b", "f"))
    named = [str(tmp_path / "sft"), f"choices:{tmp_path / 'sft'}"]
    assert [resolve_agent(name, Sampling())[1].agent for name in named] == ["sft", "choices:sft"]
    found = []
    for count in (1, 2):
        (tmp_path / "log.jsonl").unlink(missing_ok=True)
        collect_log("math", {"count": 4}, Solves(tokenizer), Header("", "solves"), tmp_path / "log.jsonl", episodes=count)
        found += [resolve_agent(str(tmp_path / "log.jsonl"), Sampling())[1].agent for _ in range(2)]
    assert found[0] == found[1] != found[2] == found[3]


def test_what_a_replay_cannot_play_is_said(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    collect_log("math", {"count": 4}, Solves(tokenizer), Header("", "solves"), tmp_path / "log.jsonl")
    agent, header = resolve_agent(str(tmp_path / "log.jsonl"), Sampling())
    with pytest.raises(ValueError, match=r"none of the environment's 2: give the --env-args"):
        collect_log("math", {"count": 2}, agent, header, tmp_path / "again.jsonl")


def test_the_arguments_of_an_agent_are_in_its_log() -> None:
    agent, header = resolve_agent("expert", Sampling(), arguments=parse_pairs(["noise=0.1", "thoughts=true"], "--agent-args"))
    assert agent.name == header.agent == "expert(noise=0.1, thoughts=True)"


def test_numpy_values_and_lone_surrogates_are_logged(tmp_path: Path) -> None:
    class Odd(Scripted):
        tasks = ("good",)

        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
            return "\ud800", 1.0, True, False, {"value": np.float64(0.5), "text": np.str_("a"), "half": "\udc00"}

    (found,) = play(Odd, Says(), episode_keys(Odd(), None))
    assert found.steps[0].info == {"value": 0.5, "text": "a", "half": "?"}
    with LogWriter(tmp_path / "log.jsonl", Header("", "")) as log:
        log.append(found)
    assert read(tmp_path / "log.jsonl").trajectories == [found]


def test_only_what_was_asked_for_is_reported(tmp_path: Path) -> None:
    args = ("math", {"count": 40}, ExpertAgent(), Header("", "expert"), tmp_path / "log.jsonl")
    assert len(collect_log(*args, episodes=8)) == 8
    assert len(collect_log(*args, episodes=3)) == 3
    assert {t.seed for t in collect_log(*args, episodes=2, seed=7)} == {7000}
    assert len(collect_log(*args, episodes=7, samples=5)) == 7
    assert len(read(tmp_path / "log.jsonl").trajectories) == 8 + 2 + 5


def test_a_collection_of_errors_alone_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "tasks", ("bad",))
    monkeypatch.setattr(envs, "make", lambda name, **_: Scripted())
    with pytest.raises(ValueError, match="every episode ended by an error; the first, bad: RuntimeError: the simulator broke"):
        collect_log("scripted", {}, Says(), Header("", "says"), tmp_path / "log.jsonl")


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"samples": 0}, {"parallel": 0}, {"parallel": -1}])
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(wrong))} must be at least 1"):
        collect_log("math", {"count": 4}, ExpertAgent(), Header("", "expert"), tmp_path / "log.jsonl", **wrong)


def test_sampled_tokens_make_the_logged_text(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    agent = LMAgent(ActorCritic(small_lm), tokenizer, Sampling(max_new_tokens=20))
    for t in play(maths, agent, episode_keys(maths(), 6)):
        tokens = [i for s in t.steps for i in s.tokens or ()]
        assert agent.decode(tokens) == "".join(s.action for s in t.steps)
        assert all(len(s.tokens or ()) == len(s.logps or ()) for s in t.steps)


def run(*args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *args], cwd=ROOT, capture_output=True, text=True, **kwargs)


def test_command_line(tmp_path: Path) -> None:
    out = tmp_path / "demos.jsonl"
    done = run("rollouts.collect", "--env", "math", "--agent", "expert", "--episodes", "5", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(read(out).trajectories) == 5
    valid = run("rollouts.trajectory", "validate", str(out))
    assert valid.returncode == 0
    assert "valid, version 1, 5 episodes" in valid.stdout


def test_the_expert_corrects_an_agent(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    args = ("--env", "alfworld", "--env-args", "games=generated", "--agent", "random", "--episodes", "3", "--dagger", "0.5")
    done = run("rollouts.collect", *args, "--agent-args", "order=random", "--out", str(log))
    assert done.returncode == 0, done.stderr
    found = read(log).trajectories
    assert {t.agent for t in found} == {"dagger(0.5)(random, expert(order=random))"}
    marks = [set(step.info) & {"corrected", "disturbance"} for t in found for step in t.steps]
    assert {"corrected"} in marks and {"disturbance"} in marks


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--env", "mth", "--agent", "expert"], "Did you mean"),
        (["--env", "math", "--agent", "exprt"], "did you mean 'expert'"),
        (["--env", "math", "--agent", "expert", "--env-args", "problems=gsm9k"], "gsm8k"),
        (["--env", "math", "--agent", "expert", "--env-args", "difficulty"], "KEY=VALUE"),
        (["--env", "math", "--agent", "expert", "--env-args", "problems=none.jsonl"], "none.jsonl"),
        (["--env", "math", "--agent", "expert", "--env-args", "dificulty=3"], "dificulty"),
        (["--env", "math", "--agent", "expert", "--agent-args", "nois=0.1"], "Did you mean 'noise'"),
        (["--env", "math", "--agent", "expert", "--agent-args", "noise=much"], "noise='much'"),
        (["--env", "math", "--agent", "log.jsonl", "--agent-args", "noise=0.1"], "only scripted agents"),
        (["--env", "math", "--agent", "random", "--dagger", "2"], "correct=2.0: wanted a probability"),
        (["--env", "math", "--agent", "random", "--dagger", "0.5", "--ray", "local"], "leave --ray out"),
        (["--env", "nomod:Foo-v0", "--agent", "expert"], "nomod"),
        (["--env", "CartPole-v1", "--agent", "expert", "--episodes", "1"], "text"),
    ],
)
def test_what_a_user_can_mend_is_said_in_a_line(tmp_path: Path, args: list[str], message: str) -> None:
    done = run("rollouts.collect", *args, "--out", str(tmp_path / "log.jsonl"))
    assert message in done.stdout.replace("\n", " ")
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode == 2


@pytest.mark.parametrize("name", ["log.jsonl.zst", "log"])
def test_a_compressed_collection_goes_on_and_is_played_again(tmp_path: Path, name: str) -> None:
    """What was played in two goes is what is played in one, and an agent like any log."""
    expert, header = resolve_agent("expert", Sampling())
    for episodes in (3, 7):
        found = collect_log("math", {"count": 40}, expert, header, tmp_path / name, episodes)
    assert {(t.task, t.seed) for t in read(tmp_path / name).trajectories} == {(t.task, t.seed) for t in found}
    assert len(found) == 7
    again, header = resolve_agent(str(tmp_path / name), Sampling())
    played = collect_log("math", {"count": 40}, again, header, tmp_path / "again.jsonl")
    assert sorted((t.task, t.total_reward) for t in played) == sorted((t.task, t.total_reward) for t in found)


def test_an_episode_that_later_failed_is_played_again_as_it_went(tmp_path: Path) -> None:
    """In a log that joins two."""
    log = tmp_path / "log.jsonl"
    logged = collect_log("math", {"count": 4}, ExpertAgent(), Header("", "expert"), log, episodes=1)
    (good,) = logged
    with log.open("ab") as file:
        file.write(msgspec.json.encode(msgspec.structs.replace(good, steps=(), end=End.ERROR)) + b"\n")
    agent, header = resolve_agent(str(log), Sampling())
    (again,) = collect_log("math", {"count": 4}, agent, header, tmp_path / "again.jsonl")
    assert (again.success, again.steps) == (True, good.steps)


class Wordy(Scripted):
    """Says a hundred kilobytes at the end."""

    tasks = tuple(f"good {number}" for number in range(200))  # type: ignore[assignment]

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        text, *rest = super().step(action)
        return (text + "." * 100_000 if rest[1] else text, *rest)  # type: ignore[return-value]


@pytest.mark.parametrize("way", ["played", "there", "played again"])
def test_no_episode_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Of twenty megabytes a tenth is more than what is in the air."""
    monkeypatch.setattr(envs, "make", lambda name, **_: Wordy())
    log = tmp_path / "log.jsonl.zst"
    if way != "played":
        collect_log("wordy", {}, Says(), Header("", "says"), log)
    tracemalloc.start()
    if way == "played again":
        agent, header = resolve_agent(str(log), Sampling())
        found = collect_log("wordy", {}, agent, header, tmp_path / "again.jsonl.zst", parallel=4)
    else:
        found = collect_log("wordy", {}, Says(), Header("", "says"), log, parallel=4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(found), found.tally.solved) == (200, 200)
    assert peak < 4e6
