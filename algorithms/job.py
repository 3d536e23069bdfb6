"""The command line of every learner.

    python -m algorithms.oreo --env math                               # everything, stage by stage, in one run directory
    python -m algorithms.oreo --env math --data LOG --model DIR        # this learner alone, on a given log

A stage that is done is not done again, so the same command goes on with a run that was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import tyro

from algorithms import pipeline
from algorithms.learner import Training
from algorithms.method import Method
from algorithms.presets import OTHER_WORK, WORK, training
from envs import ENVIRONMENTS
from rollouts.cli import run
from rollouts.collect import EnvironmentArgs
from rollouts.resolve import parse_pairs

C = TypeVar("C")
FLAGS = ("demos", "tasks", "samples", "eval_tasks", "action_tokens")
"""Fields of `Work` that the command line can set."""


@dataclass(frozen=True)
class Args(EnvironmentArgs, Generic[C]):
    """Train a language-model agent: on a given log, or (without --data) by the whole pipeline from expert to evaluation."""

    data: Path | None = None
    """a log to train on; without it the pipeline collects its own"""
    model: str = "tiny"
    """what training starts from: tiny (from scratch), a run's folder, a checkpoint, a GGUF file, a hub id"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    out: Path | None = None
    """run directory; default out/METHOD-ENV-SEED"""
    seed: int = 0
    """of everything: tokenizer and weights from scratch, samples, order of rows"""
    preset: str = "tiny"
    """defaults of the training settings: tiny, lora (default for other models than tiny), paper"""
    demos: int | None = None
    """pipeline: expert demonstrations, one a training task; default by environment"""
    expert_args: tuple[str, ...] = ()
    """pipeline: arguments of the expert, as KEY=VALUE (see agents/scripted.py)"""
    tasks: int | None = None
    """pipeline: training tasks that the rollouts are played on"""
    samples: int | None = None
    """pipeline: rollouts per training task"""
    eval_tasks: int | None = None
    """pipeline: held-out tasks"""
    action_tokens: int | None = None
    """pipeline: most tokens of an action"""
    settings: tyro.conf.OmitArgPrefixes[C] = field(default_factory=lambda: None)  # type: ignore[assignment]
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    sft: Training = field(default_factory=Training)
    """pipeline: the SFT stage"""


def main(method: Method) -> None:
    """Run a learner from the command line."""
    run(lambda: _run(method, parse(method, sys.argv[1:])))


def parse(method: Method, argv: Sequence[str]) -> Args[Any]:
    """The arguments of a learner; preset and model choose the defaults that the others have (and that --help shows)."""
    model = early(argv, "--model", "tiny")
    preset = early(argv, "--preset", "tiny" if model == "tiny" else "lora")
    env = short(early(argv, "--env", Args.env))
    default = Args(
        model=model,
        preset=preset,
        settings=method.config(),
        training=training(preset, method.name, env),
        sft=training(preset, "sft", env),
    )
    return tyro.cli(Args[method.config], default=default, args=argv, prog=f"python -m algorithms.{method.name}")


def short(env: str) -> str:
    """An environment's short name, where it has one."""
    return {identifier: name for name, identifier in ENVIRONMENTS.items()}.get(env, env)


def early(argv: Sequence[str], flag: str, default: str) -> str:
    """The value of a flag that other defaults hang on."""
    for index, word in enumerate(argv):
        if word == flag and index + 1 < len(argv):
            return argv[index + 1]
        if word.startswith(flag + "="):
            return word.partition("=")[2]
    return default


def _run(method: Method, args: Args[Any]) -> None:
    work = WORK.get(short(args.env), OTHER_WORK)
    out = args.out or Path("out", f"{method.name}-{args.env}-{args.seed}")
    if args.data is not None:
        pipeline.train_on_log(
            method, args.settings, args.training, args.data, args.model, out / method.name, args.seed, args.base, work.tiny
        )
        return
    if args.sft.precision != args.training.precision:
        raise ValueError(
            f"one process computes in one precision: got --precision {args.training.precision} and --sft.precision "
            f"{args.sft.precision}; give both the same"
        )
    chosen = {name: getattr(args, name) for name in FLAGS if getattr(args, name) is not None}
    expert_args = work.expert_args | parse_pairs(args.expert_args, "--expert-args")
    work = replace(work, env_args=work.env_args | args.environment(), expert_args=expert_args, **chosen)
    trainings = {"sft": args.sft, method.name: args.training}
    pipeline.Pipeline(method, args.settings, trainings, args.env, work, args.model, out, args.seed, args.base).run()
