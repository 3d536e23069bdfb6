from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from msgspec.structs import replace
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents.agent import Action, Agent, History, Turn
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.sampling import Sampling
from agents.scripted import ExpertAgent, RandomAgent, ReplayAgent, stream
from rollouts.collect import collect_log
from rollouts.episodes import EpisodeKey, collect, episode_keys, logged_actions, play
from rollouts.process import Settings, score, score_log
from rollouts.trajectory import End, Header, LogError, LogWriter, Step, Trajectory, read

ROOT = Path(__file__).parents[2]
PROBLEMS = [{"id": name, "question": f"{name}: 2 + 3?", "answer": "5"} for name in "abcdef"]
MATHS: dict[str, Any] = {"problems": PROBLEMS}


def maths() -> gym.Env:
    return envs.make("math", **MATHS)


def write(lines: dict[str, list[str]], seed: int = 0) -> list[Trajectory]:
    """Episodes whose steps are these lines, as the environment plays them."""
    keys = [key for key in episode_keys(maths(), None) if key.task in lines]
    found: list[Trajectory] = []
    agent = ReplayAgent({(task, seed): [Turn("", action=Action(step)) for step in steps] for task, steps in lines.items()})
    collect(maths, agent, [EpisodeKey(key.task, key.index, seed) for key in keys], found.append, env_id="MathReason-v0")
    return found


def save(path: Path, trajectories: Sequence[Trajectory], *headers: Header) -> Path:
    path.write_bytes(b"".join(header.encode() for header in headers))
    with LogWriter(path, headers[-1]) as log:
        for trajectory in trajectories:
            log.append(trajectory)
    return path


HEADER = Header("MathReason-v0", "lm", MATHS, {"temperature": 1.0}, "abc")
COMPLETER = Header("", "completes", sampling={"temperature": 0.9}, model="def")


class Completes(Agent):
    """Of the completions of task t after i steps, the first `solves[t, i]` give the right answer. It counts what it is asked."""

    name = "completes"

    def __init__(self, solves: dict[tuple[str, int], int]) -> None:
        self.solves = solves
        self.asked: Counter[tuple[str, int]] = Counter()
        self.seen: dict[tuple[str, int], History] = {}

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [self._complete(history) for history in histories]

    def _complete(self, history: History) -> Action:
        key = history.task, len(history.turns) - 1
        self.asked[key] += 1
        self.seen[key] = history
        return Action("#### 5\n" if self.asked[key] <= self.solves.get(key, 0) else "#### 6\n")


class Chance(Agent):
    """Solves one completion in five, by the episode's private stream."""

    name = "chance"

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [Action("#### 5\n" if stream(history, "chance").random() < 0.2 else "#### 6\n") for history in histories]


LOGGED = {
    "a": ["one\n", "two\n", "three\n", "#### 7\n"],
    "b": ["one\n", "#### 5\n"],
    "c": ["one\n", "two\n", "#### 7\n"],
    "d": ["#### 7\n"],
    "e": ["one\n", "two\n", "#### 7\n"],
}
SOLVES = {("a", 2): 3, ("a", 1): 1, ("e", 2): 1}
"""Task a: good from two steps on back (from one step too, which nobody should ask); c: never; e: at once."""


def scores(trajectory: Trajectory) -> list[float]:
    return [step.info["process_score"] for step in trajectory.steps]


def solved(trajectory: Trajectory) -> list[int | None]:
    return [step.info.get("process_solved") for step in trajectory.steps]


@pytest.mark.parametrize("parallel", [1, 3, 64])
def test_scores_by_hand(parallel: int) -> None:
    """Four completions of each prefix; fraction 1/n.

    a (n = 4, failed): from 3 steps 0 of 4 solved, from 2 steps 3 of 4: the first two steps are good, 1/4 each.
    b (n = 2, solved): both steps 1/2, nothing sampled.
    c (n = 3, failed): neither 2 nor 1 steps lead anywhere: all 0.
    d (n = 1, failed): no prefix.
    e (n = 3, failed): 1 of 4 from 2 steps: 1/3, 1/3, 0, and 1 step is not tried.
    """
    agent = Completes(SOLVES)
    found = {t.task: t for t in score(maths, agent, write(LOGGED), Settings(completions=4), parallel)}
    assert {task: scores(t) for task, t in found.items()} == {
        "a": [1 / 4, 1 / 4, 0, 0],
        "b": [1 / 2, 1 / 2],
        "c": [0, 0, 0],
        "d": [0],
        "e": [1 / 3, 1 / 3, 0],
    }
    assert {task: solved(t) for task, t in found.items()} == {
        "a": [None, 3, 0, None],
        "b": [None, None],
        "c": [0, 0, None],
        "d": [None],
        "e": [None, 1, None],
    }
    assert agent.asked == {("a", 3): 4, ("a", 2): 4, ("c", 2): 4, ("c", 1): 4, ("e", 2): 4}


def test_one_a_step_as_the_papers_figure_shows() -> None:
    found = {t.task: t for t in score(maths, Completes(SOLVES), write(LOGGED), Settings(completions=4, score="one"))}
    assert scores(found["a"]) == [1, 1, 0, 0]
    assert scores(found["b"]) == [1, 1]


def test_all_else_is_copied() -> None:
    logged = write(LOGGED)
    broken = Trajectory("MathReason-v0", "f", 0, (Step("f: 2 + 3?", "one\n", 0.0),), End.ERROR, "lm", final="it broke")
    found = {t.task: t for t in score(maths, Completes(SOLVES), [*logged, broken], Settings(completions=4))}
    assert found["f"] == broken
    for was in logged:
        now = found[was.task]
        assert (now.end, now.success, now.final, now.seed) == (was.end, was.success, was.final, was.seed)
        for before, after in zip(was.steps, now.steps, strict=True):
            assert (after.observation, after.action, after.reward) == (before.observation, before.action, before.reward)
            assert {k: v for k, v in after.info.items() if not k.startswith("process_")} == before.info


def test_the_agent_is_given_what_it_would_have_seen() -> None:
    agent = Completes({})
    list(score(maths, agent, write({"c": LOGGED["c"]}), Settings(completions=1)))
    turns = agent.seen["c", 2].turns[:2]
    assert [(turn.observation, turn.action and turn.action.text) for turn in turns] == [("c: 2 + 3?", "one\n"), ("", "two\n")]


def test_the_same_whatever_is_played_at_once_and_in_whatever_order() -> None:
    """Each completion has a random stream of its own, named by its episode, prefix and number."""
    logged = write({task: ["one\n", "two\n", "three\n", "#### 7\n"] for task in "abcdef"})
    args = Settings(completions=3)
    one = {t.task: t for t in score(maths, Chance(), logged, args, parallel=1)}
    assert one == {t.task: t for t in score(maths, Chance(), logged[::-1], args, parallel=50)}
    assert one == {t.task: next(iter(score(maths, Chance(), [t], args))) for t in logged}
    assert one != {t.task: t for t in score(maths, Chance(), logged, Settings(completions=3, seed=1))}
    assert len({tuple(solved(t)) for t in one.values()}) > 1


def test_two_samples_of_a_task_are_completed_by_different_streams() -> None:
    logged = [t for seed in range(8) for t in write({"a": LOGGED["a"]}, seed)]
    assert len({tuple(solved(t)) for t in score(maths, Chance(), logged, Settings(completions=3))}) > 1


def test_going_on_after_a_stop_gives_the_same_log(tmp_path: Path) -> None:
    """Stopped in the midst of a line, with an episode that had ended by an error: nothing is scored or copied twice."""
    broken = Trajectory("MathReason-v0", "f", 0, (), End.ERROR, "lm", final="it broke")
    log = save(tmp_path / "log.jsonl", [broken, *write(LOGGED)], HEADER)
    settings = Settings(completions=4)
    score_log(log, tmp_path / "whole.jsonl", Completes(SOLVES), COMPLETER, settings)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    for lines in range(1, whole.count(b"\n")):
        out = tmp_path / f"{lines}.jsonl"
        parts = whole.splitlines(keepends=True)
        out.write_bytes(b"".join(parts[:lines]) + parts[lines][:30])
        agent = Completes(SOLVES)
        with pytest.warns(UserWarning, match="unfinished"):
            found = score_log(log, out, agent, COMPLETER, settings)
        assert len(found) == 6
        assert out.read_bytes() == whole
        assert sum(agent.asked.values()) <= 20
    assert agent.asked == {("a", 3): 4, ("a", 2): 4}  # the last episode alone was missing


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """SIGKILL while completions are played: what was scored stays, the rest comes out as if nothing had happened."""
    logged = write({task: ["one\n", "two\n", "three\n", "#### 7\n"] for task in "abcdef"})
    log, out = save(tmp_path / "log.jsonl", logged, HEADER), tmp_path / "out.jsonl"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, str(Path(sys.argv[1]) / 'tests' / 'rollouts'))\n"
        "from test_process import COMPLETER, Chance, Settings, score_log\n"
        "class Dies(Chance):\n"
        "    left = 9\n"
        "    def act(self, histories):\n"
        "        self.left -= 1\n"
        "        return super().act(histories) if self.left else os.kill(os.getpid(), signal.SIGKILL)\n"
        "score_log(Path(sys.argv[2]), Path(sys.argv[3]), Dies(), COMPLETER, Settings(completions=3), parallel=3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT), str(log), str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = read(out).trajectories
    assert 0 < len(before) < len(logged)
    score_log(log, out, Chance(), COMPLETER, Settings(completions=3))
    expected = {t.task: t for t in score(maths, Chance(), logged, Settings(completions=3))}
    assert read(out).trajectories[: len(before)] == before
    assert {t.task: t for t in read(out).trajectories} == expected


def test_the_header_says_whose_log_it_is_and_how_it_was_scored(tmp_path: Path) -> None:
    log, out = save(tmp_path / "log.jsonl", write(LOGGED), HEADER), tmp_path / "out.jsonl"
    score_log(log, out, Completes(SOLVES), COMPLETER, Settings(completions=4))
    (header,) = read(out).headers
    assert (header.env_id, header.agent, header.env_args, header.sampling, header.model) == (
        "MathReason-v0",
        "lm",
        MATHS,
        {"temperature": 1.0},
        "abc",
    )
    assert header.process == {
        "completions": 4,
        "score": "fraction",
        "seed": 0,
        "agent": "completes",
        "sampling": {"temperature": 0.9},
        "model": "def",
    }


def test_what_was_scored_otherwise_is_left_alone(tmp_path: Path) -> None:
    log, out = save(tmp_path / "log.jsonl", write(LOGGED), HEADER), tmp_path / "out.jsonl"
    score_log(log, out, Completes(SOLVES), COMPLETER, Settings(completions=4))
    for settings in (Settings(completions=5), Settings(completions=4, seed=1), Settings(completions=4, score="one")):
        with pytest.raises(LogError, match=r"process=.*another --out"):
            score_log(log, out, Completes(SOLVES), COMPLETER, settings)
    with pytest.raises(LogError, match=r"process=.*another --out"):
        score_log(log, log, Completes(SOLVES), COMPLETER)
    other = save(tmp_path / "other.jsonl", write({"a": ["two\n", "#### 7\n"]}), HEADER)
    with pytest.raises(LogError, match="another episode of a seed 0"):
        score_log(other, out, Completes(SOLVES), COMPLETER, Settings(completions=4))
    with pytest.raises(LogError, match="has process scores already"):
        score_log(out, tmp_path / "twice.jsonl", Completes(SOLVES), COMPLETER)


def test_logs_that_were_joined_are_scored_apart(tmp_path: Path) -> None:
    logged = write(LOGGED)
    joined = save(tmp_path / "joined.jsonl", logged, Header("MathReason-v0", "expert", MATHS))
    joined.write_bytes(joined.read_bytes() + save(tmp_path / "log.jsonl", logged, HEADER).read_bytes())
    with pytest.raises(LogError, match="score each, then join"):
        score_log(joined, tmp_path / "out.jsonl", Completes({}), COMPLETER)
    twice = tmp_path / "twice.jsonl"
    twice.write_bytes((tmp_path / "log.jsonl").read_bytes() * 2)
    with pytest.raises(LogError, match="2 episodes of"):
        score_log(twice, tmp_path / "out.jsonl", Completes({}), COMPLETER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: [q | {"question": "1 + 4?"} for q in p], r"before step 1 it said '1 \+ 4\?', in the log 'a: 2 \+ 3\?'"),
        (lambda p: p[1:], "it ended after 0 steps"),
    ],
)
def test_another_environment_is_noticed(tmp_path: Path, change: Callable[[Any], Any], message: str) -> None:
    log = save(tmp_path / "log.jsonl", write({"a": LOGGED["a"]}), HEADER)
    with pytest.raises(ValueError, match=f"does not repeat the first 3 logged steps: {message}"):
        score_log(log, tmp_path / "out.jsonl", Completes({}), COMPLETER, env_args={"problems": change(PROBLEMS)})


def test_an_episode_that_ends_within_a_prefix_is_noticed(tmp_path: Path) -> None:
    log = save(tmp_path / "log.jsonl", write({"a": LOGGED["a"]}), HEADER)
    with pytest.raises(ValueError, match="it ended after 2 steps"):
        score_log(log, tmp_path / "out.jsonl", Completes({}), COMPLETER, env_args={"max_steps": 2})


class Breaks(gym.Wrapper):
    """Fails at what an agent adds to a prefix, in the tasks named."""

    def __init__(self, env: gym.Env, tasks: str, action: str) -> None:
        super().__init__(env)
        self.tasks, self.action = tasks, action

    def step(self, action: str) -> Any:
        if action == self.action and self.env.unwrapped._problem.id in self.tasks:  # type: ignore[attr-defined]
            raise RuntimeError("the simulator broke")
        return super().step(action)


def test_a_completion_that_ends_by_an_error_is_not_solved() -> None:
    logged = write({"e": LOGGED["e"]})
    settings = Settings(completions=3)
    (found,) = score(lambda: Breaks(maths(), "e", "#### 6\n"), Completes({("e", 1): 1, ("e", 2): 1}), logged, settings)
    assert (scores(found), solved(found)) == ([1 / 3, 1 / 3, 0], [None, 1, None])
    with pytest.raises(ValueError, match=r"every completion of the first 2 steps of e seed 0 ended by an error; .*simulator broke"):
        list(score(lambda: Breaks(maths(), "e", "#### 6\n"), Completes({}), logged, settings))


def test_agents_that_cannot_complete_are_refused(
    tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    log = save(tmp_path / "log.jsonl", write(LOGGED), HEADER)
    greedy = LMAgent(ActorCritic(small_lm), tokenizer, Sampling(temperature=0))
    for agent, why in (
        (ReplayAgent({}), "its own episodes only"),
        (greedy, "all 20 completions of a prefix would be the same"),
        (ExpertAgent(noise=0.1), "writes its worked solution"),
    ):
        with pytest.raises(ValueError, match=f"cannot sample completions: .*{why}"):
            score_log(log, tmp_path / "out.jsonl", agent, COMPLETER)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("wrong", [{"completions": 0}, {"parallel": 0}])
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    log = save(tmp_path / "log.jsonl", write(LOGGED), HEADER)
    with pytest.raises(ValueError, match=f"--{next(iter(wrong))} must be at least 1"):
        settings = Settings(completions=wrong.get("completions", 20))
        score_log(log, tmp_path / "out.jsonl", Completes({}), COMPLETER, settings, parallel=wrong.get("parallel", 64))


@pytest.mark.parametrize(("model", "tokens"), [("abc", (7, 8)), ("def", None), ("", None)])
def test_token_ids_are_read_by_the_model_that_sampled_them_only(tmp_path: Path, model: str, tokens: tuple[int, ...] | None) -> None:
    """The log's model is "abc"; another one may have other ids, and reads the text."""
    (t,) = write({"e": LOGGED["e"]})
    sampled = replace(t, steps=tuple(replace(step, tokens=(7, 8), logps=(-1.0, -1.0)) for step in t.steps))
    agent = Completes({})
    log = save(tmp_path / "log.jsonl", [sampled], HEADER)
    (found,) = score_log(log, tmp_path / "out.jsonl", agent, replace(COMPLETER, model=model), Settings(completions=1))
    action = agent.seen["e", 2].turns[0].action
    assert action
    assert (action.text, action.tokens) == ("one\n", tokens)
    assert [step.tokens for step in found.steps] == [(7, 8)] * 3


class Guess(gym.Env):
    """An environment without a list of tasks: a number drawn by the reset's seed; its last digit is the answer, in three turns."""

    observation_space = action_space = gym.spaces.Text(100)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.number, self.turn = str(self.np_random.integers(10**6)), 0
        return self.number, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.turn += 1
        right = action == self.number[-1]
        return "no", float(right), right, not right and self.turn == 3, {}


class Reads(Agent):
    """Says "x" until it is asked to complete, then the first observation's last digit."""

    name = "reads"

    def __init__(self, from_turn: int) -> None:
        self.from_turn = from_turn

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [Action(h.turns[0].observation[-1] if len(h.turns) >= self.from_turn else "x") for h in histories]


def test_environments_without_a_list_of_tasks() -> None:
    logged: list[Trajectory] = []
    collect(Guess, Reads(9), episode_keys(Guess(), 3, samples=2), logged.append)
    assert [t.end for t in logged] == [End.TRUNCATED] * 6
    for found in score(Guess, Reads(1), logged, Settings(completions=1)):
        assert (scores(found), solved(found)) == ([1 / 3, 1 / 3, 0], [None, 1, None])


def test_household_tasks_too() -> None:
    """The expert, a reader of texts, goes on after any random start; whether in time is found here by playing it by hand."""
    make = lambda: envs.make("alfworld", games="generated", difficulty="small")  # noqa: E731
    logged: list[Trajectory] = []
    collect(make, RandomAgent(), episode_keys(make(), 3), logged.append, env_id="AlfWorld-v0")
    failed = [t for t in logged if not t.success]
    assert failed
    found = {t.task: t for t in score(make, ExpertAgent(), failed, Settings(completions=1))}
    for t in failed:
        good = max((i for i in range(1, len(t.steps)) if _expert_wins(make(), t, i)), default=0)
        assert scores(found[t.task]) == [1 / len(t.steps)] * good + [0] * (len(t.steps) - good)
        assert 0 < good < len(t.steps) - 1


def _expert_wins(env: gym.Env, t: Trajectory, length: int) -> bool:
    history = History(t.task, t.seed)
    observation, info = env.reset(seed=t.seed, options={"task": t.task})
    ended = False
    while not ended:
        at = len(history.turns)
        history.turns.append(Turn(observation, info))
        action = Action(t.steps[at].action) if at < length else ExpertAgent().act([history])[0]
        history.turns[-1].action = action
        observation, reward, terminated, truncated, info = env.step(action.text)
        ended = terminated or truncated
    return terminated and float(reward) > 0


@pytest.mark.parametrize("rule", ["lines", "blank"])
def test_a_model_goes_on_from_the_very_tokens(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rule: str) -> None:
    """From every prefix of sampled responses, greedily: what transformers' own `generate` gives after the same ids, cut into the
    steps that the whole response would be cut into (a step may have been cut inside its delimiter: a token can span it)."""
    breaks = [i for i in range(len(tokenizer)) if "\n" in tokenizer.decode([i])]
    small_lm.lm_head.weight.data[breaks] *= 4
    make = lambda: envs.make("math", count=40, segment=rule)  # noqa: E731
    sampler, greedy = (LMAgent(ActorCritic(small_lm), tokenizer, Sampling(temperature=x, max_new_tokens=32)) for x in (1.0, 0.0))
    logged: list[Trajectory] = []
    collect(make, sampler, episode_keys(make(), None), logged.append)
    keys = [EpisodeKey(t.task, 0, 0, tuple(logged_actions(t)[:n])) for t in logged for n in range(1, len(t.steps))]
    assert len(keys) > 10
    waiting = iter(keys)
    for key, t in play(make, greedy, lambda: next(waiting, None), 7):
        before = [token for action in key.prefix for token in action.tokens or ()]
        start = torch.tensor([[*greedy.prompt.environment([Turn(t.steps[0].observation)], 0), *before]])
        ids = small_lm.generate(start, do_sample=False, max_new_tokens=32, eos_token_id=greedy.prompt.closer, pad_token_id=0)
        tokens = (*before, *ids[0, start.shape[1] :].tolist())
        whole = Action(greedy.decode(tokens), tokens, (0.0,) * len(tokens))
        expected = greedy.cut(whole, make().unwrapped.segment(whole.text))  # type: ignore[attr-defined]
        # A final answer or the limit on steps may have ended it sooner.
        assert [s.tokens for s in t.steps] == [action.tokens for action in expected[: len(t.steps)]]
        assert len(t.steps) > len(key.prefix)


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *args], cwd=ROOT, capture_output=True, text=True)


def test_command_line(tmp_path: Path) -> None:
    """Random agents on generated household tasks: a log, its scores, both valid."""
    log, out = tmp_path / "log.jsonl", tmp_path / "out.jsonl"
    collect_log(
        "alfworld", {"games": "generated", "difficulty": "small"}, RandomAgent(), Header("", "random"), log, episodes=2, samples=1
    )
    command = ("rollouts.process", str(log), "--agent", "expert", "--agent-args", "noise=0.2", "--completions", "2")
    done = run(*command, "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 episodes: " in done.stdout
    assert len(read(out).trajectories) == 2
    refused = run("rollouts.process", str(tmp_path / "none.jsonl"), "--agent", "expert", "--out", str(out))
    assert (refused.returncode, "no log at" in refused.stdout, "Traceback" in refused.stderr) == (2, True, False)
