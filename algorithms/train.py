"""Train one learner on one log: from which policy, reference and critic, and what is played meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from rich.progress import Progress
from transformers import PreTrainedTokenizerBase

from agents import checkpoint, tiny
from agents.checkpoint import Base, Loaded
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.tiny import TinyConfig
from algorithms.batch import Row, digest
from algorithms.examples import encode_rows
from algorithms.learner import Learner, Models
from algorithms.method import Method
from algorithms.presets import Work
from algorithms.selection import named
from algorithms.store import RowStore, StoredRow
from algorithms.training import Training
from algorithms.validation import HeldOut, Validation
from rollouts.progress import bar_columns, console
from rollouts.runs import run_checkpoint
from rollouts.stored import StoredLog, survey
from rollouts.trajectory import Log, Trajectory


def texts_of(trajectories: Iterable[Trajectory]) -> Iterator[str]:
    """Everything that was said in a log, for training a tokenizer."""
    return (text for t in trajectories for s in t.steps for text in (s.observation, s.action))


def scratch(trajectories: Iterable[Trajectory], seed: int, size: TinyConfig) -> Loaded:
    """The tiny preset's model, with a tokenizer trained on the log's text."""
    tokenizer = tiny.train_tokenizer(texts_of(trajectories), size.vocab)
    lm = tiny.build(tokenizer, size, seed)
    return Loaded(lm, tokenizer, Base("tiny", checkpoint.fingerprint(lm)))


def start_of(model: str, trajectories: Iterable[Trajectory], seed: int, folder: Path, size: TinyConfig) -> Path:
    """What a run starts from: a stored model, or the tiny preset from scratch, made and stored in `folder` if it is not there."""
    if model != "tiny":
        return run_checkpoint(model)
    if not checkpoint.is_checkpoint(folder):
        made = scratch(trajectories, seed, size)
        checkpoint.save(folder, ActorCritic(made.lm), made.tokenizer, made.base)
    return folder


@dataclass(frozen=True)
class Start:
    """What training starts from, by name or folder."""

    model: str = "tiny"
    """the policy"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    reference: str | None = None
    """the frozen reference; None: the policy that training starts from"""
    critic: str | None = None
    """a checkpoint whose critic training starts from; None: V = 0"""


def train(
    method: Method,
    config: Any,
    training: Training,
    log: Log | StoredLog,
    policy: Loaded,
    start: Start,
    out: Path,
    seed: int,
    held_out: HeldOut | None = None,
) -> Path:
    """Encode a log and train `policy` on it, with the reference and the critic that `start` names; the checkpoint's folder.

    The rows lie in a file without a name beside `out`, so that memory does not grow with them.

    Where the reference itself played the whole log, its log-probabilities are computed here and not taken from the log, so that
    DQO's weights are 1 at the first step: sampling in another precision drifts over hundreds of tokens.

    Raises:
        ValueError: the learner has no reference or critic, one has another tokenizer, or the critic does not fit.
    """
    for flag, wanted, has in (("--reference", start.reference, method.reference), ("--critic-from", start.critic, method.value)):
        if wanted and not has:
            raise ValueError(f"{method.name} has no {flag[2:].partition('-')[0]}: leave out {flag}")
    check_settings(method, config, training, validated=held_out is not None)
    # Who ended first is chance, with several workers: the same episodes are the same training.
    rows = sorted(_encode(log, policy, training, out.parent), key=lambda row: (row.task, row.seed, digest(row.tokens)))
    console.print(_describe(rows, len(log.trajectories)))
    models = Models(policy)
    if start.reference:
        models.reference = checkpoint.load_policy(run_checkpoint(start.reference), start.base)
        _same_tokens(models.reference.tokenizer, policy, f"the reference {start.reference}")
    own = {header.model for header in log.headers} == {checkpoint.fingerprint((models.reference or policy).lm)}
    if own and all(row.logps for row in rows):
        rows = [replace(row, logged=False) for row in rows]
    elif method.behaviour(config) and (lacking := [cast(Row, row) for row in rows if row.logps is None]):
        console.print(
            f"{len(lacking)} of {len(rows)} episodes have no log-probabilities ({named(lacking)}): {method.name} takes "
            "the reference for what played them. Where another did, its weights are wrong: collect with a language "
            "model (rollouts.collect writes them), or leave them out (--no-weight-policy --no-weight-value)"
        )
    if start.critic:
        models.critic = _critic(start.critic, start.base, policy)
    learner = Learner(method, config, training, cast(list[Row], rows), models, out, seed, held_out)
    if len(learner.rows) != len(rows):
        tasks, chosen = len({row.task for row in rows}), len({row.task for row in learner.rows})
        console.print(f"{len(learner.groups)} {'pairs' if method.group == 2 else 'rows'} of them, from {chosen} of {tasks} tasks")
    return learner.run()


def _encode(log: Log | StoredLog, policy: Loaded, training: Training, folder: Path) -> list[StoredRow]:
    """The rows of a log, in a file in `folder`. Shows a bar."""
    store = RowStore(folder)
    with Progress(*bar_columns("encoding", "episodes"), console=console, transient=True, disable=not console.is_terminal) as bar:
        episodes = bar.track(log.trajectories, total=len(log.trajectories))
        for row in encode_rows(episodes, Prompt(policy.tokenizer), training.max_length, training.truncated):
            store.append(row)
    return store.rows()


def check_settings(method: Method, config: Any, training: Training, validated: bool) -> None:
    """Raise ValueError where V at a cut is asked for and not learnt at every token, or a policy is played that does not learn."""
    if validated and not method.policy:
        raise ValueError(f"{method.name} trains no policy, so that held-out success says nothing of it: leave out --valid.every")
    if validated and method.value and training.critic_start == 1:
        raise ValueError("--critic-start 1 trains no policy, so that held-out success says nothing of it: leave out --valid.every")
    if training.truncated == "bootstrap" and not (method.value and method.level(config) == "token"):
        has = f"learns V at {method.level(config)} level" if method.value else "has no critic"
        raise ValueError(
            f"{method.name} {has}, and --truncated bootstrap reads V wherever a limit cuts: it wants oreo, dqo or value at token "
            "level; give --truncated zero, keep or drop"
        )


def _critic(source: str, base: str | None, policy: Loaded) -> ActorCritic:
    """The model whose critic training starts from."""
    folder = run_checkpoint(source)
    critic, tokenizer = checkpoint.load(folder, base)
    _same_tokens(tokenizer, policy, f"the critic of {source}")
    if critic.critic_kind == "lora" and checkpoint.read_config(folder).get("start") != checkpoint.fingerprint(policy.lm):
        raise ValueError(
            f"the critic of {source} is an adapter on another model than this one, where its values would be others: give a "
            "checkpoint that was trained from the same start, or one with a separate critic"
        )
    return critic


def _same_tokens(tokenizer: PreTrainedTokenizerBase, policy: Loaded, whose: str) -> None:
    if tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ValueError(f"{whose} has another tokenizer than the policy: give a model that was trained from the same start")


def train_on_log(
    method: Method,
    config: Any,
    training: Training,
    data: Path,
    start: Start,
    out: Path,
    seed: int,
    size: TinyConfig = TinyConfig(),
    held_out: Callable[[Collection[str], dict[str, Any]], HeldOut | None] = lambda used, env_args: None,
) -> Path:
    """The learner alone: read a log, train, say where the checkpoint is.

    `held_out` is given the tasks that are trained on, and the arguments of the environment that they were played in.
    """
    if checkpoint.is_checkpoint(out):
        console.print(f"{out} is there already; give another --out to train again")
        return out
    log = survey(data)
    if start.model == "tiny":
        if training.rank:
            raise ValueError("--rank trains adapters on a stored model, and tiny is made from scratch: give --model, or --rank 0")
        policy = scratch(log.trajectories, seed, size)
    else:
        policy = checkpoint.load_policy(run_checkpoint(start.model), start.base)
    played = [header.env_args for header in log.headers]
    tasks = held_out({t.task for t in log.trajectories}, played[0])
    if tasks and (logged := {header.env_id for header in log.headers}) != {tasks.env_id}:
        raise ValueError(f"{data} was played in {', '.join(sorted(logged))}, not in {tasks.env_id}: give --env, or --valid.every 0")
    if tasks and any(other != played[0] for other in played):
        raise ValueError(f"{data} joins logs of environments with other arguments, held-out tasks of which? give --valid.every 0")
    train(method, config, training, log, policy, start, out, seed, tasks)
    console.print(f"checkpoint: {out}\nevaluate it: python -m rollouts.evaluate {out} --env ENV --split SPLIT")
    return out


def _describe(rows: Sequence[StoredRow], episodes: int) -> str:
    if not rows:
        return f"{episodes} episodes, none of which can be learnt from"
    lengths = sorted(len(row) for row in rows)
    solved = sum(row.solved for row in rows)
    return (
        f"{len(rows)} of {episodes} episodes can be learnt from, {solved} of them solved; "
        f"tokens: median {lengths[len(lengths) // 2]}, longest {lengths[-1]}, all {sum(lengths)}"
    )


def train_args(work: Work) -> dict[str, Any]:
    """The environment's arguments for training tasks."""
    return {"split": "train"} | work.env_args if work.held_out else work.env_args


def held_out_tasks(
    valid: Validation,
    env: str,
    work: Work,
    seed: int,
    used: Collection[str],
    played: dict[str, Any] | None = None,
    given: dict[str, Any] | None = None,
) -> HeldOut | None:
    """The tasks to validate on, for training on the tasks `used`; None where there is no validation.

    They are of the environment with the arguments `played`, as a log was (the pipeline's own where there is no log yet), but for
    those that are `given` anew.
    """
    if not valid.every:
        return None
    env_args = (train_args(work) if played is None else played) | (given or {})
    return HeldOut(valid, env, env_args, used, work.action_tokens, work.parallel, seed)
