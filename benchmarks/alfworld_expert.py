"""The project's text-only expert beside upstream's hand-coded one, on the same games: success, steps, speed.

    python benchmarks/alfworld_expert.py --games DIR [--splits valid_seen valid_unseen] [--sample N] [--seed 0] [--json FILE]

Ours (`agents.scripted.ExpertAgent`) reads the observations alone. Upstream's (alfworld's `HandCodedTWAgent`) sees more: before the
game its `traj_data.json` (task type, object, target), and at every step the admissible commands and the true facts (what is held;
what is clean, hot or cool; for two objects, what lies in a target, seen or not). It is driven as upstream's `AlfredExpert` drives
it: the first command is "look", and so is any in place of one that is not admissible. An exception loses the game.

It plays in the newer wording, since from 0.4.0 on it says "move". But it empties its hands, as it remembers them, only at a
command with the word "put", and so goes on holding the first of two objects. "told put" is the same expert, told of its own "move X
to Y" as "put X in/on Y". It draws from Python's global `random`, seeded here by game.

Speeds are of one process and thread: choosing commands, and the same with the environment's steps. What the engine does once a
game and the making of upstream's facts are not counted.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from agents.agent import History, Turn
from agents.scripted import ExpertAgent
from envs.alfworld.engine import BANNER
from envs.alfworld.env import AlfWorldEnv
from envs.alfworld.games import SPLITS, TASK_TYPES, find_games, task_type
from envs.alfworld.textworld_engine import kept_environment
from rollouts.stats import wilson

with kept_environment():
    from alfworld.agents.expert import HandCodedTWAgent

console = Console(width=140)
STEPS = 40


class Ours:
    def __init__(self, path: Path, task: str, seed: int, **dials: Any) -> None:
        self.agent, self.history = ExpertAgent(seed=seed, **dials), History(task, seed)

    def act(self, text: str, commands: list[str], facts: list[Any]) -> str:
        turn = Turn(text)
        self.history.turns.append(turn)
        turn.action = self.agent.act([self.history])[0]
        return turn.action.text


class Upstream:
    def __init__(self, path: Path, task: str, seed: int, told_put: bool = False) -> None:
        random.seed(f"{seed}|{task}")
        self.agent, self.told_put, self.last = HandCodedTWAgent(max_steps=200), told_put, ""
        self.agent.reset(str(path))

    def act(self, text: str, commands: list[str], facts: list[Any]) -> str:
        if not self.last:
            self.agent.observe(f"{BANNER}\n\n{text}")
            command = "look"
        else:
            put = self.told_put and self.last.startswith("move ")
            last = self.last.replace("move ", "put ").replace(" to ", " in/on ") if put else self.last
            command = self.agent.act({"feedback": text, "facts": facts, "admissible_commands": commands}, 0, False, last)
        self.last = command if command in commands else "look"
        return self.last


PLAYERS: dict[str, Callable[[Path, str, int], Ours | Upstream]] = {
    "ours": Ours,
    "ours, random order": functools.partial(Ours, order="random"),
    "upstream's": Upstream,
    "upstream's, told put": functools.partial(Upstream, told_put=True),
}


class Episode(NamedTuple):
    won: bool
    steps: int
    choosing: float
    stepping: float
    error: str


def play(env: AlfWorldEnv, path: Path, task: str, name: str, seed: int) -> Episode:
    won, truncated, steps, choosing, stepping, error = False, False, 0, 0.0, 0.0, ""
    text, info = env.reset(options={"task": task})
    try:
        player = PLAYERS[name](path, task, seed)
        while not (won or truncated):
            facts = true_facts(env) if isinstance(player, Upstream) else []
            began = time.perf_counter()
            command = player.act(text, info["admissible_commands"], facts)
            chosen = time.perf_counter()
            text, _, won, truncated, info = env.step(command)
            steps, choosing, stepping = steps + 1, choosing + chosen - began, stepping + time.perf_counter() - chosen
    except Exception as raised:
        error = f"{type(raised).__name__} {raised}".strip()
    return Episode(won, steps, choosing, stepping, error)


def true_facts(env: AlfWorldEnv) -> list[Any]:
    world = env._engine._world  # type: ignore[attr-defined]
    named = ((name, [world.game.names[one] for one in row]) for name, rows in world.facts.items() for row in rows)
    return [SimpleNamespace(name=name, names=names) for name, names in sorted(named)]


def summary(episodes: list[Episode]) -> dict[str, Any]:
    steps, won = sum(one.steps for one in episodes), [one.steps for one in episodes if one.won]
    choosing, stepping = (sum(times) or float("nan") for times in list(zip(*episodes, strict=True))[2:4])
    return {
        "games": len(episodes), "won": len(won), "interval": wilson(len(won), len(episodes)),
        "steps_won": sum(won) / max(len(won), 1), "steps": steps / len(episodes),
        "steps_per_second": steps / choosing, "with_env": steps / (choosing + stepping),
        "exceptions": dict(Counter(one.error for one in episodes if one.error)),
    }  # fmt: skip


def measure(split: str, games: dict[str, Path], seed: int) -> dict[str, dict[str, Any]]:
    env = AlfWorldEnv(list(games.values()), max_steps=STEPS, wording="move")
    found: dict[str, dict[str, list[Episode]]] = {name: defaultdict(list) for name in PLAYERS}
    for task, path in track(games.items(), split, console=console):
        play(env, path, task, "ours", seed)  # the engine works out a game's commands as they come up: nobody shall be the first
        for name in PLAYERS:
            episode = play(env, path, task, name, seed)
            for kind in (task_type(task), "all"):
                found[name][kind].append(episode)
    kinds = [kind for kind in (*TASK_TYPES, "all") if kind in found["ours"]]
    return {name: {kind: summary(episodes[kind]) for kind in kinds} for name, episodes in found.items()}


def report(split: str, found: dict[str, dict[str, Any]]) -> None:
    title = f"{split}, at most {STEPS} steps: success \\[95%]; games won; mean steps of those won / of all"
    table, every = Table("task type", *found, title=title, show_lines=True), [one["all"] for one in found.values()]
    for kind in found["ours"]:
        cells = []
        for one in (player[kind] for player in found.values()):
            low, high = (100 * bound for bound in one["interval"])
            rate, won = f"{one['won'] / one['games']:.1%} \\[{low:.1f}, {high:.1f}]", f"{one['won']} of {one['games']}"
            cells.append(f"{rate}\n{won}; {one['steps_won']:.1f} / {one['steps']:.1f}")
        table.add_row(kind, *cells)
    table.add_row("steps/s: choosing; with env", *(f"{one['steps_per_second']:,.0f}; {one['with_env']:,.0f}" for one in every))
    table.add_row("lost by an exception", *("\n".join(f"{n}: {e}" for e, n in one["exceptions"].items()) or "0" for one in every))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", help="folder of the official games, traj_data.json included (default: $ALFWORLD_DATA)")
    parser.add_argument("--splits", nargs="+", default=["valid_seen", "valid_unseen"], choices=SPLITS)
    parser.add_argument("--sample", type=int, help="games of each split (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = {}
    for split in arguments.splits:
        games = find_games(arguments.games, split)
        drawn = random.Random(f"{arguments.seed}|{split}").sample(list(games), min(arguments.sample or len(games), len(games)))
        result[split] = measure(split, {task: games[task] for task in sorted(drawn)}, arguments.seed)
        report(split, result[split])
    if arguments.json:
        content = {"seed": arguments.seed, "sample": arguments.sample, "max_steps": STEPS, "splits": result}
        arguments.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
