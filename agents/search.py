"""Search at decision time: agents that wrap an agent that samples, and a value that judges.

| search       | chooses among                                        | by                                            |
|--------------|------------------------------------------------------|-----------------------------------------------|
| `BestOf`     | `width` actions (or whole responses)                 | V                                             |
| `Vote`       | `width` whole responses                              | how many say its answer, or the sum of their V |
| `Beam`       | `width` ways on, `breadth` next steps after each     | V                                             |
| `TreeSearch` | the ends of a tree of `iterations` expansions (MCTS) | V                                             |

Step-level beams and best-of-K are those of OREO (Wang et al. 2024, arXiv 2412.16145, section 4.4), but that ends compete with what
goes on, that the same text counts once, and that what a limit has cut off is no end. The tree is that of `agents/mcts.py`, with V
where its paper has outcomes. What is between an action and the next is a `World`: nothing, where text is all that there is.

`budget` is how many tokens an episode may sample; when they are spent it goes on with one sample at a time.
"""

from __future__ import annotations

import math
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agents import mcts
from agents.agent import Action, Agent, History, message
from agents.mcts import Node
from agents.values import Value
from agents.worlds import Fate, World

SPENT, PLAN = "tokens spent", "plan"
"""Keys of `History.memory`."""

Votes = Callable[[str, Sequence[str]], Sequence[int | None]]
"""Task, responses -> for each the number of its answer, the same for the same answers; None where there is none."""


class SearchAgent(Agent):
    """What every search has: an agent whose samples it tries, and how many of them."""

    def __init__(self, agent: Agent, value: Value | None, width: int, budget: int | None = None) -> None:
        """Raises ValueError for numbers that make no sense."""
        for name, number in (("width", width), ("budget", 1 if budget is None else budget)):
            if number < 1:
                raise ValueError(f"{name}={number}: wanted at least 1")
        self.agent, self.value, self.width, self.budget = agent, value, width, budget
        self.name = f"{type(self).__name__.lower()}({width})({agent.name})"

    def cut(self, action: Action, pieces: Sequence[str]) -> list[Action]:
        """As the agent that sampled it."""
        return self.agent.cut(action, pieces)

    def tried(self, histories: Sequence[History], number: int, roots: Sequence[History] | None = None) -> list[list[History]]:
        """Sample so many actions for each history: forks with one each. What a limit cut off is there only where all are.

        `roots` are the episodes whose tokens are spent, by default the histories themselves.
        """
        roots = histories if roots is None else roots
        forks = [
            [self.agent.fork(history, _stream(history, sample)) for sample in range(self._affordable(root, number))]
            for history, root in zip(histories, roots, strict=True)
        ]
        asked = [fork for some in forks for fork in some]
        for fork, action in zip(asked, self.agent.act(asked), strict=True):
            fork.turns[-1].action = action
        for root, some in zip(roots, forks, strict=True):
            root.memory[SPENT] = self.spent(root) + sum(len(_last(fork).tokens or ()) for fork in some)
        return [[fork for fork in some if _last(fork).closed] or some for some in forks]

    @staticmethod
    def spent(root: History) -> int:
        """Tokens that were sampled for an episode."""
        return root.memory.get(SPENT, 0)

    def judged(self, groups: Sequence[Sequence[History]]) -> list[list[float]]:
        """V after the last action of each; 0 where there is no value."""
        flat = [history for some in groups for history in some]
        values = iter(self.value(flat) if self.value and flat else [0.0] * len(flat))
        return [[next(values) for _ in some] for some in groups]

    def _affordable(self, history: History, wanted: int) -> int:
        return 1 if self.budget is not None and self.spent(history) >= self.budget else wanted

    def _explained(self, action: Action, root: History, considered: Iterable[tuple[History, float]]) -> Action:
        """The action with what it was chosen from, each text once."""
        texts: dict[str, float] = {}
        for fork, value in considered:
            texts.setdefault(_last(fork).text, value)
        candidates = [{"action": text, "value": value if self.value else None} for text, value in texts.items()]
        found = {"by": self.name, "candidates": candidates, "tokens": self.spent(root)}
        return replace(action, info={**action.info, "search": found})


class BestOf(SearchAgent):
    """The action with the largest V of `width`: the best response, or the best step of an agent that stops after each."""

    def act(self, histories: Sequence[History]) -> list[Action]:
        """As `Agent.act`."""
        groups = self.tried(histories, self.width)
        return [self._best(*given) for given in zip(histories, groups, self.judged(groups), strict=True)]

    def _best(self, history: History, tried: Sequence[History], values: Sequence[float]) -> Action:
        best = tried[int(np.argmax(values))]
        history.memory |= {name: found for name, found in best.memory.items() if name != SPENT}  # its place in the cache
        return self._explained(_last(best), history, zip(tried, values, strict=True))


class Vote(SearchAgent):
    """The answer that most of `width` responses give, or with a value the one whose responses have the largest sum of V.

    Of the responses with that answer it is the one with the largest V, or the first. Responses without an answer have no vote.

    Args:
        votes: which responses give the same answer.
    """

    def __init__(self, agent: Agent, value: Value | None, width: int, votes: Votes, budget: int | None = None) -> None:
        super().__init__(agent, value, width, budget)
        self.votes = votes

    def act(self, histories: Sequence[History]) -> list[Action]:
        """As `Agent.act`."""
        groups = self.tried(histories, self.width)
        return [self._elected(*given) for given in zip(histories, groups, self.judged(groups), strict=True)]

    def _elected(self, history: History, tried: Sequence[History], values: Sequence[float]) -> Action:
        answers = self.votes(history.task, [message(fork) for fork in tried])
        weights: dict[int, float] = {}
        for answer, value in zip(answers, values, strict=True):
            if answer is not None:
                weights[answer] = weights.get(answer, 0.0) + (value if self.value else 1.0)
        winner = max(weights, key=weights.__getitem__, default=None)
        voters = [pair for pair, answer in zip(zip(tried, values, strict=True), answers, strict=True) if answer == winner]
        best = max(voters, key=lambda pair: pair[1])[0]
        return self._explained(_last(best), history, zip(tried, values, strict=True))


@dataclass(eq=False)
class Path:
    """What is tried from a history on: the history with these actions."""

    history: History
    actions: tuple[Action, ...] = ()
    value: float = 0.0
    fate: Fate = Fate.OPEN

    @property
    def rank(self) -> tuple[bool, float]:
        """What a limit has cut off comes last."""
        return self.fate is not Fate.CUT, self.value


class Planner(SearchAgent):
    """Tries whole ways on in a world, then takes the best one action by action, for as long as the environment says the same."""

    def __init__(
        self, agent: Agent, value: Value, width: int, world: World, breadth: int | None = None, budget: int | None = None
    ) -> None:
        super().__init__(agent, value, width, budget)
        self.world, self.breadth = world, breadth or width
        self.name += "+simulator" * world.simulator

    @abstractmethod
    def plans(self, histories: Sequence[History]) -> list[Path]:
        """The best way on from each history, of at least one action."""

    def act(self, histories: Sequence[History]) -> list[Action]:
        """As `Agent.act`."""
        lost = [history for history in histories if not self._goes_on(history)]
        for history, path in zip(lost, self.plans(lost) if lost else (), strict=True):
            seen = [turn.observation for turn in path.history.turns[len(history.turns) - 1 :]]
            history.memory[PLAN] = list(zip(seen, path.actions, strict=False))
        return [history.memory[PLAN].pop(0)[1] for history in histories]

    @staticmethod
    def _goes_on(history: History) -> bool:
        """Whether there is a plan, and nothing else has come than was planned on."""
        plan = history.memory.get(PLAN)
        return bool(plan) and plan[0][0] == history.turns[-1].observation

    def grown(self, paths: Sequence[tuple[History, Path]]) -> list[list[Path]]:
        """What comes one action after each (root, path): the different ones among `breadth`, judged and followed."""
        roots = [root for root, _ in paths]
        groups = [_different(some) for some in self.tried([path.history for _, path in paths], self.breadth, roots)]
        found = []
        for (root, path), some, values in zip(paths, groups, self.judged(groups), strict=True):
            considered = list(zip(some, values, strict=True))
            new = []
            for fork, value in considered:
                action = self._explained(_last(fork), root, considered)
                fate = self.world.follow(path.history, fork)
                new.append(Path(fork, (*path.actions, action), value, fate))
            found.append(new)
        return found


class Beam(Planner):
    """The `width` best ways on by V, each with `breadth` next actions tried after it, until all of them have ended.

    Ends stay in the beam as long as nothing is better.
    """

    depth = 64
    """most actions of a way on"""

    def plans(self, histories: Sequence[History]) -> list[Path]:
        """As `Planner.plans`."""
        beams = [[Path(history)] for history in histories]
        for _ in range(self.depth):
            growing = [
                (index, path)
                for index, beam in enumerate(beams)
                for path in self._afforded(histories[index], beam)
                if path.fate is Fate.OPEN
            ]
            if not growing:
                break
            new: dict[int, list[Path]] = {}
            for (index, _), paths in zip(growing, self.grown([(histories[i], path) for i, path in growing]), strict=True):
                new.setdefault(index, []).extend(paths)
            for index, paths in new.items():
                ended = [path for path in beams[index] if path.fate is not Fate.OPEN]
                pool: dict[tuple[object, ...], Path] = {}
                for path in ended + paths:
                    pool.setdefault((path.fate, *(action.text for action in path.actions)), path)
                beams[index] = sorted(pool.values(), key=lambda path: path.rank, reverse=True)[: self.width]
        return [beam[0] for beam in beams]

    def _afforded(self, root: History, beam: list[Path]) -> list[Path]:
        """All of a beam, or when the budget is spent its best."""
        return beam[:1] if self.budget is not None and self.spent(root) >= self.budget else beam


class TreeSearch(Planner):
    """Monte Carlo tree search with V at the leaves (`agents/mcts.py`): the best end that was found, by V.

    Where none was found, the way to the leaf with the largest V among those of most visits, and from there on another search.
    """

    def __init__(
        self, agent: Agent, value: Value, width: int, world: World, iterations: int = 16, c: float = 1.5, budget: int | None = None
    ) -> None:
        super().__init__(agent, value, width, world, budget=budget)
        self.iterations, self.c = iterations, c

    def plans(self, histories: Sequence[History]) -> list[Path]:
        """As `Planner.plans`."""
        roots = [Node(Path(history)) for history in histories]
        streams = [np.random.default_rng(_stream(history, 0)) for history in histories]
        for _ in range(self.iterations):
            growing = [
                (history, mcts.select(root, self.c, rng))
                for history, root, rng in zip(histories, roots, streams, strict=True)
                if not root.closed and (self.budget is None or self.spent(history) < self.budget or not root.children)
            ]
            if not growing:
                break
            paths = self.grown([(history, node.state) for history, node in growing])
            for (_, node), new in zip(growing, paths, strict=True):
                _expand(node, new)
                for path in new:  # a tree has more nodes than a cache has room for
                    self._release(path.history)
        return [_best(root) for root in roots]

    def _release(self, history: History) -> None:
        self.agent.release(history)
        if self.value:
            self.value.release(history)


def _expand(node: Node[Path], paths: Sequence[Path]) -> None:
    """Add what comes after a node; V of each is backed up once, as the outcome of an end or of a look ahead."""
    children = [
        Node(
            path, _prior(path.actions[-1], len(paths)), path.value if path.fate is Fate.OVER else None, closed=path.fate is Fate.CUT
        )
        for path in paths
    ]
    node.expand(children)
    for child in children:
        if child.outcome is None:
            child.simulate(child.state.value)


def _prior(action: Action, siblings: int) -> float:
    """The probability of an action per token."""
    return math.exp(sum(action.logps) / len(action.logps)) if action.logps else 1 / siblings


def _best(root: Node[Path]) -> Path:
    nodes = [node for node in root.nodes() if node is not root]
    ended = [node.state for node in nodes if node.state.fate is Fate.OVER]
    leaves = [node for node in nodes if not node.children and node.state.fate is Fate.OPEN]
    if ended or not leaves:
        return max(ended or [node.state for node in nodes], key=lambda path: path.rank)
    return max(leaves, key=lambda node: (node.visits, node.state.value)).state


def _different(histories: Sequence[History]) -> list[History]:
    """The first of each text."""
    found: dict[tuple[str, bool], History] = {}
    for history in histories:
        found.setdefault((_last(history).text, _last(history).closed), history)
    return list(found.values())


def _last(history: History) -> Action:
    """The action of the last turn that has one."""
    turn = history.turns[-1] if history.turns[-1].action is not None else history.turns[-2]
    assert turn.action is not None
    return turn.action


def _stream(history: History, sample: int) -> int:
    """The seed of a sample: another one in each episode, at each turn, on each way on; the same whatever else is searched."""
    way = "".join(turn.action.text for turn in history.turns if turn.action)
    return zlib.crc32(f"{history.task}|{history.seed}|{len(history.turns)}|{sample}|{way}".encode())
