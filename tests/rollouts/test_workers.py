"""Environments in processes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

import pytest

from agents.agent import Action, Agent, History
from agents.scripted import ExpertAgent, RandomAgent
from rollouts.collect import Args, main, player
from rollouts.episodes import EpisodeKey, collect, episode_keys
from rollouts.resolve import env_maker
from rollouts.trajectory import End, Trajectory, read
from rollouts.workers import Workers
from tests.rollouts.mortal import Mortal


class Says(Agent):
    name = "says"

    def act(self, histories: Sequence[History]) -> list[Action]:
        return [Action(f"word {len(history.turns)}") for history in histories]


def played(make: partial[Mortal], keys: Sequence[EpisodeKey], count: int, parallel: int = 6) -> dict[tuple[str, int], Trajectory]:
    found: list[Trajectory] = []
    with Workers(make, count) as workers:
        collect(workers.make, Says(), keys, found.append, parallel, moves=workers)
    assert len({(t.task, t.seed) for t in found}) == len(found) == len(keys)
    return {(t.task, t.seed): t for t in found}


def test_the_same_episodes_as_in_this_process() -> None:
    """AlfWorld: tasks by name, info (admissible commands) that the agent reads, forty steps."""
    make = env_maker("alfworld", {"split": "valid_unseen", "games": "generated"})
    keys = episode_keys(make(), 4)
    here: list[Trajectory] = []
    there: list[Trajectory] = []
    collect(make, RandomAgent(), keys, here.append, 2)
    with Workers(make, 2) as workers:
        collect(workers.make, RandomAgent(), keys, there.append, 2, moves=workers)
    assert sorted(there, key=lambda t: t.task) == sorted(here, key=lambda t: t.task)
    assert all(t.steps for t in there)


def test_a_response_is_cut_by_the_rule_of_the_environment() -> None:
    make = env_maker("math", {"count": 5})
    keys = episode_keys(make(), 3)
    found: list[Trajectory] = []
    with Workers(make, 1) as workers:
        collect(workers.make, ExpertAgent(), keys, found.append, 3, moves=workers)
    assert all(t.success for t in found)
    assert all(len(t.steps) > 1 for t in found)


def test_environments_move_beside_each_other(tmp_path: Path) -> None:
    """In two processes the first steps of two episodes wait for each other."""
    keys = [EpisodeKey("one", 0, 0), EpisodeKey("two", 1, 0)]
    found = played(partial(Mortal, str(tmp_path), together=2), keys, 2, parallel=2)
    assert all(t.success for t in found.values())
    assert len({t.steps[0].info["pid"] for t in found.values()}) == 2


def test_a_process_that_dies_takes_only_its_own_episodes(tmp_path: Path) -> None:
    """Two processes and one episode each at a time; the place of the dead one is taken by another."""
    make = partial(Mortal, str(tmp_path))
    keys = [EpisodeKey(task, index, seed) for seed in range(2) for index, task in enumerate(Mortal.tasks)]
    found = played(make, keys, 2, parallel=2)
    lost = [key for key, t in found.items() if t.end is End.ERROR]
    assert lost == [("deadly", 0)]
    assert "process died (exit code 3)" in found["deadly", 0].final
    assert found["deadly", 1].success


def test_at_least_one_process(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--workers must be at least 1, got 0"):
        Workers(partial(Mortal, str(tmp_path)), 0)


def test_from_the_command_line(tmp_path: Path) -> None:
    """The log of `--workers 2` holds the episodes of `--workers 0`."""
    found = []
    for workers in (0, 2):
        out = tmp_path / f"{workers}.jsonl"
        main(Args(env="math", env_args=("count=20",), agent="expert", out=out, episodes=6, workers=workers))
        found.append(sorted(read(out).trajectories, key=attrgetter("task")))
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_less_than_no_process() -> None:
    with pytest.raises(ValueError, match="--workers must be at least 0, got -1"):
        player(Args(workers=-1))
