"""PPO: Proximal Policy Optimization (arXiv 1707.06347), online, by stable-baselines3, among the texts that a state offers.

    python -m algorithms.ppo --env alfworld                                          # a small model from scratch
    python -m algorithms.ppo --env alfworld --model RUN/sft                          # from a trained model
    python -m algorithms.ppo --env math --model RUN/sft --view.proposals 4           # it picks among its own samples

The yardstick for the offline learners: it plays as it learns. The policy is the language model renormalised over the choices
(agents/choices.py), stable-baselines3 does the rest. docs/algorithms/ppo.md explains each metric.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from agents import checkpoint
from agents.agent import History, Turn
from agents.checkpoint import Loaded
from agents.choices import ChoiceEncoder, Offer, View, listed
from agents.features import ChoicePolicy, ChoiceVecEnv, ChoiceView
from agents.model import ActorCritic, CriticKind
from agents.sampling import Sampling
from agents.tiny import TinyConfig
from algorithms.evaluation import evaluation_log, evaluation_rows, report
from algorithms.faults import TrainingFault
from algorithms.job import early, short
from algorithms.method import FINITE, check_ranges
from algorithms.pipeline import claim
from algorithms.presets import OTHER_WORK, WORK, Work
from algorithms.runfiles import RunFiles
from algorithms.train import scratch, train_args
from algorithms.watch import JsonLines, Watch
from rollouts.cli import run
from rollouts.collect import EnvironmentArgs, collect_log
from rollouts.policies import Proposer, choice_agent, offering, placed, proposer_of
from rollouts.progress import console
from rollouts.resolve import env_maker, resolve_agent
from rollouts.runs import run_checkpoint
from rollouts.stats import print_summary
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
    save_every: int = 10
    """iterations between the states that a stopped run goes on from"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense, or an iteration of one state, whose advantage has no spread."""
        check_ranges(self, **dict.fromkeys(("timesteps", "envs", "horizon", "epochs", "save_every"), (1, FINITE)))
        several = ("lr", "clip", "entropy", "value_weight", "max_grad_norm", "rank")
        check_ranges(self, **dict.fromkeys(several, (0, FINITE)), gamma=(0, 1), gae_lambda=(0, 1))
        if self.batch < 2 or self.envs * self.horizon < 2:
            raise ValueError(f"advantages are normalised: --batch and --envs * --horizon must be at least 2, got {self}")

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a run what it is: all but its length, so that it can be ended sooner or gone on with for longer."""
        return {name: value for name, value in asdict(self).items() if name not in ("timesteps", "save_every")}

    @property
    def steps(self) -> int:
        """Environment steps in all: every iteration is played to its end."""
        iteration = self.envs * self.horizon
        return -(-self.timesteps // iteration) * iteration


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
    eval_tasks: int = OTHER_WORK.eval_tasks
    """tasks of each split that start and result play; 0: none"""
    tracker: str = "tensorboard"
    """tensorboard or none"""
    settings: tyro.conf.OmitArgPrefixes[Config] = field(default_factory=Config)
    view: View = field(default_factory=View)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    """the model from scratch"""


def parse(argv: Sequence[str]) -> Args:
    """The arguments; a model from scratch scores by the mean per token, as it would hardly ever try a long text otherwise."""
    work = WORK.get(short(early(argv, "--env", Args.env)), OTHER_WORK)
    default = Args(view=View(per_token=early(argv, "--model", "tiny") == "tiny"), tiny=work.tiny, eval_tasks=work.eval_tasks)
    return tyro.cli(Args, default=default, args=argv, prog="python -m algorithms.ppo")


def choice_envs(make: Callable[[], gym.Env[Any, Any]], encoder: ChoiceEncoder, offer: Offer, count: int) -> VecEnv:
    """`count` environments of choices, whose episodes' returns and lengths are counted."""
    return VecMonitor(ChoiceVecEnv([ChoiceView(make(), encoder, offer) for _ in range(count)]))


class Trainer:
    """Trains one model by PPO, and can go on where it was stopped, or where it was done with fewer steps.

    A run that goes on has the weights and the optimiser of the last saved state and begins new episodes: it is a run as good as
    one that was not stopped, and not the same bit for bit.

    Args:
        config: PPO's settings.
        env: environments of choices.
        start: the model that training starts from; changed in place.
        view: what `env` shows.
        proposer: who proposes, where the environment lists nothing.
        out: folder of the checkpoint; beside it `out-metrics.jsonl` and `out-state`, which stays: it is what more steps need.
        seed: of tasks, choices and the order of states.
        tracker: tensorboard or none.

    Raises:
        ValueError: the state was left by another run.
        FileExistsError: `out` is there and is no checkpoint.
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
        tracker: str = "none",
    ) -> None:
        self.config, self.start, self.view, self.proposer, self.out = config, start, view, proposer, out
        self.seed, self.tracker = seed, tracker
        checkpoint.check_place(out)
        if not config.rank:
            start.lm.float()
        asked = {"settings": config.identity, "view": asdict(view), "seed": seed, "model": checkpoint.fingerprint(start.lm)}
        self.model, self.files = ActorCritic(start.lm, config.critic, rank=config.rank), RunFiles(out, asked)
        if self.model.critic is not None:
            self.model.critic.float()
        saved = self.files.load_state(self.model.lm.device)
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
            seed=seed + (saved["step"] if saved else 0),  # a run that goes on must not play its first episodes again
        )
        if saved:
            self._go_on(saved)

    def run(self) -> Path:
        """Train to the end and write the checkpoint; returns its folder.

        Raises:
            TrainingFault: an iteration left weights that are not finite; the last saved state becomes a checkpoint.
        """
        formats: list[KVWriter] = [JsonLines(self.files.metrics, self.ppo.num_timesteps)]
        if self.tracker != "none":
            formats.append(TensorBoardOutputFormat(str(self.out.parent / "tracker" / self.out.name)))
        self.ppo.set_logger(Logger(None, formats))
        if (left := self.config.steps - self.ppo.num_timesteps) > 0:
            with Watch(self.config.steps, self._check, self.save_state, self.config.save_every) as watch:
                try:
                    self.ppo.learn(left, watch, reset_num_timesteps=False)
                except ValueError:  # torch refuses probabilities that are no numbers, within an update
                    self._check()
                    raise
            self._check()
            self.save_state()
        self.ppo.logger.close()
        self._save(self.out, self.ppo.num_timesteps)
        return self.out

    def _save(self, folder: Path, step: int) -> None:
        meta = {
            "method": "ppo",
            "settings": asdict(self.config),
            "view": asdict(self.view),
            "proposer": asdict(self.proposer) if self.proposer else None,
            "seed": self.seed,
            "started_from": self.start.base.name,
            "step": step,
        }
        checkpoint.save(folder, self.model.eval(), self.start.tokenizer, self.start.base, meta)

    def _check(self) -> None:
        broken = [name for name, weight in self._trained().items() if not weight.isfinite().all()]
        if not broken:
            return
        step, kept = self.ppo.num_timesteps, "no state had been saved yet"
        if saved := self.files.load_state(self.model.lm.device):
            self.model.load_state_dict(saved["model"], strict=False)
            self._save(self.files.last_good, saved["step"])
            self.files.state.unlink()
            kept = f"the model of step {saved['step']} is kept in {self.files.last_good}"
        raise TrainingFault(f"ppo, step {step}: {len(broken)} weights are not finite, the first {broken[0]}; {kept}; lower --lr")

    def save_state(self) -> None:
        """Keep the trained weights, the optimiser and how far it is."""
        optimizer = self.ppo.policy.optimizer.state_dict()
        step = {"step": self.ppo.num_timesteps, "updates": self.ppo._n_updates}
        self.files.save_state(step | {"model": self._trained(), "optimizer": optimizer})

    def _go_on(self, saved: dict[str, Any]) -> None:
        if differ := sorted(saved["model"].keys() ^ self._trained().keys()):
            raise ValueError(
                f"{self.files.state} holds weights of other names than the model's ({differ[0]!r} and {len(differ) - 1} more): "
                "go on with the version that wrote it, or give another --out"
            )
        self.model.load_state_dict(saved["model"], strict=False)  # what is not trained is not in it
        self.ppo.policy.optimizer.load_state_dict(saved["optimizer"])
        self.ppo.num_timesteps, self.ppo._n_updates = saved["step"], saved["updates"]
        console.print(f"ppo: going on at step {saved['step']}")

    def _trained(self) -> dict[str, torch.Tensor]:
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}


def main(args: Args) -> None:
    """Start, evaluation of the start, training, evaluation; what is done is not done again."""
    work = WORK.get(short(args.env), OTHER_WORK)
    work = replace(work, env_args=work.env_args | args.environment(), tiny=args.tiny, eval_tasks=args.eval_tasks)
    out = args.out or Path("out", f"ppo-{short(args.env)}-{args.seed}")
    make = env_maker(args.env, train_args(work))
    segment = _checked(args, make)
    asked = {"env": args.env, "model": args.model, "seed": args.seed, "work": asdict(work)}
    claim(out, {"settings": args.settings.identity, "view": asdict(args.view)} | asked, {"checkpoint": "ppo"})
    start = _start(args, work, make, out)
    proposer = proposer_of(args.model, start.lm, segment) if args.view.proposals else None
    offer = offering(args.view, proposer, args.base)
    rows = evaluation_rows(args.env, work) if work.eval_tasks else {}
    play = partial(_play, args, work, rows, offer, out)
    played = play("start", start)
    if _wanted(args.settings, out / "ppo"):
        with closing(choice_envs(make, ChoiceEncoder(start.tokenizer, args.view), offer, args.settings.envs)) as env:
            Trainer(args.settings, env, start, args.view, proposer, out / "ppo", args.seed, args.tracker).run()
    played |= play("ppo", checkpoint.load_policy(out / "ppo", args.base))
    if rows:
        ordered = {(name, row): played[name, row] for row in rows for name in ("start", "ppo")}
        about = {"env": args.env, "seed": args.seed}
        report(out, f"{args.env}, choices, seed {args.seed}", about, ordered, ("start", "ppo"))
    console.print(f"checkpoint: {out / 'ppo'}\nevaluate it: python -m rollouts.evaluate {out / 'ppo'} --env ENV --split SPLIT")


def _checked(args: Args, make: Callable[[], gym.Env[Any, Any]]) -> str | None:
    """Refuse what has no choices before anything is played or written; the rule that cuts a model's responses into steps."""
    with closing(make()) as env:
        if not args.view.proposals:
            listed([History("", args.seed, [Turn(*env.reset(seed=args.seed))])])
        elif args.model == "tiny":
            raise ValueError("a model from scratch proposes nothing that is worth a choice: give --model, such as RUN/sft")
        unwrapped: Any = env.unwrapped
        return unwrapped.rule if getattr(unwrapped, "level", "") == "step" else None


def _start(args: Args, work: Work, make: Callable[[], gym.Env[Any, Any]], out: Path) -> Loaded:
    """The stored model, or one from scratch, whose tokenizer is trained on what a player without a model says and is told."""
    if args.model != "tiny":
        return checkpoint.load_policy(run_checkpoint(args.model), args.base)
    with closing(make()) as env:
        _, info = env.reset(seed=args.seed)
    agent, header = resolve_agent("random" if "admissible_commands" in info else "expert", Sampling())
    texts = collect_log(args.env, train_args(work), agent, header, out / "texts.jsonl", TEXTS, seed=args.seed)
    print_summary(texts.tally, f"{agent.name}, for the tokenizer")
    return scratch(list(texts), args.seed, work.tiny)


def _wanted(config: Config, out: Path) -> bool:
    """Whether there is anything to train; then episodes of a result with fewer steps go, for they are not the next one's.

    Raises:
        ValueError: there is such a result, and nothing to go on from.
    """
    done = checkpoint.read_config(out)["step"] if checkpoint.is_checkpoint(out) else 0
    if done >= config.steps:
        console.print(f"done before, with {done} steps")
        return False
    if done and not RunFiles(out, {}).state.exists():
        raise ValueError(f"{out} is done with {done} steps, and the state to go on from is gone: give another --out")
    for log in (out.parent / "evaluation").glob(f"{out.name}-*.jsonl"):
        log.unlink()
    return True


def _play(
    args: Args, work: Work, rows: dict[str, tuple[dict[str, Any], float]], offer: Offer, out: Path, name: str, model: Loaded
) -> dict[tuple[str, str], list[Trajectory]]:
    """A model's episodes by (name, row)."""
    played = {}
    for row, (env_args, temperature) in rows.items():
        sampling = Sampling(temperature=temperature)
        agent = choice_agent(placed(model.lm), model.tokenizer, args.view, offer, sampling, name)
        header = Header("", name, sampling=asdict(sampling), model=checkpoint.fingerprint(model.lm))
        log = out / evaluation_log(name, row)
        found = collect_log(args.env, env_args, agent, header, log, work.eval_tasks, seed=args.seed, parallel=work.parallel)
        played[name, row] = list(found)
    return played


if __name__ == "__main__":
    run(lambda: main(parse(sys.argv[1:])))
