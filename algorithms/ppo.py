"""PPO: Proximal Policy Optimization (arXiv 1707.06347), online, by stable-baselines3, among the texts that a state offers.

    python -m algorithms.ppo --env alfworld                                          # a small model from scratch
    python -m algorithms.ppo --env alfworld --model RUN/sft                          # from a trained model
    python -m algorithms.ppo --env math --model RUN/sft --view.proposals 4           # it picks among its own samples

The yardstick for the offline learners: it plays as it learns. The policy is the language model renormalised over the choices
(agents/choices.py), stable-baselines3 does the rest. docs/algorithms/ppo.md explains each metric.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

from agents import checkpoint
from agents.agent import History, Turn
from agents.checkpoint import Loaded
from agents.choices import ChoiceEncoder, Offer, View, listed
from agents.features import ChoicePolicy, ChoiceView
from agents.generate import Sampling
from agents.model import ActorCritic, CriticKind
from agents.tiny import TinyConfig
from algorithms.job import early, short
from algorithms.pipeline import claim, results_table
from algorithms.presets import OTHER_WORK, WORK, Work
from algorithms.train import scratch, train_args
from algorithms.watch import JsonLines, Watch
from rollouts.cli import run
from rollouts.collect import EnvironmentArgs, collect_log
from rollouts.evaluate import write_json
from rollouts.progress import console
from rollouts.resolve import Proposer, choice_agent, env_maker, offering, placed, resolve_agent, run_checkpoint
from rollouts.stats import paired_difference, print_summary, summarize
from rollouts.trajectory import Header, Trajectory

TEXTS = 200
"""Episodes whose texts the tokenizer of a model from scratch is trained on."""


@dataclass(frozen=True)
class Config:
    """PPO's own settings."""

    timesteps: int = 20_000
    """environment steps in all, rounded up to whole iterations"""
    envs: int = 16
    """episodes played side by side"""
    horizon: int = 32
    """steps of each between two updates"""
    batch: int = 64
    """states of an optimiser step"""
    epochs: int = 4
    """passes over an iteration's states"""
    lr: float = 3e-4
    """learning rate of policy and critic"""
    gamma: float = 0.99
    """discount from one choice to the next"""
    gae_lambda: float = 0.95
    """lambda of the generalised advantage estimate"""
    clip: float = 0.2
    """how far a probability ratio counts"""
    entropy: float = 0.01
    """weight of the entropy over the choices"""
    value_weight: float = 0.5
    """weight of the value loss"""
    max_grad_norm: float = 0.5
    """largest gradient norm of policy and critic together"""
    critic: CriticKind = "shared"
    """shared (the policy's trunk), separate (a trunk of its own), lora (an adapter on the frozen base)"""
    rank: int = 0
    """LoRA rank of policy and lora critic; 0 trains all weights"""

    def __post_init__(self) -> None:
        """Raises ValueError for a count below 1, or an iteration of one state, whose advantage has no spread."""
        for name in ("timesteps", "envs", "horizon", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.batch < 2 or self.envs * self.horizon < 2:
            raise ValueError(f"advantages are normalised: --batch and --envs * --horizon must be at least 2, got {self}")

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a run what it is: all but its length, so that one can be ended sooner or gone on with for longer."""
        return {name: value for name, value in asdict(self).items() if name != "timesteps"}

    @property
    def iterations(self) -> int:
        """How often the policy plays and is updated."""
        return -(-self.timesteps // (self.envs * self.horizon))


@dataclass(frozen=True)
class Args(EnvironmentArgs):
    """Train a language-model agent online by PPO, on a choice view of an environment."""

    model: str = "tiny"
    """what training starts from: tiny (from scratch), a run's folder, a checkpoint, a GGUF file, a hub id"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    out: Path | None = None
    """run directory; default out/ppo-ENV-SEED"""
    seed: int = 0
    """of everything: weights from scratch, tasks, choices, order of states"""
    eval_tasks: int | None = None
    """tasks of each held-out split that start and result play; default by environment, 0 for none"""
    save_every: int = 10
    """iterations between the states that a stopped run goes on from"""
    tracker: str = "tensorboard"
    """tensorboard or none"""
    settings: tyro.conf.OmitArgPrefixes[Config] = field(default_factory=Config)
    view: View = field(default_factory=View)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    """the model from scratch"""


def parse(argv: Sequence[str]) -> Args:
    """The arguments; a model from scratch scores by the mean per token, as it would hardly ever try a long text otherwise."""
    work = WORK.get(short(early(argv, "--env", Args.env)), OTHER_WORK)
    default = Args(view=View(per_token=early(argv, "--model", "tiny") == "tiny"), tiny=work.tiny)
    return tyro.cli(Args, default=default, args=argv, prog="python -m algorithms.ppo")


class LimitEnds(gym.Wrapper[Any, Any, Any, Any]):
    """The limit of steps is part of the task here, as in the papers: PPO must not put V in the place of what did not come."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Report a truncated end as a terminated one."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated or truncated, False, info


def choice_envs(make: Callable[[], gym.Env[Any, Any]], encoder: ChoiceEncoder, offer: Offer, count: int) -> VecEnv:
    """`count` environments of choices, whose episodes' returns and lengths are counted."""
    return VecMonitor(DummyVecEnv([lambda: LimitEnds(ChoiceView(make(), encoder, offer))] * count))


class Trainer:
    """Trains one model by PPO, and can go on where it was stopped.

    A run that goes on has the weights and the optimiser of the last saved state and begins new episodes: it is a run as good as
    one that was not stopped, and not the same bit for bit.

    Args:
        config: PPO's settings.
        env: environments of choices.
        start: the model that training starts from; changed in place.
        view: what `env` shows.
        proposer: who proposes, where the environment lists nothing.
        out: folder of the checkpoint; beside it `out-metrics.jsonl` and, until training ends, `out-state`.
        seed: of tasks, choices and the order of states.
        save_every: iterations between saved states.
        tracker: tensorboard or none.
    """

    def __init__(
        self,
        config: Config,
        env: VecEnv,
        start: Loaded,
        view: View,
        proposer: Proposer | None,
        out: Path,
        seed: int = 0,
        save_every: int = 10,
        tracker: str = "none",
    ) -> None:
        self.config, self.start, self.view, self.proposer, self.out = config, start, view, proposer, out
        self.seed, self.save_every, self.tracker = seed, save_every, tracker
        if not config.rank:
            start.lm.float()
        self.settings = json.dumps([config.identity, asdict(view), seed, checkpoint.fingerprint(start.lm)])
        self.model = ActorCritic(start.lm, config.critic, rank=config.rank)
        self.state = out.with_name(out.name + "-state")
        saved = self._saved()
        self.ppo = PPO(
            ChoicePolicy,
            env,
            learning_rate=config.lr,
            n_steps=config.horizon,
            batch_size=config.batch,
            n_epochs=config.epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip,
            ent_coef=config.entropy,
            vf_coef=config.value_weight,
            max_grad_norm=config.max_grad_norm,
            policy_kwargs={"model": self.model, "per_token": view.per_token},
            seed=seed + saved.get("step", 0),  # a run that goes on must not play its first episodes again
        )
        if saved:
            self.model.load_state_dict(saved["model"], strict=False)
            self.ppo.policy.optimizer.load_state_dict(saved["optimizer"])
            self.ppo.num_timesteps, self.ppo._n_updates = saved["step"], saved["updates"]
            console.print(f"ppo: going on at step {saved['step']}")

    def run(self) -> Path:
        """Train to the end and write the checkpoint; returns its folder."""
        metrics = self.out.with_name(self.out.name + "-metrics.jsonl")
        formats: list[KVWriter] = [JsonLines(metrics, self.ppo.num_timesteps)]
        if self.tracker != "none":
            formats.append(TensorBoardOutputFormat(str(self.out.parent / "tracker" / self.out.name)))
        self.ppo.set_logger(Logger(None, formats))
        total = self.config.iterations * self.config.envs * self.config.horizon
        if self.ppo.num_timesteps < total:
            self.ppo.learn(
                total - self.ppo.num_timesteps, Watch(total, self.save_state, self.save_every), reset_num_timesteps=False
            )
        self.ppo.logger.close()
        meta = {
            "method": "ppo",
            "settings": asdict(self.config),
            "view": asdict(self.view),
            "proposer": asdict(self.proposer) if self.proposer else None,
            "seed": self.seed,
            "started_from": self.start.base.name,
        }
        checkpoint.save(self.out, self.model.eval(), self.start.tokenizer, self.start.base, meta)
        self.state.unlink(missing_ok=True)
        return self.out

    def save_state(self) -> None:
        """Write the trained weights and the optimiser aside, then swap them in whole."""
        trained = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        aside = self.state.with_suffix(".part")
        state = {
            "settings": self.settings,
            "step": self.ppo.num_timesteps,
            "updates": self.ppo._n_updates,
            "model": trained,
            "optimizer": self.ppo.policy.optimizer.state_dict(),
        }
        torch.save(state, aside)
        os.replace(aside, self.state)

    def _saved(self) -> dict[str, Any]:
        if not self.state.exists():
            return {}
        saved = torch.load(self.state, map_location=self.model.lm.device, weights_only=True)
        if saved["settings"] != self.settings:
            raise ValueError(
                f"{self.state} was left by a run with other settings or another model: "
                "repeat that command to go on with it, or give another --out"
            )
        return saved


def main(args: Args) -> None:
    """Start, evaluation of the start, training, evaluation; what is done is not done again."""
    work = WORK.get(short(args.env), OTHER_WORK)
    work = replace(work, env_args=work.env_args | args.environment(), tiny=args.tiny)
    work = work if args.eval_tasks is None else replace(work, eval_tasks=args.eval_tasks)
    out = args.out or Path("out", f"ppo-{short(args.env)}-{args.seed}")
    asked = {"env": args.env, "model": args.model, "seed": args.seed, "work": asdict(work)}
    claim(out, {"settings": args.settings.identity, "view": asdict(args.view)} | asked, {"checkpoint": "ppo"})
    make = env_maker(args.env, train_args(work))
    first = make()
    if not args.view.proposals:  # what lists nothing is refused before anything is played
        listed([History("", args.seed, [Turn(*first.reset(seed=args.seed))])])
    elif args.model == "tiny":
        raise ValueError("a model from scratch proposes nothing that is worth a choice: give --model, such as RUN/sft")
    start, proposer = _start(args, work, out), None
    if args.view.proposals:
        rule = first.unwrapped.rule if getattr(first.unwrapped, "level", "") == "step" else None  # type: ignore[attr-defined]
        proposer = Proposer(str(run_checkpoint(args.model).resolve()), checkpoint.fingerprint(start.lm), rule)
    offer = offering(args.view, proposer)
    play = partial(_evaluate, args, work, out)
    before = play("start", start, offer)
    if checkpoint.is_checkpoint(out / "ppo"):
        console.print("done before")
    else:
        env = choice_envs(make, ChoiceEncoder(start.tokenizer, args.view), offer, args.settings.envs)
        trainer = Trainer(args.settings, env, start, args.view, proposer, out / "ppo", args.seed, args.save_every, args.tracker)
        trainer.run()
    after = play("ppo", checkpoint.load_policy(out / "ppo", args.base), offer)
    if before:
        _report(args, out, before | after)
    console.print(f"checkpoint: {out / 'ppo'}\nevaluate it: python -m rollouts.evaluate {out / 'ppo'} --env ENV --split SPLIT")


def _start(args: Args, work: Work, out: Path) -> Loaded:
    """The stored model, or one from scratch, whose tokenizer is trained on what a player without a model says and is told."""
    if args.model != "tiny":
        return checkpoint.load_policy(run_checkpoint(args.model), args.base)
    env = env_maker(args.env, train_args(work))()
    _, info = env.reset(seed=args.seed)
    agent, header = resolve_agent("random" if "admissible_commands" in info else "expert", Sampling())
    texts = collect_log(args.env, train_args(work), agent, header, out / "texts.jsonl", TEXTS, seed=args.seed)
    print_summary(texts, f"{agent.name}, for the tokenizer")
    return scratch(texts, args.seed, work.tiny)


def _evaluate(args: Args, work: Work, out: Path, name: str, model: Loaded, offer: Offer) -> dict[tuple[str, str], list[Trajectory]]:
    """Episodes by (name, row): each held-out split greedily, and sampled as in training."""
    if not work.eval_tasks:
        return {}
    played = {}
    rows = {split: work.env_args | {"split": split} for split in work.held_out} or {"all tasks": work.env_args}
    for row, env_args in rows.items():
        for suffix, temperature in (("", 0.0), (", sampled", 1.0)):
            sampling = Sampling(temperature=temperature)
            agent = choice_agent(placed(model.lm), model.tokenizer, args.view, offer, sampling, name)
            header = Header("", name, sampling=asdict(sampling), model=checkpoint.fingerprint(model.lm))
            log = out / "evaluation" / f"{name}-{row}{suffix}.jsonl".replace(", ", "-").replace(" ", "-")
            played[name, row + suffix] = collect_log(
                args.env, env_args, agent, header, log, work.eval_tasks, seed=args.seed, parallel=work.parallel
            )
    return played


def _report(args: Args, out: Path, played: dict[tuple[str, str], list[Trajectory]]) -> None:
    summaries = {key: summarize(episodes) for key, episodes in played.items()}
    console.print(results_table(f"{args.env}, choices, seed {args.seed}", summaries))
    results = {"env": args.env, "seed": args.seed, "gains": dict[str, Any]()}
    results["rows"] = [{"model": name, "split": row} | found.to_json() for (name, row), found in summaries.items()]
    for row in [row for name, row in played if name == "ppo"]:
        gain = paired_difference(played["start", row], played["ppo", row])
        console.print(f"ppo minus start on the same tasks, {row}: {gain}")
        results["gains"][row] = asdict(gain)
    write_json(out / "results.json", results)


if __name__ == "__main__":
    run(lambda: main(parse(sys.argv[1:])))
