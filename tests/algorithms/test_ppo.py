"""PPO on choices: it learns, its checkpoint plays, it goes on where it was stopped."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import envs
from agents import checkpoint
from agents.agent import Action, History
from agents.checkpoint import Base, Loaded
from agents.choices import ChoiceAgent, ChoiceEncoder, View, listed, score_choices
from agents.features import ChoiceView
from agents.model import ActorCritic
from agents.sampling import Sampling
from algorithms.faults import TrainingFault
from algorithms.ppo import Config, Trainer, choice_envs, main, parse
from algorithms.watch import JsonLines
from envs.math_reason.env import MathReasonEnv
from envs.text import UnicodeText
from rollouts.episodes import EpisodeKey, collect
from rollouts.policies import Proposer, offering, proposer_of
from rollouts.resolve import resolve_agent
from rollouts.trajectory import End, Trajectory, read

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
    config = Config(**({"timesteps": 128, "envs": 8, "horizon": 16, "batch": 64, "epochs": 2, "save_every": 1} | settings))
    env = choice_envs(Doors, ChoiceEncoder(tokenizer, VIEW), listed, config.envs)
    return Trainer(config, env, Loaded(lm, tokenizer, Base("test", "0")), VIEW, None, out)


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


@pytest.mark.parametrize("optimizer_steps", [5, 8], ids=["in the middle of an update", "at its end"])
def test_weights_that_are_not_finite_stop_the_run(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, optimizer_steps: int
) -> None:
    """In the second of four iterations, of 128 steps and four optimiser steps each; the state of the first is what is kept."""
    made = trainer(small_lm, tokenizer, tmp_path / "ppo", timesteps=512)
    optimizer, good = made.ppo.policy.optimizer, []
    step = optimizer.step

    def once_too_far() -> None:
        step()
        good.append(made.model.lm.lm_head.weight.detach().clone())
        if len(good) == optimizer_steps:
            made.model.lm.lm_head.weight.data[0, 0] = float("nan")

    optimizer.step = once_too_far  # type: ignore[method-assign]
    with pytest.raises(TrainingFault, match=r"step 256: 1 weights .*of step 128 is kept in .*ppo-last-good"):
        made.run()
    assert not (tmp_path / "ppo").exists()
    kept, _ = checkpoint.load(tmp_path / "ppo-last-good")
    assert torch.equal(kept.lm.lm_head.weight, good[3])


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


def test_a_hub_id_stays_one_and_a_folder_is_found_from_anywhere(
    small_lm: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    assert proposer_of("org/model", small_lm).model == "org/model"
    assert proposer_of("run", small_lm).model == str(tmp_path / "run")


@pytest.mark.parametrize("proposing", ["sft", "base"])
def test_a_proposer_is_found_where_its_base_has_moved(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, proposing: str
) -> None:
    """Adapters are trained on a base, PPO's on either; then the base is put elsewhere."""
    checkpoint.save(tmp_path / "base", ActorCritic(small_lm), tokenizer, Base("test", "0"))
    start = checkpoint.load_policy(tmp_path / "base")
    checkpoint.save(tmp_path / "sft", ActorCritic(start.lm, rank=2), tokenizer, start.base)
    start = checkpoint.load_policy(tmp_path / proposing)
    proposer = proposer_of(str(tmp_path / proposing), start.lm)
    meta = {"view": asdict(View(proposals=2, choice_tokens=12)), "proposer": asdict(proposer)}
    checkpoint.save(tmp_path / "ppo", ActorCritic(start.lm, "shared", rank=2), tokenizer, start.base, meta)
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        resolve_agent(str(tmp_path / "ppo"), Sampling(temperature=0))
    agent, _ = resolve_agent(str(tmp_path / "ppo"), Sampling(temperature=0), str(tmp_path / "moved"))
    assert agent.predict(envs.make("math").reset(seed=0)[0])[0]


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
    assert (resumed.ppo.num_timesteps, resumed.ppo._n_updates) == (256, 4)
    resumed.run()
    assert [line["step"] for line in metrics(out)] == [128, 256, 384, 512]


def test_weights_and_optimiser_of_a_stopped_run_are_kept(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Critic and moments included; a model that starts anew has other weights and no moments."""
    fresh = copy.deepcopy(small_lm)
    stopped = trainer(small_lm, tokenizer, tmp_path / "ppo", lr=1e-2)
    stopped.run()
    resumed = trainer(fresh, tokenizer, tmp_path / "ppo", lr=1e-2)
    weights, kept = stopped.model.state_dict(), resumed.model.state_dict()
    assert weights.keys() == kept.keys()
    assert all(torch.equal(weight, kept[name]) for name, weight in weights.items())
    moments, found = (made.ppo.policy.optimizer.state_dict()["state"] for made in (stopped, resumed))
    assert moments and moments.keys() == found.keys()
    assert all(torch.equal(moments[index]["exp_avg"], found[index]["exp_avg"]) for index in moments)


def test_a_state_with_weights_of_other_names_is_refused(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    fresh = copy.deepcopy(small_lm)
    trainer(small_lm, tokenizer, tmp_path / "ppo").save_state()
    state = torch.load(tmp_path / "ppo-state", weights_only=True)
    state["model"] = {f"renamed.{name}": weight for name, weight in state["model"].items()}
    torch.save(state, tmp_path / "ppo-state")
    with pytest.raises(ValueError, match=r"ppo-state holds weights of other names .* and 43 more"):
        trainer(fresh, tokenizer, tmp_path / "ppo")


def test_a_finished_run_can_be_gone_on_with(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    out, fresh = tmp_path / "ppo", copy.deepcopy(small_lm)
    trainer(small_lm, tokenizer, out).run()
    assert checkpoint.read_config(out)["step"] == 128
    trainer(fresh, tokenizer, out, timesteps=300).run()
    assert [line["step"] for line in metrics(out)] == [128, 256, 384]
    assert checkpoint.read_config(out)["step"] == 384


def test_a_torn_last_line_of_the_metrics_is_dropped(tmp_path: Path) -> None:
    for torn in ('{"step": 2, "a', '{"step": 1}', "\0\0\n"):
        (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n' + torn)
        JsonLines(tmp_path / "metrics.jsonl", 2).write({}, {}, 3)
        assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 3}\n', torn


def test_a_state_of_other_settings_is_refused(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    trainer(small_lm, tokenizer, tmp_path / "ppo").save_state()
    with pytest.raises(ValueError, match="left by a run with other settings"):
        trainer(small_lm, tokenizer, tmp_path / "ppo", lr=1.0)


def test_the_limit_of_steps_is_an_end_without_bootstrap(tokenizer: PreTrainedTokenizerFast) -> None:
    """Where stable-baselines3 sees a truncated end, it puts gamma * V into the last reward."""
    limited = partial(gym.wrappers.TimeLimit, Doors(), 1)  # type: ignore[arg-type]
    env = choice_envs(limited, ChoiceEncoder(tokenizer, VIEW), listed, 1)
    env.reset()
    (view,) = env.get_attr("history")
    red = view.turns[-1].info["admissible_commands"].index("red door")
    _, rewards, dones, (info,) = env.step(np.array([red]))
    assert (rewards.tolist(), dones.tolist(), info["TimeLimit.truncated"]) == ([0.0], [True], False)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="--horizon must be a finite number of at least 1, got 0"):
        Config(horizon=0)
    with pytest.raises(ValueError, match="--save-every must be a finite number of at least 1, got 0"):
        Config(save_every=0)


def test_a_model_from_scratch_is_scored_per_token() -> None:
    assert parse(["--env", "alfworld"]).view.per_token
    assert not parse(["--env", "alfworld", "--model", "RUN/sft"]).view.per_token


def test_free_text_needs_a_model_that_proposes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"offers no choices: .* let a trained model propose them"):
        main(parse(["--env", "math", "--out", str(tmp_path / "run")]))
    assert not (tmp_path / "run").exists()


SMALL = ["--envs", "2", "--horizon", "2", "--batch", "4", "--epochs", "1", "--eval-tasks", "2", "--tracker", "none"]
PROPOSALS = ["--view.proposals", "2", "--view.choice-tokens", "12"]


def rows(run: Path) -> set[tuple[str, str]]:
    """What results.json has rows of."""
    return {(row["model"], row["split"]) for row in json.loads((run / "results.json").read_text())["rows"]}


@pytest.fixture
def command(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> list[str]:
    """The command on maths, from a stored model."""
    checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, Base("test", "0"))
    return ["--env", "math", "--model", str(tmp_path / "sft"), "--out", str(tmp_path / "run"), *SMALL, *PROPOSALS]


def test_it_trains_among_the_proposals_of_a_model(command: list[str], tmp_path: Path) -> None:
    """Start and result are evaluated, and the run's folder is played by name."""
    main(parse([*command, "--timesteps", "8"]))
    splits = ("train", "held out", "held out, sampled")
    assert rows(tmp_path / "run") == {(name, split) for name in ("start", "ppo") for split in splits}
    assert set(json.loads((tmp_path / "run" / "results.json").read_text())["gains"]) == set(splits)
    assert metrics(tmp_path / "run" / "ppo")[-1]["step"] == 8
    agent, _ = resolve_agent(str(tmp_path / "run"), Sampling(temperature=0))
    env = envs.make("math")
    assert agent.predict(env.reset(seed=0)[0])[0]


@pytest.mark.parametrize(
    ("texts", "closed", "end", "earned"),
    [(["2 + 3 is 5\n\n", "#### 5"], True, End.TERMINATED, 1.0), (["2 + 3 is 5\n", "#### 5"], False, End.TRUNCATED, 0.0)],
    ids=["a step whose last token says more", "a step that was cut off"],
)
def test_a_proposal_is_the_same_action_in_training_and_in_play(
    small_lm: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    closed: bool,
    end: End,
    earned: float,
) -> None:
    """One text is on offer at a time; the last is closed or not."""
    problem = {"id": "a", "question": "2 + 3?", "answer": "5"}
    make = partial(envs.make, "math", problems=[problem])

    def offer(histories: Sequence[History]) -> list[list[Action]]:
        turns = [len(history.turns) for history in histories]
        return [[Action(texts[turn - 1], closed=closed or turn < len(texts))] for turn in turns]

    encoder = ChoiceEncoder(tokenizer, View(max_tokens=256, choice_tokens=32))
    view = ChoiceView(make(), encoder, offer)
    view.reset(seed=0)
    trained = [view.step(0)[1:4] for _ in texts]
    assert trained == [(0.0, False, False), (earned, end is End.TERMINATED, end is End.TRUNCATED)]
    played: list[Trajectory] = []
    collect(make, ChoiceAgent(ActorCritic(small_lm), encoder, offer), [EpisodeKey("a", 0, 0)], played.append)
    assert [step.action for step in played[0].steps] == texts
    assert (played[0].end, played[0].steps[-1].reward) == (end, earned)


def test_training_tasks_are_not_called_held_out(command: list[str], tmp_path: Path) -> None:
    """A file has the same tasks whatever split it is asked for."""
    problems = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(4)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    main(parse([*command, "--timesteps", "4", "--env-args", f"problems={tmp_path / 'own.jsonl'}"]))
    assert rows(tmp_path / "run") == {("start", "train"), ("ppo", "train")}


def test_the_same_command_with_more_steps_trains_and_evaluates_again(command: list[str], tmp_path: Path) -> None:
    """Four steps, then eight; then four again and eight again, which are done."""
    run, played = tmp_path / "run", []
    questions = ["--env", "commonsense", *command[2 : -len(PROPOSALS)], "--lr", "1e-2", "--view.max-tokens", "256"]
    for steps in (4, 8, 4, 8):
        main(parse([*questions, "--timesteps", str(steps)]))
        played.append(read(run / "evaluation" / "ppo-train.jsonl").headers[0].model)
        assert played[-1] == checkpoint.fingerprint(checkpoint.load_policy(run / "ppo").lm)
    assert played[0] != played[1] == played[2] == played[3]
    assert [line["step"] for line in metrics(run / "ppo")] == [4, 8]


def test_a_finished_run_whose_state_is_gone_is_not_begun_anew(command: list[str], tmp_path: Path) -> None:
    main(parse([*command, "--timesteps", "4"]))
    (tmp_path / "run" / "ppo-state").unlink()
    with pytest.raises(ValueError, match=r"is done with 4 steps, and .*: give another --out"):
        main(parse([*command, "--timesteps", "8"]))
    assert checkpoint.read_config(tmp_path / "run" / "ppo")["step"] == 4


def test_every_environment_is_closed(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[int, MathReasonEnv] = {}
    start, end = MathReasonEnv.__init__, MathReasonEnv.close

    def opening(env: MathReasonEnv, *args: Any, **kwargs: Any) -> None:
        start(env, *args, **kwargs)
        opened[id(env)] = env

    def closing(env: MathReasonEnv) -> None:
        end(env)
        opened.pop(id(env), None)

    monkeypatch.setattr(MathReasonEnv, "__init__", opening)
    monkeypatch.setattr(MathReasonEnv, "close", closing)
    main(parse([*command, "--timesteps", "4"]))
    assert not opened
