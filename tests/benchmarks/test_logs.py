from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from agents import checkpoint
from agents.prompt import Prompt
from algorithms.examples import encode_rows
from benchmarks import logs
from rollouts.lines import parts


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "POOL", 20)
    monkeypatch.setattr(logs, "WARM", 30)


def test_every_synthetic_episode_is_another_and_can_be_learnt_from(tmp_path: Path, small: None) -> None:
    """Half of them solved; each with as many log-probabilities as tokens, which its own tokenizer reads."""
    found = list(islice(logs.synthetic(logs.played(tmp_path, 0), 0), 60))
    assert len({(t.task, t.seed) for t in found}) == 60
    assert sum(t.success for t in found) == 30
    prompt = Prompt(checkpoint.load_policy(tmp_path / "model").tokenizer)
    assert all(row.logps is not None for row in encode_rows(found, prompt, 512))
    assert len(list(encode_rows(found, prompt, 512))) == 60


def test_a_log_that_is_there_is_taken_as_it_is(tmp_path: Path, small: None) -> None:
    pool = logs.played(tmp_path, 0)
    logs.large(tmp_path, pool, 30, 0)
    (part,) = parts(tmp_path / "log-30")
    before = part.stat().st_mtime_ns
    logs.large(tmp_path, pool, 30, 0)
    assert part.stat().st_mtime_ns == before


@pytest.mark.parametrize("way", ["stored", "in memory"])
def test_training_takes_no_less_than_what_it_took_before(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pool = logs.played(tmp_path, 0)
    for count in (30, 60):
        logs.large(tmp_path, pool, count, 0)
    monkeypatch.setattr(logs, "STEPS", 1)
    assert logs.risen(way, "sft", tmp_path, 60) >= 0
