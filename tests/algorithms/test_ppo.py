"""PPO on choices: it learns, its checkpoint plays, it goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents import checkpoint
from agents.checkpoint import Base, Loaded
from agents.choices import ChoiceEncoder, View, listed, score_choices
from agents.features import ChoiceView
from agents.generate import Sampling
from agents.model import ActorCritic
from algorithms.ppo import Config, LimitEnds, Trainer, choice_envs, main, parse
from envs.text import UnicodeText
from rollouts.resolve import Proposer, offering, resolve_agent

VIEW = View(per_token=True, max_tokens=96, max_choices=3, choice_tokens=12)


class Doors(gym.Env[str, str]):
    """Two rooms with three doors each: the red one leads out of the hall, the blue one out of the cellar, all others end it.

    The optimum is 1; doors at random reach 1 / 9.
    """

    observation_space = action_space = UnicodeText(256)
    rooms = {"hall": "red", "cellar": "blue"}

    def _room(self) -> tuple[str, dict[str, Any]]:
        doors = self.np_random.permutation(["red", "green", "blue"])  # the place in the list says nothing
        return f"You are in the {self.room}.", {"admissible_commands": [f"{colour} door" for colour in doors]}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.room = "hall"
        return self._room()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        right, last = action == f"{self.rooms[self.room]} door", self.room == "cellar"
        self.room = "cellar"
        text, info = self._room()
        return text, float(right and last), last or not right, False, info


def trainer(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path, **settings: Any) -> Trainer:
    config = Config(**({"timesteps": 128, "envs": 8, "horizon": 16, "batch": 64, "epochs": 2} | settings))
    env = choice_envs(Doors, ChoiceEncoder(tokenizer, VIEW), listed, config.envs)
    return Trainer(config, env, Loaded(lm, tokenizer, Base("test", "0")), VIEW, None, out, save_every=1)


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in out.with_name(out.name + "-metrics.jsonl").read_text().splitlines()]


def test_it_learns_the_way_out(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """From some 1 / 9 to nearly every one of the last 100 episodes."""
    out = tmp_path / "ppo"
    trainer(small_lm, tokenizer, out, timesteps=1024, lr=1e-2, epochs=4, entropy=0.0).run()
    returns = [line["rollout/ep_rew_mean"] for line in metrics(out)]
    assert returns[0] < 0.3
    assert max(returns) > 0.95, returns


def test_the_first_update_starts_at_ratio_one(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Probabilities of the rollout and of the update agree, though other states share the batch: one step moves nothing else."""
    made = trainer(small_lm, tokenizer, tmp_path / "ppo", batch=128, epochs=1)
    made.run()
    found = made.ppo.logger.name_to_value
    assert abs(found["train/approx_kl"]) < 1e-6
    assert found["train/clip_fraction"] == 0


def test_a_checkpoint_holds_the_trained_policy_bit_for_bit(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = trainer(small_lm, tokenizer, tmp_path / "ppo", lr=1e-2)
    model, _ = checkpoint.load(made.run())
    env = ChoiceView(Doors(), ChoiceEncoder(tokenizer, VIEW))  # type: ignore[arg-type]
    seen, _ = env.reset(seed=0)
    inputs = [torch.from_numpy(seen[name])[None].long() for name in ("tokens", "choices")]
    with torch.no_grad():
        scores, value = score_choices(made.model, *inputs, per_token=True)
        again, value_again = score_choices(model, *inputs, per_token=True)
    assert value is not None and value_again is not None and value.abs() > 0
    assert torch.equal(scores, again) and torch.equal(value, value_again)


def test_a_checkpoint_plays_under_the_view_of_its_training(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    out = trainer(small_lm, tokenizer, tmp_path / "ppo").run()
    agent, header = resolve_agent(str(out), Sampling(temperature=0))
    assert agent.encoder.view == VIEW  # type: ignore[attr-defined]
    assert header.model


def test_any_checkpoint_can_play_under_the_same_view(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("test", "0"))
    agent, _ = resolve_agent(f"choices:{tmp_path / 'sft'}", Sampling(temperature=0))
    assert agent.encoder.view == View()  # type: ignore[attr-defined]


def test_a_choice_takes_no_top_p(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("test", "0"))
    with pytest.raises(ValueError, match="only --temperature applies"):
        resolve_agent(f"choices:{tmp_path / 'sft'}", Sampling(top_p=0.5))


def test_another_proposer_is_refused(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("test", "0"))
    with pytest.raises(ValueError, match=r"a model with fingerprint beef, but .* put the very model back"):
        offering(View(proposals=2), Proposer(str(tmp_path / "sft"), "beef"))


def test_a_stopped_run_goes_on(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Stopped in the third of four iterations: the state is that after two, and the metrics are those of four, each once."""
    out, start = tmp_path / "ppo", {name: weight.clone() for name, weight in small_lm.state_dict().items()}
    stopped = trainer(small_lm, tokenizer, out, timesteps=512)
    whole, stopped.ppo.train = stopped.ppo.train, lambda: stop() if stopped.ppo.num_timesteps == 384 else whole()  # type: ignore[method-assign]

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    small_lm.load_state_dict(start)
    resumed = trainer(small_lm, tokenizer, out, timesteps=512)
    assert resumed.ppo.num_timesteps == 256
    resumed.run()
    assert [line["step"] for line in metrics(out)] == [128, 256, 384, 512]
    assert not resumed.state.exists()


def test_a_state_of_other_settings_is_refused(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    trainer(small_lm, tokenizer, tmp_path / "ppo").save_state()
    with pytest.raises(ValueError, match="left by a run with other settings"):
        trainer(small_lm, tokenizer, tmp_path / "ppo", lr=1.0)


def test_the_limit_of_steps_is_an_end_without_bootstrap() -> None:
    env = LimitEnds(gym.wrappers.TimeLimit(Doors(), 1))  # type: ignore[arg-type]
    env.reset(seed=0)
    assert env.step("red door")[1:4] == (0.0, True, False)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="--horizon must be at least 1, got 0"):
        Config(horizon=0)


def test_a_model_from_scratch_is_scored_per_token() -> None:
    assert parse(["--env", "alfworld"]).view.per_token
    assert not parse(["--env", "alfworld", "--model", "RUN/sft"]).view.per_token


def test_free_text_needs_a_model_that_proposes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"offers no choices: .* let a trained model propose them"):
        main(parse(["--env", "math", "--out", str(tmp_path / "run")]))


def test_it_learns_among_the_proposals_of_a_model(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """The command on maths: start and result are evaluated, and the run's folder is played by name."""
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("test", "0"))
    out = tmp_path / "run"
    small = ["--timesteps", "8", "--envs", "2", "--horizon", "2", "--batch", "4", "--epochs", "1", "--eval-tasks", "2"]
    view = ["--view.proposals", "2", "--view.choice-tokens", "12"]
    main(parse(["--env", "math", "--model", str(tmp_path / "sft"), "--out", str(out), *small, *view]))
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert {(row["model"], row["split"]) for row in rows} == {
        (name, split) for name in ("start", "ppo") for split in ("test", "test, sampled")
    }
    assert metrics(out / "ppo")[-1]["step"] == 8
    agent, _ = resolve_agent(str(out), Sampling(temperature=0))
    env = envs.make("math")
    assert agent.predict(env.reset(seed=0)[0])[0]
