"""Text for stable-baselines3: an environment of choices, and a policy whose features are a language model's.

    env = ChoiceView(gym.make("AlfWorld-v0"), ChoiceEncoder(tokenizer))
    PPO(ChoicePolicy, env, policy_kwargs={"model": ActorCritic(lm, critic="shared")})

stable-baselines3 knows no space of texts. Here the observation is the ids of the episode so far and of each text on offer, the
action the number of one of them. What cannot be chosen has probability exactly 0: the observation itself says what is offered,
so that no mask has to travel beside it (and stable-baselines3's own PPO and A2C do).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import index
from typing import Any, SupportsIndex

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor, nn

from agents.agent import Action, History, Turn, segment_of, unfinished
from agents.choices import NONE, ChoiceEncoder, Offer, check_scoring, listed, score_choices
from agents.model import ActorCritic

Observation = dict[str, np.ndarray]
CHUNK = 8
"""States of one forward pass."""


class ChoiceView(gym.Env[Observation, np.int64]):
    """A text environment in which the action picks one of the texts that the state offers.

    The observation holds `tokens`, the ids of the whole episode so far, and `choices`, those of each text on offer (see
    `agents.choices.ChoiceEncoder`). `info["offered"]` are the texts; at the end there are none. Reward and ends are the
    environment's own, but that a proposed step which was cut off truncates the episode, as it does wherever models play.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, env: gym.Env[str, str], encoder: ChoiceEncoder, offer: Offer = listed) -> None:
        """Wrap `env`. Raises ValueError where it does not observe and take text."""
        for role, space in (("observes", env.observation_space), ("takes", env.action_space)):
            if not (space.shape == () and space.dtype is not None and space.dtype.kind in "OUS"):
                raise ValueError(f"the environment {role} {space}: a choice view wants one that observes and takes texts")
        self.env, self.encoder, self.offer = env, encoder, offer
        last, view = encoder.vocab - 1, encoder.view
        self.observation_space = spaces.Dict(  # type: ignore[assignment]  # its values are arrays, whatever its type says
            {
                "tokens": spaces.Box(NONE, last, (view.max_tokens,), np.int32),
                "choices": spaces.Box(NONE, last, (view.max_choices, view.choice_tokens), np.int32),
            }
        )
        self.action_space = spaces.Discrete(view.max_choices)
        self.history = History("", 0)
        self._offered: list[Action] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Reset the text environment with the same arguments."""
        info = self.begin(seed, options)
        observation = self.show(self.offer([self.history])[0])
        return observation, info | {"offered": self.texts()}

    def step(self, action: SupportsIndex) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Give the environment the text that was picked.

        Raises:
            ValueError: a number that is not on offer.
            gymnasium.error.ResetNeeded: no episode is running.
        """
        reward, terminated, truncated, info = self.move(action)
        observation = self.show([] if terminated or truncated else self.offer([self.history])[0])
        return observation, reward, terminated, truncated, info | {"offered": self.texts()}

    def begin(self, seed: int | None = None, options: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin an episode without offering anything yet; its info."""
        super().reset(seed=seed)
        text, info = self.env.reset(seed=seed, options=options)
        self.history = History(str(info.get("task", "")), int(self.np_random.integers(2**32)), [Turn(text, info)])
        return info

    def move(self, action: SupportsIndex) -> tuple[float, bool, bool, dict[str, Any]]:
        """Take a step without offering anything yet: reward, terminated, truncated, info. Raises as `step`."""
        if not self._offered:
            raise gym.error.ResetNeeded("the episode is over, or none was begun: call reset() before step()")
        if not 0 <= index(action) < len(self._offered):
            raise ValueError(
                f"action {index(action)} is not on offer: wanted 0 to {len(self._offered) - 1} here; "
                "use ChoicePolicy, or mask by action_masks()"
            )
        chosen = self._offered[index(action)]
        self.history.turns[-1].action = chosen
        if unfinished(self.history, segment_of(self.env)):
            return 0.0, False, True, {"outcome": "unparseable"}
        text, reward, terminated, truncated, info = self.env.step(chosen.text)
        self.history.turns.append(Turn(text, info))
        return float(reward), terminated, truncated, info

    def show(self, offered: list[Action]) -> Observation:
        """Offer these actions; what is observed then."""
        self._offered = offered
        tokens, choices = self.encoder.encode(self.history, offered)
        return {"tokens": tokens, "choices": choices}

    def action_masks(self) -> np.ndarray:
        """Which actions are on offer, bool [max_choices]; the name that sb3-contrib's MaskablePPO asks for."""
        return np.arange(self.encoder.view.max_choices) < len(self._offered)

    def close(self) -> None:
        """Close the text environment."""
        self.env.close()

    def texts(self) -> tuple[str, ...]:
        """What is on offer."""
        return tuple(action.text for action in self._offered)


class ChoiceVecEnv(DummyVecEnv):
    """Choice views side by side for stable-baselines3, with one offer a step for all: a model that proposes samples one batch.

    The limit of steps is part of the task, as in the papers: what it cuts off has ended, and PPO puts no V in the place of what did
    not come.
    """

    envs: list[ChoiceView]  # type: ignore[assignment]

    def __init__(self, views: Sequence[ChoiceView]) -> None:
        """Raises ValueError where the views have different rules of what they offer."""
        if any(view.offer != views[0].offer for view in views):
            raise ValueError(
                f"{len(views)} views with different offers: wanted one offer for all of them, which is asked once a step"
            )
        super().__init__([partial(_itself, view) for view in views])

    def reset(self) -> VecEnvObs:
        """Begin an episode in every view."""
        for place, view in enumerate(self.envs):
            self.reset_infos[place] = view.begin(self._seeds[place], self._options[place] or None)
        self._reset_seeds()
        self._reset_options()
        return self._offer()

    def step_wait(self) -> VecEnvStepReturn:
        """Take a step in every view, and begin an episode where one has ended."""
        for place, view in enumerate(self.envs):
            reward, terminated, truncated, info = view.move(self.actions[place])
            self.buf_rews[place], self.buf_dones[place] = reward, terminated or truncated
            self.buf_infos[place] = info | {"TimeLimit.truncated": False}
            if self.buf_dones[place]:
                self.buf_infos[place] |= {"terminal_observation": view.show([]), "offered": ()}
                self.reset_infos[place] = view.begin()
        return self._offer(), self.buf_rews.copy(), self.buf_dones.copy(), self.buf_infos.copy()

    def _offer(self) -> VecEnvObs:
        offers = self.envs[0].offer([view.history for view in self.envs])
        for place, (view, offered) in enumerate(zip(self.envs, offers, strict=True)):
            self._save_obs(place, view.show(offered))  # type: ignore[arg-type]  # a dictionary, whatever its type says
            begun = len(view.history.turns) == 1
            (self.reset_infos if begun else self.buf_infos)[place]["offered"] = view.texts()
        return self._obs_from_buf()


def _itself(view: ChoiceView) -> ChoiceView:
    return view


class LMFeatures(BaseFeaturesExtractor):
    """Features [B, max_choices + 1] of a `ChoiceView`'s observations: the language model's score of each choice, and V."""

    def __init__(self, observation_space: spaces.Dict, model: ActorCritic, per_token: bool = False) -> None:
        """Raises ValueError for a model that has no critic or cannot score, or observations that are not a `ChoiceView`'s."""
        if not isinstance(observation_space, spaces.Dict) or set(observation_space) != {"tokens", "choices"}:
            raise ValueError(f"the environment observes {observation_space}: wrap it in agents.features.ChoiceView")
        if model.value_head is None:
            raise ValueError("the model has no critic: wanted ActorCritic(lm, critic='shared'), 'separate' or 'lora'")
        check_scoring(model.lm)
        super().__init__(observation_space, int(observation_space["choices"].shape[0]) + 1)  # type: ignore[index]
        self.model, self.per_token = model, per_token

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Score a batch of observations (stable-baselines3 hands ids over as floats)."""
        tokens, choices = observations["tokens"].long(), observations["choices"].long()
        by_length = (tokens >= 0).sum(1).argsort()  # states of like length together: less padding to compute
        parts = [self._score(tokens[some], choices[some]) for some in by_length.split(CHUNK)]
        return torch.cat(parts)[by_length.argsort()]

    def _score(self, tokens: Tensor, choices: Tensor) -> Tensor:
        scores, value = score_choices(self.model, tokens, choices, self.per_token)
        assert value is not None  # the model has a critic
        return torch.cat([scores.float(), value.float()[:, None]], 1)


class _Split(nn.Module):
    """The features are logits and value already: nothing is learnt between them and the heads."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return features[:, :-1]

    def forward_critic(self, features: Tensor) -> Tensor:
        return features[:, -1:]


class ChoicePolicy(ActorCriticPolicy):
    """A categorical over the texts on offer, from a language model, for stable-baselines3's PPO and A2C.

    Args:
        observation_space, action_space, lr_schedule: stable-baselines3's.
        model: policy and critic; trained in place.
        per_token: see `agents.choices.score_choices`.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        model: ActorCritic,
        per_token: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            features_extractor_class=LMFeatures,
            features_extractor_kwargs={"model": model, "per_token": per_token},
            **kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        self.mlp_extractor = _Split()  # type: ignore[assignment]
        self.action_net, self.value_net = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.optimizer = self.optimizer_class(trained, lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def set_training_mode(self, mode: bool) -> None:
        """Never train mode: dropout would make a choice's probability differ between the rollout and the update."""
        del mode
        super().set_training_mode(False)
