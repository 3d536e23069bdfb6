from __future__ import annotations

from collections.abc import Sequence

from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import envs
from agents.agent import Action, Agent, History


class Doubles(Agent):
    """Answers "2 * a" problems from the text alone, a step at a time, and counts its turns in the history."""

    def act(self, histories: Sequence[History]) -> list[Action]:
        found = []
        for history in histories:
            number = int(history.turns[0].observation.split()[0])
            found.append(Action(f"{number} * 2 = {2 * number}\n" if len(history.turns) == 1 else f"#### {2 * number}"))
        return found


def test_stable_baselines_evaluates_our_agents() -> None:
    """evaluate_policy over two environments: every episode takes two steps and is solved."""
    problems = [{"question": f"{n} doubled?", "answer": str(2 * n)} for n in range(5)]
    vector = DummyVecEnv([lambda: Monitor(envs.make("math", problems=problems)) for _ in range(2)])
    rewards, lengths = evaluate_policy(Doubles(), vector, n_eval_episodes=6, return_episode_rewards=True)  # type: ignore[arg-type]
    assert rewards == [1.0] * 6
    assert lengths == [2] * 6
