"""Credits of steps from a frozen value model (DVO's second source, Zhang et al. 2025, arXiv 2502.13723, section 4.4.2).

    python -m algorithms.value --env math --data rollouts.jsonl --model RUN/sft --out RUN     # the outcome value model
    python -m rollouts.credit rollouts.jsonl --critic RUN/value --out credited.jsonl
    python -m algorithms.dvo --env math --data credited.jsonl --model RUN/sft

Every step gets `Step.value` V(s), read at the position before its first token, and `Step.target` r + gamma V(s') - V(s), with the
discount that the critic was trained with. V is 0 after the last step, so that without a discount an episode's targets add up to its
return minus V(s_0). A truncated episode has return 0, as in learning by default: its last target is -V(s). All else is copied; an
episode that ended by an error stays as it is.

An episode is encoded just as for training (sampled ids where the log has them) and cut at the length where the critic's training
cut: steps beyond it have no value and no credit, and the last one within it has the return.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import tyro
from msgspec.structs import replace
from rich.progress import Progress
from rich.table import Table

from agents import checkpoint
from agents.model import ActorCritic
from agents.prompt import Prompt
from rollouts.cli import run
from rollouts.encode import Encoded, Truncated, cut_by_length, encode
from rollouts.line_writer import LineWriter, written_aside
from rollouts.lines import lines
from rollouts.progress import bar_columns, console
from rollouts.runs import run_checkpoint
from rollouts.stats import auc
from rollouts.trajectory import End, Header, LogError, Trajectory, log_files, records

WINDOW = 512
"""Episodes that are read, sorted by length and written at a time."""


def learnt_by_token(meta: Mapping[str, Any]) -> bool:
    """Whether a critic, by its checkpoint's `config.json`, learnt V before every token of the agent."""
    settings = meta.get("settings", {})
    level = settings.get("level")
    return level == "token" or settings.get("value_at") == "tokens" or (meta.get("method") == "oreo" and level == "response")


@dataclass(frozen=True)
class Critic:
    """A frozen value model. Raises ValueError where its V cannot be read before each step."""

    model: ActorCritic
    prompt: Prompt
    source: str
    meta: dict[str, Any]
    """its checkpoint's `config.json`"""

    def __post_init__(self) -> None:
        """Raises ValueError without a critic, or for one that did not learn V before every step, or a discount between tokens."""
        if self.model.value_head is None:
            raise ValueError(
                f"{self.source} ({self._learner}) has no value head: give a checkpoint that was trained with a critic, such as "
                "that of python -m algorithms.value, oreo or dqo"
            )
        settings = self.meta.get("settings", {})
        if self._learner == "dro" or (self._learner != "oreo" and settings.get("level") == "response"):
            raise ValueError(
                f"{self.source} ({self._learner}) learnt V before the whole response only, and credits read it before every step: "
                "train the critic with --level token or --level step"
            )
        if self.gamma != 1 and (settings.get("level") != "step" or settings.get("value_at") == "tokens"):
            raise ValueError(
                f"{self.source} ({self._learner}) learnt a discount from token to token (gamma {self.gamma}), and credits are of "
                "steps: train the critic with --level step or --gamma 1"
            )
        if self.meta.get("training", {}).get("truncated") == "bootstrap":
            raise ValueError(
                f"{self.source} ({self._learner}) learnt that an episode goes on behind a limit (--truncated bootstrap), where "
                "credits end with nothing: train the critic with --truncated zero"
            )

    @property
    def _learner(self) -> str:
        return str(self.meta.get("method", "a model without training"))

    @property
    def gamma(self) -> float:
        """Discount from step to step."""
        return float(self.meta.get("settings", {}).get("gamma", 1.0))

    @property
    def max_length(self) -> int:
        """Tokens at which its training cut episodes."""
        limit = getattr(self.model.lm.config, "max_position_embeddings", None) or 2**30
        return min(limit, self.meta.get("training", {}).get("max_length", limit))

    @property
    def truncated(self) -> Truncated:
        """What it learnt that an episode has earned which a limit cut off."""
        return "keep" if self.meta.get("training", {}).get("truncated") == "keep" else "zero"

    def described(self) -> dict[str, Any]:
        """What a header says of it."""
        model = checkpoint.fingerprint(self.model)
        return {"critic": model, "method": self._learner, "max_length": self.max_length, "gamma": self.gamma}

    @torch.no_grad()
    def values(self, rows: Sequence[Encoded]) -> list[list[float]]:
        """V at the state of each kept step of each row, one forward pass. A step without tokens has the V of the one after it."""
        width = max(len(row.tokens) for row in rows)
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        for index, row in enumerate(rows):
            tokens[index, : len(row.tokens)] = torch.tensor(row.tokens)
        at = self.model.values(tokens.to(self.model.lm.device)).tolist()
        return [row.by_step(own) for row, own in zip(rows, at, strict=True)]


def load_critic(source: str | Path, base: str | None = None) -> Critic:
    """The critic of a run directory or checkpoint.

    Raises:
        FileNotFoundError, ValueError: as `agents.checkpoint.load`, and `Critic`.
    """
    path = run_checkpoint(source)
    model, tokenizer = checkpoint.load(path, base)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return Critic(model, Prompt(tokenizer), str(source), checkpoint.read_config(path))


def with_credits(trajectory: Trajectory, values: Sequence[float], reward: Sequence[float], gamma: float = 1.0) -> Trajectory:
    """The episode with values and targets at its first `len(values)` steps; `reward` is what each of them earned.

    Raises:
        ValueError: a value that is not finite.
    """
    if wrong := [value for value in values if not math.isfinite(value)]:
        raise ValueError(
            f"the critic says {wrong[0]} of a state of {trajectory.task}, seed {trajectory.seed}: its training diverged"
        )
    targets = [r + gamma * after - before for r, (before, after) in zip(reward, pairwise([*values, 0.0]), strict=True)]
    beyond = (None,) * (len(trajectory.steps) - len(values))
    steps = zip(trajectory.steps, (*values, *beyond), (*targets, *beyond), strict=True)
    return replace(trajectory, steps=tuple(replace(step, value=value, target=target) for step, value, target in steps))


def credit(critic: Critic, lines: Iterable[Header | Trajectory], micro_tokens: int = 16384) -> Iterator[Header | Trajectory]:
    """Yield every episode with its credits and every header with the critic's name, in order.

    One forward pass reads at most `micro_tokens` tokens, padding included (or one episode).

    Raises:
        ValueError: the log's tokens are another tokenizer's, or a value is not finite.
    """
    waiting, described = iter(lines), critic.described()
    while window := list(islice(waiting, WINDOW)):
        rows: dict[int, tuple[Trajectory, Encoded]] = {}
        for index, line in enumerate(window):
            if isinstance(line, Header):
                window[index] = replace(line, credit=described)
            elif line.end is not End.ERROR:
                row = encode(line, critic.prompt, critic.max_length, critic.truncated)
                if row is None:
                    window[index] = with_credits(line, [], [])  # not those of another critic or a search
                else:
                    rows[index] = line, row
        lengths = {index: len(row.tokens) for index, (_, row) in rows.items()}
        for batch in cut_by_length([[index] for index in rows], micro_tokens, lengths.__getitem__):
            for index, values in zip(batch, critic.values([rows[index][1] for index in batch]), strict=True):
                trajectory, row = rows[index]
                window[index] = with_credits(trajectory, values, row.reward, critic.gamma)
        yield from window


def credit_log(log: Path, critic: Critic, out: Path, micro_tokens: int = 16384) -> Quality:
    """Write the log with credits to `out`, which is there whole or not at all; returns how good the values are. Shows a bar.

    Raises:
        LogError: `out` is there and is no log that this made, or what `read` raises.
        ValueError: as `credit`.
    """
    if out.exists() and not _credited(out):
        raise LogError(f"{out} is there and is no log of credits, so it is left alone: give another --out")
    with written_aside(out) as writer:
        return _write(log, critic, writer, micro_tokens)


def _write(log: Path, critic: Critic, out: LineWriter, micro_tokens: int) -> Quality:
    quality, steps, total = Quality(), 0, sum(1 for file in log_files(log) for _ in lines(file)) - 1
    with Progress(*bar_columns("credits", "{task.fields[steps]} steps"), console=console) as bar:
        task = bar.add_task("credits", total=total, steps=0)
        for line in credit(critic, records(log), micro_tokens):
            if isinstance(line, Header):
                out.follow(line.encode())
                continue
            out.write(msgspec.json.encode(line) + b"\n")
            quality.add(line)
            steps += len(line.steps)
            bar.update(task, advance=1, steps=steps)
        bar.update(task, completed=total)  # a log of shards, or a joined one, has more than one header
    return quality


def _credited(path: Path) -> bool:
    try:
        first = next(records(path))
    except LogError:
        return False
    return isinstance(first, Header) and bool(first.credit)


@dataclass
class Quality:
    """How well V tells solved episodes from others: at each episode's first state, and before its last step."""

    tasks: list[str] = field(default_factory=list)
    solved: list[bool] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    credits: list[float] = field(default_factory=list)
    lacking: int = 0
    """steps without a credit, of episodes that did not end by an error"""

    def add(self, trajectory: Trajectory) -> None:
        """Count an episode, unless it ended by an error."""
        if trajectory.end is End.ERROR:
            return
        found = [step.value for step in trajectory.steps if step.value is not None]
        self.credits += [step.target for step in trajectory.steps if step.target is not None]
        self.lacking += len(trajectory.steps) - len(found)
        if found:
            self.tasks.append(trajectory.task)
            self.solved.append(trajectory.success)
            self.first.append(found[0])
            self.last.append(found[-1])

    def table(self, title: str) -> Table:
        """V as the probability that the episode is solved, beside the constant success rate.

        The AUC within tasks compares episodes of one task only, so that knowing which tasks are hard is worth nothing: it is what
        credits are made of. 0.5 is chance.
        """
        table = Table("V before the", "mean", "Brier score", "constant's", "AUC", "within tasks", title=title)
        solved = np.array(self.solved)
        for name, values in (("first step", self.first), ("last step", self.last)):
            v = np.array(values)
            brier, constant = float(((v - solved) ** 2).mean()), float(solved.mean() * (1 - solved.mean()))
            within = auc(v, solved, self.tasks)
            table.add_row(name, f"{v.mean():.3f}", f"{brier:.4f}", f"{constant:.4f}", f"{auc(v, solved):.3f}", f"{within:.3f}")
        return table


@dataclass(frozen=True)
class Args:
    """Write values and credits of a frozen value model into a log."""

    log: tyro.conf.Positional[Path]
    """the log"""
    critic: str
    """a checkpoint with a value head: RUN/value, RUN/oreo, RUN/dqo"""
    out: Path
    """the log with credits; whole or not there"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    micro_tokens: int = 16384
    """most tokens (padding included) of one forward pass"""


def main(args: Args) -> None:
    """The command line."""
    quality = credit_log(args.log, load_critic(args.critic, args.base), args.out, args.micro_tokens)
    if not quality.solved:
        raise ValueError(f"{args.log} has no episode with steps: nothing was credited")
    console.print(quality.table(f"{args.out}"))
    mean = sum(map(abs, quality.credits)) / len(quality.credits)
    console.print(f"{len(quality.solved)} episodes, {sum(quality.solved)} solved; mean |credit| {mean:.3f}", highlight=False)
    if quality.lacking:
        console.print(f"{quality.lacking} steps lie beyond the length at which the critic's training cut, and have no credit")


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
