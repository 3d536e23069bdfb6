"""Collection on a real Ray cluster on this machine."""

from __future__ import annotations

import os
import sys
from operator import attrgetter
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.checkpoint import Base
from agents.model import ActorCritic
from agents.sampling import Sampling
from rollouts.collect import Args, collect_log, main, player
from rollouts.resolve import resolve_agent
from rollouts.trajectory import read

ray = pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_dies_and_every_episode_is_there_once(tmp_path: Path, workers: int) -> None:
    """A worker is killed in the midst of an episode. What it had is played by another (a new one, of one worker), nothing twice."""
    import tests.rollouts.mortal  # noqa: F401 (registers it)

    args = Args(
        env="tests.rollouts.mortal:Mortal-v0",
        env_args=(f"folder={tmp_path}",),
        agent="random",
        out=tmp_path / "log.jsonl",
        samples=5,
        ray="local",
        workers=workers,
        parallel=2,
    )
    main(args)
    dead, seed = map(int, (tmp_path / "died").read_text().split())
    found = read(args.out).trajectories
    assert len(found) == len({(t.task, t.seed) for t in found}) == 30
    assert all(t.success for t in found)
    assert {t.steps[0].info["pid"] for t in found if (t.task, t.seed) == ("deadly", seed)} - {dead}


def test_the_same_episodes_as_in_this_process(
    tmp_path: Path, small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    checkpoint.save(tmp_path / "model", ActorCritic(small_lm), tokenizer, Base("tiny", checkpoint.fingerprint(small_lm)))
    sampling, model = Sampling(max_new_tokens=16), str(tmp_path / "model")
    args = Args(env="math", env_args=("count=20",), agent=model, sampling=sampling, ray="local", workers=1)
    agent, header = resolve_agent(model, sampling)
    here, there = (
        collect_log("math", {"count": 20}, agent, header, tmp_path / name, 6, player=how)
        for name, how in (("here", player(Args())), ("there", player(args)))
    )
    here, there = (sorted(episodes, key=attrgetter("task")) for episodes in (here, there))
    for one, other in zip(here, there, strict=True):
        assert [(s.action, s.tokens) for s in one.steps] == [(s.action, s.tokens) for s in other.steps]


def test_no_cluster_there(tmp_path: Path) -> None:
    args = Args(env="math", agent="expert", out=tmp_path / "log.jsonl", episodes=2, ray="127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        main(args)


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'reasoning-gym-offline\[ray\]'"):
        main(Args(env="math", agent="expert", out=tmp_path / "log.jsonl", episodes=2, ray="local"))
