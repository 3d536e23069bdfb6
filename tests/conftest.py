"""Fixtures that several test folders share."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents import tiny
from envs.alfworld.games import TASK_TYPES

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: none has a second one for torch
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start

settings.register_profile("any machine", deadline=None)  # how long a test takes says nothing of the code
settings.load_profile("any machine")

ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "alfworld_games" / "games.tar.xz"


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def alfworld_games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of official ALFWorld games that holds valid_unseen: `$ALFWORLD_DATA`, else one game per task type."""
    if data := os.environ.get("ALFWORLD_DATA"):
        if not (Path(data) / "json_2.1.1" / "valid_unseen").is_dir():
            pytest.skip(f"ALFWORLD_DATA={data} holds no json_2.1.1/valid_unseen")
        return Path(data)
    if not ARCHIVE.is_file():
        pytest.skip(f"needs official ALFWorld games: set ALFWORLD_DATA (there is no {ARCHIVE} either)")
    folder = tmp_path_factory.mktemp("alfworld")
    _extract_one_of_each(folder)
    return folder


def _extract_one_of_each(folder: Path) -> None:
    """Write the first valid_unseen game of each task type, read from the archive as a stream."""
    missing = set(TASK_TYPES)
    with tarfile.open(ARCHIVE, "r|xz") as archive:
        for member in archive:
            if not missing:
                return
            _, task_type = os.path.split(member.name.split("-")[0])
            if member.isfile() and "/valid_unseen/" in member.name and task_type in missing:
                missing.discard(task_type)
                place = folder / member.name  # (extract's filter came with Python 3.11.4)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]  # a file's is never None


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The tiny preset's tokenizer, trained on a few of the generator's own texts."""
    env = envs.make("math")
    texts = []
    for index in range(50):
        problem, info = env.reset(options={"task": index})
        texts += [problem, info["solution"]]
    return tiny.train_tokenizer(texts, 512)


@pytest.fixture
def small_lm(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random Llama of some 10,000 parameters, with weights large enough that its samples are not uniform."""
    lm = tiny.build(tokenizer, tiny.TinyConfig(width=32, layers=2, heads=2, context=512), seed=3)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.mul_(3.0 if parameter.ndim > 1 else 1.0)
    return lm
