"""Tasks as Gymnasium environments: `import envs; gym.make("MathReason-v0")`, or `gym.make("envs:MathReason-v0")`.

What every step-level text environment here keeps to:

- An observation is a `str` and an action is a `str`. The observation after `reset` is the problem; after a step it is
  only what the environment adds ("" for maths). Whoever acts keeps the history.
- `env.unwrapped.tasks` is the `Sequence[str]` of all task ids of the split, in a stable order (lazy where problems are
  generated). `reset(seed=..., options={"task": id_or_index})` picks one; without options one is drawn from the
  environment's own generator. `info["task"]` names it. The same task and the same actions give the same episode.
- The reward is 0 except 1.0 at a solved end. `terminated` is the task's end, `truncated` is the step limit (or a full
  context) only.
- `env.unwrapped.segment(text)` (maths and commonsense) cuts a whole response into the actions of the step level, see
  `envs.problem_env.segment`.

`level="token"` of an environment, or `envs.token_level.TokenLevel(env)` around any of them, gives the token MDP of the
papers.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from envs.hints import did_you_mean

ENVIRONMENTS: dict[str, str] = {}
"""Short name -> Gymnasium id."""

# Entry points are strings: a simulator is imported when its environment is made, not before.
for _short, _id, _entry_point in (
    ("alfworld", "AlfWorld-v0", "envs.alfworld.env:make_alfworld"),
    ("math", "MathReason-v0", "envs.math_reason.env:make_math_reason"),
    ("commonsense", "CommonsenseReason-v0", "envs.commonsense.env:make_commonsense_reason"),
):
    ENVIRONMENTS[_short] = _id
    gym.register(_id, entry_point=_entry_point)


def make(name: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """Make an environment from a short name (a key of `ENVIRONMENTS`) or any Gymnasium id.

    `kwargs` go to the environment. Raises ValueError, with the near matches, where nothing of that name is registered.
    """
    try:
        return gym.make(ENVIRONMENTS.get(name, name), **kwargs)
    except gym.error.UnregisteredEnv as error:
        known = [*ENVIRONMENTS, *gym.registry]
        hint = did_you_mean(name, known)
        wanted = f"one of {', '.join(ENVIRONMENTS)}, or the id of a registered Gymnasium environment"
        raise ValueError(f"unknown environment {name!r}: wanted {wanted}.{hint} ({error})") from None
    except (TypeError, gym.error.Error, ModuleNotFoundError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in kwargs.items())
        raise ValueError(f"cannot make {name!r} with the arguments ({given}): {error}") from error
