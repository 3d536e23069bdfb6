"""The native ALFWorld engine beside TextWorld's: are they the same, text for text, and how much faster is it?

    python benchmarks/alfworld_engine.py --games DIR [--sample 60] [--steps 40] [--seed 0] [--json FILE]

Both engines play the same commands in lockstep on official games, spread over splits and task types: random admissible commands
(a verb first, so that rare ones come up), the walkthrough's, and nonsense. After every command the observation, the admissible
commands in their order, and `won` are compared. TextWorld is asked for exactly what the environment gives (text, commands,
won). Times are wall-clock of one process, one thread.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium as gym
from rich.console import Console
from rich.progress import track
from rich.table import Table

import envs
from benchmarks.machine import machine
from envs.alfworld.engine import Engine, Scene, Source, make_engine
from envs.alfworld.games import SPLITS, task_type
from envs.alfworld.native_engine import NativeEngine, forget_games
from envs.alfworld.sources import find_sources

console = Console()
NONSENSE = (
    "",
    "   ",
    "go to nowhere 1",
    "take",
    "{o.name}",
    "look around",
    "LOOK",
    "open the pod bay doors",
    "help me",
    "\u03c0r\u00b2",
    "go to",
)


@dataclass
class Times:
    """Seconds of one engine: a game never seen, the same game again, and all steps."""

    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


def timed(into: list[float], call: Callable[[], Scene]) -> Scene:
    began = time.perf_counter()
    scene = call()
    into.append(time.perf_counter() - began)
    return scene


def choose(rng: random.Random, scene: Scene, walkthrough: list[str]) -> str:
    """The next command: the walkthrough's next, a nonsense, or an admissible one by verb."""
    draw = rng.random()
    if draw < 0.25 and walkthrough:
        return walkthrough.pop(0)
    if draw < 0.35:
        command = rng.choice(scene.commands)
        return rng.choice([*NONSENSE, command[:-1], command.upper(), f"  {command} ", command + " 1", command.replace("a", "b")])
    verbs: dict[str, list[str]] = {}
    for command in scene.commands:
        verbs.setdefault(command.split()[0], []).append(command)
    return rng.choice(verbs[rng.choice(sorted(verbs))])


def compare(source: Source, steps: int, seed: int, times: dict[str, Times]) -> tuple[int, Counter[str], str]:
    """Play one game in lockstep; returns the steps compared, the verbs that did something, and the first difference ("")."""
    engines: dict[str, Engine] = {name: make_engine(name) for name in ("textworld", "native")}
    text = source.read()
    rng, verbs = random.Random(f"{seed}|{text}"), Counter[str]()
    walkthrough = list(json.loads(text)["walkthrough"])
    try:
        for name, engine in engines.items():
            timed(times[name].first, lambda engine=engine: engine.reset(source))
        theirs, ours = (timed(times[name].again, lambda engine=engine: engine.reset(source)) for name, engine in engines.items())
        if theirs != ours:
            return 0, verbs, f"reset: {theirs} != {ours}"
        for number in range(steps):
            command = choose(rng, ours, walkthrough)
            theirs, ours = (
                timed(times[name].steps, lambda engine=engine, command=command: engine.step(command))
                for name, engine in engines.items()
            )
            verbs[command.split()[0] if ours.text != "Nothing happens." else "(nothing)"] += 1
            if theirs != ours:
                return number, verbs, f"{command!r}: {theirs} != {ours}"
        return steps, verbs, ""
    finally:
        for engine in engines.values():
            engine.close()


def spread(games: str | None, sample: int, seed: int) -> list[tuple[str, str, Source]]:
    """(split, task id, source) of `sample` games, in turn over splits and task types."""
    groups: dict[tuple[str, str], list[tuple[str, str, Source]]] = {}
    for split in SPLITS:
        for task, source in find_sources(games, split).items():
            groups.setdefault((split, task_type(task)), []).append((split, task, source))
    rng = random.Random(seed)
    for group in groups.values():
        rng.shuffle(group)
    found: list[tuple[str, str, Source]] = []
    while len(found) < sample and any(groups.values()):
        found += [group.pop() for group in groups.values() if group]
    return found[:sample]


def throughput(games: dict[str, Source], seconds: float) -> dict[str, float]:
    """Steps a second of the native engine alone, of the whole environment, and of sync and async vectors, by random play."""
    rng = random.Random(0)
    engine, sources = NativeEngine(), list(games.values())
    found = {}

    def play_engine() -> int:
        scene = engine.reset(rng.choice(sources))
        for _ in range(40):
            scene = engine.step(rng.choice(scene.commands))
        return 40

    env = gym.make("AlfWorld-v0", games=games)

    def play_env() -> int:
        _, info = env.reset(seed=rng.randrange(1000))
        for _ in range(40):
            _, _, terminated, truncated, info = env.step(rng.choice(info["admissible_commands"]))
            if terminated or truncated:
                _, info = env.reset()
        return 40

    found["engine, steps/s with resets"] = rate(play_engine, seconds)
    found["gym.make, steps/s with resets"] = rate(play_env, seconds)
    for kind in ("sync", "async"):
        vector = gym.make_vec("AlfWorld-v0", num_envs=8, vectorization_mode=kind, games=games)
        state = {"infos": vector.reset(seed=0)[1]}

        def play_vector(vector: gym.vector.VectorEnv = vector, state: dict = state) -> int:
            commands = state["infos"]["admissible_commands"]
            *_, state["infos"] = vector.step([rng.choice(some) for some in commands])
            return 8

        found[f"{kind} vector of 8, steps/s"] = rate(play_vector, seconds)
        vector.close()
    return found


def saving(games: dict[str, Source], steps: int = 20) -> dict[str, float]:
    """Microseconds, median, to save and to go back to a state `steps` random commands after the start of a game."""
    rng, engine, times = random.Random(0), NativeEngine(), {"snapshot": list[float](), "restore": list[float]()}
    for source in games.values():
        scene = engine.reset(source)
        for _ in range(steps):
            scene = engine.step(rng.choice(scene.commands))
        for _ in range(20):
            began = time.perf_counter()
            state = engine.snapshot()
            saved = time.perf_counter()
            engine.restore(source, state)
            times["snapshot"].append(saved - began)
            times["restore"].append(time.perf_counter() - saved)
    return {f"{what}, microseconds": 1e6 * statistics.median(taken) for what, taken in times.items()}


def rate(play: Callable[[], int], seconds: float) -> float:
    play()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        steps += play()
    return steps / (time.perf_counter() - began)


def memory(games: dict[str, Source]) -> float:
    """Kilobytes of one more environment, each on a game of its own, after the first."""
    forget_games()
    first, *others = [{task: source} for task, source in games.items()]
    kept = [envs.make("alfworld", games=first)]
    kept[0].reset()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for one in others:
        kept.append(envs.make("alfworld", games=one))
        kept[-1].reset()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / 1024 / len(others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", help="folder of the official games (default: $ALFWORLD_DATA), or generated")
    parser.add_argument("--sample", type=int, default=60, help="games")
    parser.add_argument("--steps", type=int, default=40, help="steps a game")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each throughput measurement")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = spread(arguments.games, arguments.sample, arguments.seed)
    times = {name: Times() for name in ("textworld", "native")}
    compared, different, verbs = Counter[tuple[str, str]](), [], Counter[str]()
    for split, task, source in track(chosen, "both engines in lockstep", console=console):
        steps, seen, difference = compare(source, arguments.steps, arguments.seed, times)
        compared[split, task_type(task)] += steps
        verbs += seen
        if difference:
            different.append(f"{source}: {difference}")
    report(compared, verbs, different, times)
    games = {task: source for _, task, source in chosen}
    speeds = throughput(games, arguments.seconds) | saving(games)
    kilobytes = memory(games)
    for name, speed in speeds.items():
        console.print(f"native {name}: {speed:,.0f}")
    console.print(f"native, memory of one more environment on a game of its own: {kilobytes:,.0f} KiB")
    if arguments.json:
        content = {"seed": arguments.seed, "steps": sum(compared.values()), "different": different, "verbs": verbs}
        content |= {"times": {name: vars(one) for name, one in times.items()}, "throughput": speeds, "kilobytes": kilobytes}
        arguments.json.write_text(json.dumps(content))
    if different:
        raise SystemExit(f"{len(different)} games differ")


def report(compared: Counter[tuple[str, str]], verbs: Counter[str], different: list[str], times: dict[str, Times]) -> None:
    counts = Table("task type", *SPLITS, title="steps compared")
    for kind in sorted({kind for _, kind in compared}):
        counts.add_row(kind, *(str(compared[split, kind]) for split in SPLITS))
    console.print(counts)
    console.print(f"{sum(compared.values())} steps compared; by verb: {', '.join(f'{v} {n}' for v, n in verbs.most_common())}")
    for line in different:
        console.print(f"DIFFERENT {line}", markup=False)
    console.print(
        "every observation, list of commands and `won` was the same" if not different else f"{len(different)} games differ"
    )
    speed = Table("milliseconds, median [10%, 90%]", "textworld", "native", "ratio of medians", title=machine())
    for what, label in (("first", "first load + reset of a game"), ("again", "reset of it again"), ("steps", "step")):
        theirs, ours = (getattr(times[name], what) for name in ("textworld", "native"))
        speed.add_row(label, quantiles(theirs), quantiles(ours), f"{statistics.median(theirs) / statistics.median(ours):,.0f}x")
    console.print(speed)
    total = {name: sum(one.steps) for name, one in times.items()}
    rates = {name: len(one.steps) / total[name] for name, one in times.items()}
    faster = f"{rates['native'] / rates['textworld']:,.0f}x"
    console.print(f"mean steps/s: textworld {rates['textworld']:.1f}, native {rates['native']:,.0f} ({faster})")


def quantiles(seconds: list[float]) -> str:
    deciles = [1000 * x for x in statistics.quantiles(seconds, n=10)]
    return f"{deciles[4]:.3g} [{deciles[0]:.3g}, {deciles[8]:.3g}]"


if __name__ == "__main__":
    main()
