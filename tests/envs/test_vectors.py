"""Vector environments carry problems in any script, and grade in each of their processes."""

from __future__ import annotations

import pickle

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

import envs  # noqa: F401  # registers the ids

ROWS = [
    {"question": r"Solve \(\frac{x^{2}}{\sqrt{2}} = \sum_{i=1}^{n} i\). \\ $\alpha\neq\beta$", "answer": r"\sqrt{x^2}"},
    {"question": "已知 $a \\in \\mathrm{R}$, 函数 $f(x)=x^2$; 求 πr² ≤ ∞ — ½?", "answer": "五"},
    {"question": "كم عدد التفاحات؟ \u202e5\u202c שלום", "answer": "٣"},
    {"question": "Ünïcödé 🧮👩‍🔬 e\u0301", "answer": "\U0001d7d3"},
]


def make() -> gym.Env:
    return gym.make("envs:MathReason-v0", problems=ROWS, level="response")


def check(vector: VectorEnv) -> None:
    """Every sub-environment gets its own problem by name and has its answer graded."""
    try:
        for index, row in enumerate(ROWS):
            observations, info = vector.reset(options={"task": index})
            assert list(observations) == [row["question"]] * vector.num_envs
        observations, info = vector.reset(seed=2)
        assert all(text == ROWS[int(task[-1])]["question"] for text, task in zip(observations, info["task"], strict=True))
        assert len(set(info["task"])) > 1
        _, info = vector.reset(seed=2)
        answers = tuple(rf"\boxed{{{answer}}}" for answer in info["answer"])
        _, rewards, terminated, _, _ = vector.step(answers)
        assert list(rewards) == [1.0] * vector.num_envs and terminated.all()
        vector.reset(seed=2)
        _, rewards, _, _, info = vector.step(tuple(r"\boxed{|x|+0\cdot\sec y}" for _ in answers))  # asks computer algebra
        assert set(info["outcome"]) <= {"correct", "wrong"}
    finally:
        vector.close()


def test_sync() -> None:
    check(SyncVectorEnv([make] * 3))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_async(context: str) -> None:
    check(AsyncVectorEnv([make] * 3, context=context))


def test_make_vec_and_pickle() -> None:
    vector = gym.make_vec("MathReason-v0", num_envs=2, vectorization_mode="async", problems=ROWS)
    assert all(text in {row["question"] for row in ROWS} for text in vector.reset(seed=1)[0])
    vector.close()
    env = pickle.loads(pickle.dumps(make()))
    assert env.reset(options={"task": 1})[0] == ROWS[1]["question"]
