from __future__ import annotations

import math
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents.agent import Action, Agent, Engine, History
from agents.choices import ChoiceAgent, ChoiceEncoder
from agents.generate import Row
from agents.lm import LMAgent
from agents.mcts import Node, Search, draw, select, tail, values
from agents.model import ActorCritic
from agents.sampling import Sampling
from agents.scripted import ExpertAgent, RandomAgent, ReplayAgent, stream
from envs.alfworld.env import AlfWorldEnv
from rollouts.episodes import EpisodeKey, episode_keys
from rollouts.grow import grow
from rollouts.journal import journal_path
from rollouts.task_tree import Tree
from rollouts.trajectory import End, Header, LogError, Step, Trajectory, log_files, read
from rollouts.tree import Args, grow_log, main

ROOT = Path(__file__).parents[2]
PROBLEMS = [{"id": name, "question": f"{name}: 2 + 3?", "answer": "5"} for name in "abcdef"]
MATHS: dict[str, Any] = {"problems": PROBLEMS}
HEADER = Header("", "scripted")
HOUSES: dict[str, Any] = {"games": "generated", "difficulty": "small"}


def maths() -> gym.Env:
    return envs.make("math", **MATHS)


def houses() -> gym.Env:
    return envs.make("alfworld", **HOUSES)


def keys(env: gym.Env, tasks: int | None = None) -> list[EpisodeKey]:
    return episode_keys(env, tasks)


Steps = dict[tuple[str, ...], list[tuple[str, float]]]


class Scripted(Agent):
    """After the steps so far (stripped), sample i of an expansion is entry i (mod their number) of `steps`: text, probability."""

    name = "scripted"

    def __init__(self, steps: Steps, closed: bool = True) -> None:
        self.steps, self.closed = steps, closed
        self.asked: list[tuple[str, ...]] = []

    def act(self, histories: Sequence[History]) -> list[Action]:
        seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
        return [self._act(history, seen) for history in histories]

    def _act(self, history: History, seen: Counter[tuple[str, tuple[str, ...]]]) -> Action:
        path = tuple(turn.action.text.strip() for turn in history.turns if turn.action)
        number = seen[history.task, path]
        seen[history.task, path] += 1
        if number == 0:
            self.asked.append(path)
        text, probability = self.steps[path][number % len(self.steps[path])]
        return Action(text, (1, 2), (2 * math.log(probability), 0.0), self.closed)


class Chance(Agent):
    """Draws a step by the episode's private stream; solves only tasks from `c` on, and a to b never."""

    name = "chance"

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [self._act(history) for history in histories]

    def _act(self, history: History) -> Action:
        good = "#### 5\n" if history.task >= "c" else "#### 7\n"
        return Action(stream(history, "chance").choice(["one\n", "two\n", "three\n", good, "#### 6\n"]))


BY_HAND: Steps = {
    (): [("#### 6\n", 0.5), ("x\n", 0.6), ("y\n", 0.3)],
    ("x",): [("#### 5\n", 0.5), ("z\n", 0.9), ("#### 6\n", 0.5)],
    ("y",): [("#### 6\n", 0.5), ("#### 7\n", 0.5), ("#### 8\n", 0.5)],
    ("x", "z"): [("#### 5\n", 0.5), ("#### 6\n", 0.5), ("  #### 5\n", 0.5)],
}
"""With c = 1 and breadth 3, scores Q + prior sqrt(N_parent) / (1 + N):

1. root: #### 6 ends with -1; N(root) = 1.
2. x: 0 + .6 * 1 / 1 = .6, y: .3 -> x: one solved, one failed end; N(x) = 2, W(x) = 0, N(root) = 3, W(root) = -1.
3. x: 0 + .6 sqrt(3) / 3 = .35, y: .3 sqrt(3) = .52 -> y: three failed ends, y is exhausted; N(root) = 6, W(root) = -4.
4. x is the only open child, z its only open one: a solved and a failed end (the third step is the first one again).
   N(z) = 2, W(z) = 0; N(x) = 4, W(x) = 0; N(root) = 8, W(root) = -4. All is exhausted.
"""


def hand(search: Search = Search(breadth=3, c=1.0), steps: Steps = BY_HAND, **maker: Any) -> tuple[Tree, Scripted]:
    agent = Scripted(steps, **maker)
    (tree,) = grow(maths, agent, keys(maths())[:1], search)
    assert not tree.error
    return tree, agent


def named(tree: Tree) -> dict[str, Node]:
    """Nodes by the steps to them."""
    return {" ".join(step.action.strip() for step in node.state.episode.steps): node for node in tree.root.nodes()}


def test_selection_backup_and_exhaustion_by_hand() -> None:
    tree, agent = hand()
    assert agent.asked == [(), ("x",), ("y",), ("x", "z")]
    found = named(tree)
    assert {name: (node.visits, node.total) for name, node in found.items() if node.outcome is None} == {
        "": (8, -4),
        "x": (4, 0),
        "y": (3, -3),
        "x z": (2, 0),
    }
    assert {name for name, node in found.items() if node.outcome == 1} == {"x #### 5", "x z #### 5"}
    assert all(node.closed for node in found.values())
    assert (tree.nodes, tree.expansions, tree.steps, tree.tokens) == (12, 4, 12, 24)
    assert found["x"].prior == pytest.approx(0.6)
    assert (tree.record().solved, tree.record().failed, tree.record().value, tree.record().exhausted) == (2, 6, -0.5, True)


def test_what_is_exhausted_is_not_selected() -> None:
    tree, _ = hand()
    with pytest.raises(ValueError, match="exhausted"):
        select(tree.root, 1.0, np.random.default_rng(0))


def test_iterations_are_the_limit() -> None:
    tree, agent = hand(Search(breadth=3, c=1.0, iterations=3))
    assert agent.asked == [(), ("x",), ("y",)]
    assert not tree.root.closed


def test_ties_are_broken_by_chance() -> None:
    """Until something has ended all scores are 0."""
    root: Node[None] = Node(None)
    root.expand([Node(None, 0.9), Node(None, 0.1)])
    rng = np.random.default_rng(0)
    chosen = Counter(root.children.index(select(root, 1.5, rng)) for _ in range(1000))
    assert 420 < chosen[0] < 580


def test_values_and_credits_by_hand() -> None:
    """V = -1/2, 0, 0 at the root, x and z. Credits of x z 5: 1/2, 0, 1; they add up to 1 - V(root)."""
    tree, agent = hand()
    (path,) = (t for t in tree.paths(agent, "MathReason-v0") if [s.action for s in t.steps] == ["x\n", "z\n", "#### 5\n"])
    assert [step.value for step in path.steps] == [-0.5, 0, 0]
    assert [step.target for step in path.steps] == [0.5, 0, 1]
    assert [step.info["tree_visits"] for step in path.steps] == [4, 2, 1]
    assert [step.reward for step in path.steps] == [0, 0, 1]
    assert (path.env_id, path.task, path.end, path.success) == ("MathReason-v0", tree.key.task, End.TERMINATED, True)


@pytest.mark.parametrize(
    "search",
    [
        {},
        {"reward": "01"},
        {"soft": 0.5},
        {"shrink": 3.0},
        {"soft": 2.0, "shrink": 1.0, "reward": "01"},
        {"rollouts": 2, "depth": 2},
        {"rollouts": 1, "shrink": 3.0, "soft": 0.5},
    ],
)
def test_credits_telescope(search: dict[str, Any]) -> None:
    settings = Search(breadth=3, iterations=25, **search)
    logged = 0
    for tree in grow(maths, Chance(), keys(maths()), settings):
        root = values(tree.root, settings)[tree.root]
        for path in tree.paths(Chance(), ""):
            z = settings.outcome(path.success)
            assert sum(step.target or 0 for step in path.steps) == pytest.approx(z - root)
            assert path.steps[0].value == root
            logged += 1
    assert logged > 10


def test_outcomes_of_one_and_zero() -> None:
    tree, _ = hand(Search(breadth=3, c=1.0, reward="01"))
    assert values(tree.root, tree.search)[tree.root] == 2 / 8


def test_soft_values_by_hand() -> None:
    """Beta 1. z: log((e + 1/e) / 2). x: ends +1 and -1 with weight 1/4 each, z with 1/2: log((e + 1/e) / 4 + e^z / 2) = z."""
    tree, _ = hand(Search(breadth=3, c=1.0, soft=1.0))
    found, value = named(tree), values(tree.root, tree.search)
    z = math.log(math.cosh(1))
    assert value[found["x z"]] == pytest.approx(z)
    assert value[found["x"]] == pytest.approx(math.log(math.cosh(1) / 2 + math.exp(z) / 2))
    assert value[found["y"]] == pytest.approx(-1)
    assert value[tree.root] == pytest.approx(math.log(4 / 8 * math.cosh(1) + 4 / 8 * math.exp(-1)))


def test_soft_values_lie_between_mean_and_best() -> None:
    tree, _ = hand()
    means, best = values(tree.root, Search()), values(tree.root, Search(soft=0.01))
    assert values(tree.root, Search(soft=1e6)) == pytest.approx(means, abs=1e-5)
    assert best[tree.root] == pytest.approx(1, abs=0.05)


def test_shrunk_values_by_hand() -> None:
    """k = 2. x: 4/6 * 0 + 2/6 * -1/2 = -1/6; z: 1/2 * 0 + 1/2 * -1/6 = -1/12; the ends stay."""
    tree, _ = hand(Search(breadth=3, c=1.0, shrink=2.0))
    found, value = named(tree), values(tree.root, tree.search)
    assert (value[tree.root], value[found["x"]], value[found["x z"]]) == pytest.approx((-1 / 2, -1 / 6, -1 / 12))
    assert (value[found["x z #### 5"]], value[found["#### 6"]]) == (1, -1)


def test_a_path_that_has_not_ended_within_the_depth_has_failed() -> None:
    tree, agent = hand(Search(breadth=3, c=1.0, depth=2))
    node = named(tree)["x z"]
    assert (node.outcome, node.state.episode.end, node.closed) == (-1, End.TRUNCATED, True)
    assert ("x", "z") not in agent.asked


def test_the_environments_own_limit_holds() -> None:
    (tree,) = grow(lambda: envs.make("math", **MATHS, max_steps=2), Scripted(BY_HAND), keys(maths())[:1], Search(breadth=3, c=1.0))
    assert (named(tree)["x z"].outcome, named(tree)["x z"].state.episode.end) == (-1, End.TRUNCATED)


def test_a_step_that_was_cut_off_has_failed() -> None:
    """`#### 5` without its line's end: the environment would grade half a number."""
    tree, _ = hand(steps={(): [("#### 5", 0.5)]}, closed=False)
    (end,) = tree.root.children
    assert (end.outcome, end.state.episode.end) == (-1, End.TRUNCATED)


def test_the_same_text_that_ends_and_goes_on_is_two_children() -> None:
    tree, _ = hand(Search(breadth=4, c=1.0, iterations=1), {(): [("x", 0.1), (" x\n", 0.2), ("x\n", 0.3), ("x\n", 0.4)]})
    assert [(c.state.episode.end, pytest.approx(c.prior)) for c in tree.root.children] == [(End.TERMINATED, 0.1), (None, 0.2)]


def test_of_a_whole_response_the_first_step_is_used() -> None:
    tree, _ = hand(Search(breadth=1, iterations=1), {(): [("one\ntwo\n#### 5\n", 0.5)]})
    assert list(named(tree)) == ["", "one"]


def test_without_log_probabilities_the_prior_is_the_share_of_the_samples() -> None:
    class Mute(Scripted):
        def act(self, histories: Sequence[History]) -> list[Action]:
            return [Action(action.text) for action in super().act(histories)]

    agent = Mute({(): [("x\n", 1.0), ("y\n", 1.0), (" x\n", 1.0), ("x\n", 1.0)]})
    (tree,) = grow(maths, agent, keys(maths())[:1], Search(breadth=4, iterations=1))
    assert {name: node.prior for name, node in named(tree).items() if name} == {"x": 0.75, "y": 0.25}


def ends(*outcomes: float) -> list[Node[None]]:
    return [Node(None, outcome=outcome) for outcome in outcomes]


def test_failed_paths_need_a_solved_one() -> None:
    root: Node[None] = Node(None)
    root.expand(ends(-1, -1))
    assert draw(root, Search(), np.random.default_rng(0)) == []


@pytest.mark.parametrize(("outcomes", "solved", "failed"), [([1] * 6, 4, 0), ([1] * 5 + [-1] * 7, 4, 4), ([1] + [-1] * 2, 1, 2)])
def test_at_most_four_of_each(outcomes: list[float], solved: int, failed: int) -> None:
    root: Node[None] = Node(None)
    root.expand(ends(*outcomes))
    chosen = draw(root, Search(), np.random.default_rng(0))
    assert [end.outcome for end in chosen] == [1] * solved + [-1] * failed
    assert len(set(chosen)) == len(chosen)


def test_paths_are_drawn_by_the_sum_of_their_visits() -> None:
    """Solved ends: one below a node with three ends (4 + 3 + 1 visits on its path), one at the root (4 + 1): 8/13 and 5/13."""
    root, inner, end = Node(None), Node(None), Node(None, outcome=1.0)
    root.expand([inner, end])
    inner.expand(ends(1, -1, -1))
    rng = np.random.default_rng(0)
    share = sum(draw(root, Search(paths=1), rng)[0] is not end for _ in range(4000)) / 4000
    assert share == pytest.approx(8 / 13, abs=0.025)


PLAYED_ON: Steps = {
    (): [("x\n", 0.6), ("y\n", 0.3)],
    ("x",): [("#### 5\n", 0.5), ("#### 6\n", 0.5)],
    ("y",): [("z\n", 0.5), ("#### 6\n", 0.5)],
    ("y", "z"): [("#### 7\n", 0.5)],
}
"""One iteration of breadth 2, then two rollouts from x (solved, failed) and two from y (failed after z, failed)."""


def test_rollouts_are_backed_up_and_are_no_part_of_the_tree_by_hand() -> None:
    """x: 1 - 1 = 0 of two, y: -2 of two, the root -2 of four. Steps sampled: 2, then 1 + 1 and 2 + 1."""
    tree, _ = hand(Search(breadth=2, iterations=1, rollouts=2), PLAYED_ON)
    assert {name: (node.visits, node.total) for name, node in named(tree).items()} == {"": (4, -2), "x": (2, 0), "y": (2, -2)}
    record = tree.record()
    assert (record.nodes, record.solved, record.failed, record.rollouts, record.value) == (3, 1, 3, 4, -0.5)
    assert (record.steps, record.tokens, record.exhausted) == (7, 14, False)


def test_paths_of_rollouts_by_hand() -> None:
    """Beyond the tree one end is known, the rollout's: its first step takes V(node) to z, and the steps after it nothing more."""
    tree, agent = hand(Search(breadth=2, iterations=1, rollouts=2), PLAYED_ON)
    found = {tuple(step.action.strip() for step in t.steps): t for t in tree.paths(agent, "MathReason-v0")}
    assert set(found) == {("x", "#### 5"), ("x", "#### 6"), ("y", "z", "#### 7"), ("y", "#### 6")}
    won, lost = found["x", "#### 5"], found["y", "z", "#### 7"]
    assert [step.value for step in won.steps] == [-0.5, 0]
    assert [step.target for step in won.steps] == [0.5, 1]
    assert [step.target for step in lost.steps] == [-0.5, 0, 0]
    assert [step.info["tree_visits"] for step in lost.steps] == [2, 1, 1]
    assert [step.info.get("tree_rollout", False) for step in lost.steps] == [False, True, True]
    assert (won.success, won.end, won.steps[-1].reward, lost.success) == (True, End.TERMINATED, 1, False)


def test_steps_of_a_rollout_are_shrunk_like_any_state_of_one_visit() -> None:
    """k = 1 from V = 0 to z = 1: (1 + 0) / 2, (1 + 1/2) / 2, and the end itself."""
    assert tail(0.0, 1.0, 3, Search(shrink=1.0)) == [0.5, 0.75, 1.0]
    assert tail(0.2, -1.0, 2, Search()) == [-1, -1]


def test_soft_values_of_rollouts_by_hand() -> None:
    """Beta 1: a rollout is a child with one visit. x: log cosh 1, y: -1; the root has half of its visits below each."""
    tree, _ = hand(Search(breadth=2, iterations=1, rollouts=2, soft=1.0), PLAYED_ON)
    found, value = named(tree), values(tree.root, tree.search)
    assert value[found["x"]] == pytest.approx(math.log(math.cosh(1)))
    assert value[tree.root] == pytest.approx(math.log(math.cosh(1) / 2 + math.exp(-1) / 2))


def test_with_rollouts_the_depth_bounds_the_tree_and_not_the_episode() -> None:
    """x z is as deep as the tree goes, and is judged by its rollouts: one solved, one failed."""
    tree, agent = hand(Search(breadth=3, c=1.0, depth=2, rollouts=2))
    node = named(tree)["x z"]
    assert (node.outcome, node.closed, node.children, node.rollouts) == (None, True, [], [1, -1])
    assert tree.root.closed
    assert any(len(path.steps) == 3 for path in tree.paths(agent, ""))


def test_what_a_rollout_repeats_of_another_or_of_the_tree_is_logged_once() -> None:
    tree, agent = hand(Search(breadth=2, iterations=2, rollouts=3), {(): [("x\n", 0.5)], ("x",): [("#### 5\n", 0.5)]})
    assert (tree.root.visits, tree.root.total) == (4, 4)
    (path,) = tree.paths(agent, "")
    assert all("tree_rollout" not in step.info for step in path.steps)


def test_rollouts_fill_up_where_the_tree_has_too_few_paths() -> None:
    root: Node[None] = Node(None)
    root.expand([*ends(1, -1), Node(None)])
    others = [Node(None, outcome=z, parent=root.children[2], visits=1, total=z) for z in (1.0, 1.0, -1.0)]
    for paths, own, filled in ((1, 2, 0), (2, 2, 2), (4, 2, 3)):
        chosen = draw(root, Search(paths=paths), np.random.default_rng(0), others)
        assert (sum(end in root.children for end in chosen), sum(end in others for end in chosen)) == (own, filled)


def test_a_rollout_that_does_not_come_by_the_node_ends_the_tree() -> None:
    tree, _ = hand(Search(breadth=2, iterations=1), PLAYED_ON)
    other = Trajectory("MathReason-v0", "a", 0, (Step("b: 2 + 3?", "x\n", 0.0), Step("", "#### 5\n", 1.0)), End.TERMINATED, "lm")
    tree.simulate(tree.root.children[0], other)
    assert tree.error == "ValueError: the environment does not repeat the first 1 steps of a"


def grown(parallel: int, search: Search = Search(breadth=3, iterations=20), agent: Agent = Chance()) -> dict[str, Any]:
    return {t.key.task: (t.record(), t.paths(agent, "")) for t in grow(maths, agent, keys(maths()), search, parallel)}


def test_the_same_trees_whatever_grows_beside_them() -> None:
    assert grown(1) == grown(3) == grown(64)
    assert grown(1) != grown(1, Search(breadth=3, iterations=20, seed=1))
    assert len({record.nodes for record, _ in grown(1).values()}) > 1
    played_on = Search(breadth=3, iterations=5, depth=3, rollouts=2)
    assert grown(1, played_on) == grown(3, played_on) == grown(64, played_on)


@pytest.mark.parametrize("rollouts", [0, 1])
def test_a_stopped_search_goes_on(tmp_path: Path, rollouts: int) -> None:
    """Stopped after any line of the log and before or after the tree's line in the journal; also within a line of either."""
    search = Search(breadth=3, iterations=20, paths=2, rollouts=rollouts)
    records, paths = grow_log("math", MATHS, Chance(), HEADER, tmp_path / "whole.jsonl", search=search, parallel=1)
    whole, journal = (tmp_path / "whole.jsonl").read_bytes(), journal_path(tmp_path / "whole.jsonl").read_bytes()
    assert {record.task for record in records if not record.paths} == {"a", "b"}
    assert len(paths) == sum(record.paths for record in records) == whole.count(b"\n") - 1
    lines, trees = whole.splitlines(keepends=True), journal.splitlines(keepends=True)
    for done in range(len(trees)):
        kept, size = sum(record.paths for record in records[:done]) + 1, records[done].paths
        for more in range(size + 1):
            out = tmp_path / f"{done}-{more}.jsonl"
            out.write_bytes(b"".join(lines[: kept + more]) + (b'{"env_id":' if more < size else b""))
            journal_path(out).write_bytes(b"".join(trees[:done]) + (b'{"ta' if more else b""))
            agent = Counting()
            if more < size:
                with pytest.warns(UserWarning, match="unfinished"):
                    again = grow_log("math", MATHS, agent, HEADER, out, search=search, parallel=1)
            else:
                again = grow_log("math", MATHS, agent, HEADER, out, search=search, parallel=1)
            assert out.read_bytes() == whole
            assert journal_path(out).read_bytes() == journal
            assert again == (records, paths)
            assert agent.asked == {record.task for record in records[done:]}


@pytest.mark.parametrize("name", ["tree.jsonl.zst", "tree"])
def test_a_stopped_search_goes_on_in_frames(tmp_path: Path, name: str) -> None:
    """Stopped after any tree, or within the frame of the next."""
    search = Search(breadth=3, iterations=20, paths=2)
    records, paths = grow_log("math", MATHS, Chance(), HEADER, tmp_path / name, search=search, parallel=1)
    (file,) = log_files(tmp_path / name)
    whole, journal = file.read_bytes(), journal_path(tmp_path / name)
    assert journal.name == "tree.trees.jsonl"
    trees = journal.read_bytes().splitlines(keepends=True)
    for done in range(len(trees)):
        for torn in (0, 3):
            size = min((records[done - 1].size if done else 0) + torn, len(whole))
            file.write_bytes(whole[:size])
            journal.write_bytes(b"".join(trees[:done]))
            agent = Counting()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the frame that is cut off
                assert grow_log("math", MATHS, agent, HEADER, tmp_path / name, search=search, parallel=1) == (records, paths)
            assert agent.asked == {record.task for record in records[done:]}
            assert read(tmp_path / name).trajectories == paths


class Counting(Chance):
    def __init__(self) -> None:
        self.asked: set[str] = set()

    def act(self, histories: Sequence[History]) -> list[Action]:
        self.asked |= {history.task for history in histories}
        return super().act(histories)


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, str(Path(sys.argv[1]) / 'tests' / 'rollouts'))\n"
        "from test_tree import HEADER, MATHS, Chance, Search, grow_log\n"
        "class Dies(Chance):\n"
        "    left = 60\n"
        "    def act(self, histories):\n"
        "        self.left -= 1\n"
        "        return super().act(histories) if self.left else os.kill(os.getpid(), signal.SIGKILL)\n"
        "grow_log('math', MATHS, Dies(), HEADER, Path(sys.argv[2]), search=Search(breadth=3, iterations=20), parallel=1)\n"
    )
    search, out, whole = Search(breadth=3, iterations=20), tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(ROOT), str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert 0 < journal_path(out).read_bytes().count(b"\n") < len(PROBLEMS)
    grow_log("math", MATHS, Chance(), HEADER, out, search=search, parallel=1)
    grow_log("math", MATHS, Chance(), HEADER, whole, search=search, parallel=1)
    assert out.read_bytes() == whole.read_bytes()


def test_the_log(tmp_path: Path) -> None:
    """Valid, keyed by the seed and the number of the path, with the settings in its header; another search is refused."""
    out, search = tmp_path / "out.jsonl", Search(breadth=3, iterations=20, seed=3)
    grow_log("math", MATHS, Chance(), HEADER, out, search=search)
    log = read(out)
    assert log.headers[0].search["seed"] == 3
    assert log.headers[0].search["soft"] is None
    for task in "cdef":
        seeds = [t.seed for t in log.trajectories if t.task == task]
        assert seeds == list(range(3000, 3000 + len(seeds)))
    with pytest.raises(LogError, match=r"search=.*another --out"):
        grow_log("math", MATHS, Chance(), HEADER, out, search=Search(breadth=3, iterations=20))


def test_a_log_that_is_not_the_journals_is_left_alone(tmp_path: Path) -> None:
    out, search = tmp_path / "out.jsonl", Search(breadth=3, iterations=20)
    grow_log("math", MATHS, Chance(), HEADER, out, search=search)
    text, journal = out.read_bytes(), journal_path(out).read_bytes()
    for log, trees, message in (
        (text, None, "no out.trees.jsonl beside it"),
        (text.splitlines(keepends=True)[0], journal, "is not as out.trees.jsonl says"),
        (text + text.splitlines(keepends=True)[-1], journal, "is not as out.trees.jsonl says"),
        (text, b"{}\n", "missing required field"),
    ):
        out.write_bytes(log)
        journal_path(out).write_bytes(trees) if trees is not None else journal_path(out).unlink()
        with pytest.raises(LogError, match=message):
            grow_log("math", MATHS, Chance(), HEADER, out, search=search)
        assert out.read_bytes() == log


@pytest.mark.parametrize(("iterations", "rollouts"), [(40, 0), (3, 2)])
def test_snapshots_of_alfworld_are_what_playing_again_gives(
    monkeypatch: pytest.MonkeyPatch, iterations: int, rollouts: int
) -> None:
    """The expert, made worse, solves a house; the environment repeats each logged path to the letter."""
    search, agent = Search(breadth=3, iterations=iterations, depth=6, rollouts=rollouts), ExpertAgent(noise=0.3, order="random")
    chosen = keys(houses(), 3)
    trees = {t.key.task: t for t in grow(houses, agent, chosen, search)}
    assert all(tree.root.state.snapshot is not None and not tree.error for tree in trees.values())
    paths = {task: tree.paths(agent, "AlfWorld-v0") for task, tree in trees.items()}
    assert {path.success for found in paths.values() for path in found} == {True, False}
    env = houses()
    for path in (path for found in paths.values() for path in found):
        observation, _ = env.reset(options={"task": path.task})
        for step in path.steps:
            assert step.observation == observation
            observation, reward, *_ = env.step(step.action)
            assert step.reward == reward
        assert path.final == observation

    def none(self: AlfWorldEnv) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(AlfWorldEnv, "snapshot", none)
    assert {t.key.task: t.paths(agent, "AlfWorld-v0") for t in grow(houses, agent, chosen, search, parallel=1)} == paths


def key_of(trajectory: Trajectory) -> tuple[str, int]:
    return trajectory.task, trajectory.seed


@pytest.fixture
def lm(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LMAgent:
    return LMAgent(ActorCritic(small_lm), tokenizer, Sampling(max_new_tokens=12))


def test_a_language_model_is_asked_for_one_step(lm: LMAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever samples was told to stop where a step ends, and nowhere else; the tree counts what it sampled."""
    stopping, action = LMAgent.stopping, LMAgent.action
    stopped, said = dict[int, Callable[[str], bool]](), list[Action]()

    def told(self: LMAgent, stop: Callable[[str], bool]) -> Agent:
        made = stopping(self, stop)
        stopped[id(made)] = stop
        return made

    def heard(self: LMAgent, row: Row) -> Action:
        stop = stopped[id(self)]
        assert [stop(text) for text in ("x is 5.", "x is 5.\n")] == [False, True]
        said.append(found := action(self, row))
        return found

    monkeypatch.setattr(LMAgent, "stopping", told)
    monkeypatch.setattr(LMAgent, "action", heard)
    (tree,) = grow(maths, lm, keys(maths())[:1], Search(iterations=12, depth=3))
    assert tree.error == "" and said
    assert tree.tokens == sum(len(action.tokens or ()) for action in said)


def test_the_ids_on_a_path_are_the_sampled_ones(lm: LMAgent) -> None:
    (tree,) = grow(maths, lm, keys(maths())[:1], Search(iterations=12, depth=3))
    assert tree.error == "" and tree.root.children
    for node in tree.root.nodes():
        for step, turn in zip(node.state.episode.steps, node.state.episode.history.turns, strict=False):
            assert step.tokens and step.logps and turn.action
            assert lm.decode(step.tokens) == step.action
        if node.parent is not None:
            logps = node.state.episode.steps[-1].logps or ()
            assert node.prior == pytest.approx(math.exp(sum(logps) / len(logps)))


class Slow(Chance):
    """Answers task `a` only when nothing else is asked for."""

    def engine(self) -> Engine:
        return SlowEngine(self)


class SlowEngine(Engine):
    def step(self) -> list[tuple[History, Action]]:
        chosen = [history for history in self._waiting if history.task != "a"] or self._waiting
        self._waiting = [history for history in self._waiting if history not in chosen]
        return list(zip(chosen, self._agent.act(chosen), strict=True))


@pytest.mark.parametrize("rollouts", [0, 1])
def test_a_tree_does_not_wait_for_another(rollouts: int) -> None:
    """The samples of one come when all others are grown; it is what it is beside agents that answer all together."""
    search = Search(breadth=3, iterations=5, depth=3, rollouts=rollouts)
    trees = list(grow(maths, Slow(), keys(maths()), search, 64))
    assert [tree.key.task for tree in trees][-1] == "a"
    assert {t.key.task: (t.record(), t.paths(Slow(), "")) for t in trees} == grown(64, search)


@pytest.mark.parametrize("rollouts", [0, 1])
def test_a_language_models_trees_do_not_depend_on_what_grows_beside_them(lm: LMAgent, rollouts: int) -> None:
    search = Search(iterations=6, depth=3, breadth=3, rollouts=rollouts)

    def texts(parallel: int) -> dict[str, list[str]]:
        trees = grow(maths, lm, keys(maths())[:3], search, parallel)
        return {t.key.task: ["".join(s.action for s in node.state.episode.steps) for node in t.root.nodes()] for t in trees}

    assert texts(1) == texts(3)


class Breaks(gym.Wrapper):
    """Fails at the tasks named."""

    def __init__(self, env: gym.Env, tasks: str) -> None:
        super().__init__(env)
        self.tasks = tasks

    def step(self, action: str) -> Any:
        if self.env.unwrapped._problem.id in self.tasks:  # type: ignore[attr-defined]
            raise RuntimeError("the simulator broke")
        return super().step(action)


def test_what_the_environment_raises_ends_its_tree_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tree is not in the log, is said, and is grown when the command is given again."""
    search, out, whole = Search(breadth=3, iterations=20), tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    for broken in ("abcdef", "d", ""):
        monkeypatch.setattr("rollouts.tree.env_maker", lambda env, args, broken=broken: lambda: Breaks(maths(), broken))
        if broken == "abcdef":
            with pytest.raises(ValueError, match="every tree ended by an error; the first, a: RuntimeError: the simulator broke"):
                grow_log("math", MATHS, Chance(), HEADER, out, search=search)
        else:
            records, _ = grow_log("math", MATHS, Chance(), HEADER, out, search=search)
            assert {r.task for r in records} == set("abcdef") - set(broken)
            assert ("1 trees ended by an error" in capsys.readouterr().out) == bool(broken)
    grow_log("math", MATHS, Chance(), HEADER, whole, search=search)
    assert {key_of(t): t for t in read(out).trajectories} == {key_of(t): t for t in read(whole).trajectories}


def test_agents_and_environments_without_steps_to_choose_from_are_refused(tmp_path: Path, lm: LMAgent) -> None:
    greedy = LMAgent(lm.sampler.model, lm.tokenizer, Sampling(temperature=0))
    picks = ChoiceAgent(lm.sampler.model, ChoiceEncoder(lm.tokenizer))
    for agent, env_args, message in (
        (ReplayAgent({}), MATHS, "cannot sample steps: a log holds its own episodes only"),
        (greedy, MATHS, "cannot sample steps: all 5 steps after a state would be the same"),
        (picks, MATHS, "cannot sample steps: all 5 steps after a state would be the same"),
        (ExpertAgent(), MATHS, "cannot sample steps: the expert writes its worked solution"),
        (Chance(), MATHS | {"level": "response"}, "takes whole responses.*level=step"),
    ):
        with pytest.raises(ValueError, match=message):
            grow_log("math", env_args, agent, HEADER, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"breadth": 0},
        {"depth": 0},
        {"paths": 0},
        {"c": -1.0},
        {"soft": 0.0},
        {"shrink": math.nan},
        {"rollouts": -1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(wrong))} must be"):
        Search(**wrong)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tree.jsonl"
    args = tuple(f"{key}={value}" for key, value in HOUSES.items())
    assert RandomAgent().name == "random"
    main(Args(env="alfworld", env_args=args, agent="random", out=out, tasks=2, search=Search(iterations=5, breadth=3)))
    said = capsys.readouterr().out
    assert "trees of random" in said
    assert "30 steps, 0 tokens" in said
    assert read(out).headers[0].search["iterations"] == 5
