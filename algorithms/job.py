"""The command line of every learner.

    python -m algorithms.oreo --env math                               # everything, stage by stage, in one run directory
    python -m algorithms.oreo --env math --rounds 3                    # the new policy collects, and is trained again
    python -m algorithms.oreo --env math --data LOG --model DIR        # this learner alone, on a given log
    python -m algorithms.dqo --env math --data LOG --model RUN/sft --critic-from RUN/oreo     # from a trained critic

A stage that is done is not done again, so the same command goes on with a run that was stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import tyro

from agents import checkpoint
from agents.mcts import Search
from algorithms.method import Method
from algorithms.pipeline import Pipeline
from algorithms.presets import OTHER_WORK, WORK, Work, training
from algorithms.train import Start, check_settings, held_out_tasks, train_on_log
from algorithms.training import Training
from algorithms.validation import Validation
from envs import ENVIRONMENTS
from rollouts.cli import run
from rollouts.collect import EnvironmentArgs
from rollouts.resolve import parse_pairs
from rollouts.runs import run_checkpoint
from rollouts.trajectory import Header, records

C = TypeVar("C")
FLAGS = ("demos", "tasks", "samples", "tree_tasks", "eval_tasks", "action_tokens")
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
    reference: str | None = None
    """with --data: the frozen reference; default: the model that training starts from"""
    critic_from: str | None = None
    """with --data: a checkpoint whose critic training starts from; default: V = 0"""
    rounds: int = 1
    """pipeline: how often the newest model collects and is trained again"""
    keep_reference: bool = False
    """pipeline: every round is held to the SFT model; otherwise each to the model that it starts from"""
    out: Path | None = None
    """run directory; default out/METHOD-ENV-SEED"""
    seed: int = 0
    """of everything: tokenizer and weights from scratch, samples, order of rows"""
    preset: str = "tiny"
    """defaults of the training settings: tiny (the default for tiny and what was trained from it), lora (for others), paper"""
    demos: int = OTHER_WORK.demos
    """pipeline: expert demonstrations, one a training task"""
    expert_args: tuple[str, ...] = ()
    """pipeline: arguments of the expert, as KEY=VALUE (see agents/scripted.py)"""
    tasks: int = OTHER_WORK.tasks
    """pipeline: training tasks that the rollouts are played on"""
    samples: int = OTHER_WORK.samples
    """pipeline: rollouts per training task"""
    tree_tasks: int = OTHER_WORK.tree_tasks
    """pipeline, learners from trees: training tasks that are searched"""
    search: Search = field(default_factory=Search)
    """pipeline, learners from trees: how (its seed is --seed)"""
    eval_tasks: int = OTHER_WORK.eval_tasks
    """pipeline: tasks of each split that the models are evaluated on; 0: none"""
    action_tokens: int = OTHER_WORK.action_tokens
    """pipeline: most tokens of an action"""
    settings: tyro.conf.OmitArgPrefixes[C] = field(default_factory=lambda: None)  # type: ignore[assignment]
    """the learner's own"""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    valid: Validation = field(default_factory=Validation)
    sft: Training = field(default_factory=Training)
    """pipeline: the SFT stage"""


def main(method: Method) -> None:
    """Run a learner from the command line."""
    run(lambda: _run(method, parse(method, sys.argv[1:])))
    leave()


def leave() -> None:
    """End one of several processes whose work is done, without winding up the interpreter: Gloo's threads may abort it there.

    They outlive destroy_process_group where a DistributedDataParallel was made (https://github.com/pytorch/pytorch/pull/179291).
    """
    if torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def parse(method: Method, argv: Sequence[str]) -> Args[Any]:
    """The arguments of a learner; preset, model and environment choose the others' defaults (and --help shows them)."""
    model = early(argv, "--model", "tiny")
    preset = early(argv, "--preset", "tiny" if _from_scratch(model) else "lora")
    env = short(early(argv, "--env", Args.env))
    work = WORK.get(env, OTHER_WORK)
    default = Args(
        **{name: getattr(work, name) for name in (*FLAGS, "search")},
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


def _from_scratch(model: str) -> bool:
    """Whether a model is the tiny one, or was trained from it."""
    if model == "tiny":
        return True
    folder = run_checkpoint(model)
    return checkpoint.is_checkpoint(folder) and checkpoint.read_config(folder).get("origin") == "tiny"


def early(argv: Sequence[str], flag: str, default: str) -> str:
    """The value of a flag that other defaults hang on; the last one counts, as for all flags."""
    found = default
    for index, word in enumerate(argv):
        if word == flag and index + 1 < len(argv):
            found = argv[index + 1]
        elif word.startswith(flag + "="):
            found = word.partition("=")[2]
    return found


def _check_alone(args: Args[Any], work: Work) -> None:
    """With a log, nothing of the pipeline's is asked for."""
    given = [name for name in (*FLAGS[:-1], "search") if getattr(args, name) != getattr(work, name)]
    given += [name for name in ("expert_args", "rounds", "keep_reference") if getattr(args, name) != getattr(Args, name)]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(f"{flags}: the whole pipeline's, which collects its own log; leave them out, or --data")


def _check_env(args: Args[Any]) -> None:
    """The log's environment chose no default, --env did."""
    assert args.data is not None
    played = next(header.env_id for header in records(args.data) if isinstance(header, Header))
    if played != ENVIRONMENTS.get(short(args.env), args.env):
        raise ValueError(f"{args.data} was played in {played}, not in {args.env}: give --env {short(played)}")


def _run(method: Method, args: Args[Any]) -> None:
    work = WORK.get(short(args.env), OTHER_WORK)
    check_settings(method, args.settings, args.training, validated=bool(args.valid.every))
    if args.data is not None:
        _check_alone(args, work)
        _check_env(args)
    out = args.out or Path("out", f"{method.name}-{args.env}-{args.seed}")
    chosen = {name: getattr(args, name) for name in (*FLAGS, "search")}
    expert_args = work.expert_args | parse_pairs(args.expert_args, "--expert-args")
    work = replace(work, env_args=work.env_args | args.environment(), expert_args=expert_args, **chosen)
    if args.data is not None:
        start = Start(args.model, args.base, args.reference, args.critic_from)
        held_out = partial(held_out_tasks, args.valid, args.env, work, args.seed, given=args.environment())
        train_on_log(method, args.settings, args.training, args.data, start, out / method.name, args.seed, work.tiny, held_out)
        return
    if args.reference or args.critic_from:
        raise ValueError("--reference and --critic-from go with --data; the pipeline chooses its own (see --keep-reference)")
    if method.after:
        check_settings(method.after, method.after.config(), args.sft, validated=False)
    if args.sft.precision != args.training.precision:
        raise ValueError(
            f"one process computes in one precision: got --precision {args.training.precision} and --sft.precision "
            f"{args.sft.precision}; give both the same"
        )
    Pipeline(
        method,
        args.settings,
        {"sft": args.sft, method.name: args.training},
        args.env,
        work,
        args.model,
        out,
        args.seed,
        args.base,
        args.rounds,
        args.keep_reference,
        args.valid,
    ).run()
