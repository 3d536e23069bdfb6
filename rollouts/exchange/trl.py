"""Rollout logs as data sets of TRL, in JSON lines, and back.

    python -m rollouts.export trl-prompt-completion rollouts.jsonl --out sft.jsonl
    python -m rollouts.export trl-preference rollouts.jsonl --out dpo.jsonl --pairs 6
    python -m rollouts.export trl-unpaired rollouts.jsonl --out kto.jsonl
    python -m rollouts.export trl-stepwise tree.jsonl --out steps.jsonl
    python -m rollouts.convert trl dpo.jsonl --env math --cut lines --out rollouts.jsonl

Columns and types are those of TRL's page "Dataset formats and types" of its documentation, and no others:

| format | columns | episodes |
|---|---|---|
| `trl-prompt-completion` (SFT) | `prompt`, `completion` | the solved ones |
| `trl-preference` (DPO) | `prompt`, `chosen`, `rejected` | pairs of a solved and a failed one of a task |
| `trl-unpaired` (KTO) | `prompt`, `completion`, `label` | all, `label` whether solved |
| `trl-stepwise` | `prompt`, `completions`, `labels` | those whose steps all have a credit or a process score |

The first three are conversations by default (the prompt is the first observation, the completion all that follows, the
environment being the user) or, for episodes of one turn, plain text (`--form text`). The last is plain text always, as TRL has
it. An episode that ended by an error or has no step is left out.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import tyro

from rollouts.exchange.files import Count, logged, watched, whole, write_log
from rollouts.exchange.messages import Message, cutter, messages_of, steps_of
from rollouts.exchange.rows import Book, CutImport, book, checked, rows_of
from rollouts.progress import console
from rollouts.trajectory import End, Header, Step, Trajectory

Form = Literal["messages", "text"]


@dataclass(frozen=True)
class Export:
    """Write a log as a data set of TRL."""

    log: tyro.conf.Positional[Path]
    """the log"""
    out: Path
    """the .jsonl file"""


@dataclass(frozen=True)
class ExportTurns(Export):
    """Write a log as a data set of TRL, in conversations or plain text."""

    form: Form = "messages"
    """conversations, or text (only for episodes of one turn)"""


@dataclass(frozen=True)
class ExportPairs(ExportTurns):
    """Write pairs of a solved and a failed episode of the same task."""

    pairs: int = 6
    """at most so many of a task, drawn from all of them"""
    seed: int = 0


def to_prompt_completion(args: ExportTurns) -> str:
    """Write the solved episodes. Raises ValueError where there is none, or `--form text` cannot say one; LogError as `read`."""
    shape = _shape(args.form)
    rows = ({"prompt": p, "completion": c} for p, c in map(shape, _usable(args.log, lambda trajectory: trajectory.success)))
    return _write(args.out, rows, "solved episode")


def to_unpaired(args: ExportTurns) -> str:
    """Write all episodes with their labels. Raises as `to_prompt_completion`."""
    shape = _shape(args.form)
    rows = ((*shape(trajectory), trajectory.success) for trajectory in _usable(args.log))
    return _write(args.out, ({"prompt": p, "completion": c, "label": label} for p, c, label in rows), "episode with a step")


def to_preference(args: ExportPairs) -> str:
    """Write pairs. Raises as `to_prompt_completion`, or where no task has both a solved and a failed episode."""
    if args.pairs < 1:
        raise ValueError(f"--pairs must be at least 1, got {args.pairs}")
    shape = _shape(args.form)
    pairs = pairs_of(_usable(args.log), args.pairs, random.Random(args.seed))
    rows = ((*shape(good), shape(bad)[1]) for good, bad in pairs)
    found = ({"prompt": p, "chosen": chosen, "rejected": rejected} for p, chosen, rejected in rows)
    return _write(args.out, found, "task with both a solved and a failed episode")


def pairs_of(trajectories: Iterable[Trajectory], most: int, rng: random.Random) -> Iterator[tuple[Trajectory, Trajectory]]:
    """(solved, failed) of the same task and first observation: of each at most `most` of all pairs, drawn at random.

    A log joined from others may hold a task under two prompts; one prompt is all that a pair can have.
    """
    groups: dict[tuple[str, str], tuple[list[Trajectory], list[Trajectory]]] = defaultdict(lambda: ([], []))
    for trajectory in trajectories:
        groups[trajectory.task, trajectory.steps[0].observation][not trajectory.success].append(trajectory)
    for solved, failed in groups.values():
        every = len(solved) * len(failed)
        for index in rng.sample(range(every), min(most, every)):
            yield solved[index // len(failed)], failed[index % len(failed)]


def to_stepwise(args: Export) -> str:
    """Write the steps of episodes with their labels. Raises ValueError where no episode has labels, or one has several turns."""
    rows = []
    for trajectory in _usable(args.log):
        labels = labels_of(trajectory.steps)
        if labels is not None:
            prompt, _ = _text(trajectory)
            rows.append({"prompt": prompt, "completions": [step.action for step in trajectory.steps], "labels": labels})
    return _write(
        args.out,
        rows,
        "episode with a credit (python -m rollouts.tree, rollouts.credit) or a process score (rollouts.process) at each step",
    )


def labels_of(steps: Sequence[Step]) -> list[bool] | None:
    """Whether each step is good: its `target` is not below 0, or else its process score is above 0; None where it has neither."""
    targets = [step.target for step in steps]
    if None not in targets:
        return [target >= 0 for target in targets if target is not None]
    scores = [step.info.get("process_score") for step in steps]
    if all(isinstance(score, int | float) for score in scores):
        return [score > 0 for score in scores if score is not None]
    return None


def _usable(log: Path, keep: Callable[[Trajectory], bool] = lambda _: True) -> Iterator[Trajectory]:
    left_out = 0
    for _, trajectory in logged(log, "exported"):
        if trajectory.end is End.ERROR or not trajectory.steps:
            left_out += 1
        elif keep(trajectory):
            yield trajectory
    if left_out:
        console.print(f"{left_out} episodes ended by an error or without a step, and are left out")


def _shape(form: Form) -> Callable[[Trajectory], tuple[Any, Any]]:
    return _messages if form == "messages" else _text


def _messages(trajectory: Trajectory) -> tuple[list[Message], list[Message]]:
    messages = messages_of(trajectory.steps)
    return messages[:1], messages[1:]


def _text(trajectory: Trajectory) -> tuple[str, str]:
    """Raises ValueError where the environment speaks between the agent's actions."""
    if any(step.observation for step in trajectory.steps[1:]):
        raise ValueError(
            f"{trajectory.task}, seed {trajectory.seed}: the environment speaks after an action, which plain text cannot say: "
            "export conversations (trl-prompt-completion, trl-preference or trl-unpaired with --form messages)"
        )
    return trajectory.steps[0].observation, "".join(step.action for step in trajectory.steps)


def _write(out: Path, rows: Iterable[dict[str, Any]], wanted: str) -> str:
    """Write the rows, whole or not at all; says how many. Raises ValueError where there is none."""
    count = 0
    with whole(out) as aside, open(aside, "wb") as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
            count += 1
        if not count:
            raise ValueError(f"the log has no {wanted}: there is nothing to export")
    return f"{count} rows"


@dataclass(frozen=True)
class Import(CutImport):
    """Read data sets of TRL: any of the four formats, or `messages` (language modelling); which one, the columns say.

    Stepwise data is cut already.
    """

    agent: str = "trl"


Said = str | tuple[Message, ...]


class Completion(msgspec.Struct, forbid_unknown_fields=True):
    """A row for SFT, or with `label` for KTO."""

    prompt: Said
    completion: Said
    label: bool | None = None


class Preference(msgspec.Struct, forbid_unknown_fields=True):
    """A row for DPO; without `prompt`, both conversations begin with it."""

    chosen: Said
    rejected: Said
    prompt: Said | None = None


class Stepwise(msgspec.Struct, forbid_unknown_fields=True):
    """A row for process reward models."""

    prompt: str
    completions: tuple[str, ...]
    labels: tuple[bool, ...]


class Conversation(msgspec.Struct, forbid_unknown_fields=True):
    """A row for language modelling."""

    messages: tuple[Message, ...]


KINDS: dict[str, type[Completion] | type[Preference] | type[Stepwise] | type[Conversation]] = {
    "completions": Stepwise,
    "chosen": Preference,
    "completion": Completion,
    "messages": Conversation,
}
"""Which format a row is of, by a column that no other has."""


def from_trl(args: Import) -> Count:
    """Write the log, whole or not at all.

    What is preferred, labelled true, demonstrated, or right in all its steps gets the reward 1 at its end, all else 0; the labels
    of steps become `info["process_score"]`. All episodes count as terminated. Those of one prompt are of one task.

    Raises:
        ValueError: a row of no such format, with file, row and field; or `out` is there.
    """
    cut, entries = cutter(args.cut), book(args.env, args.agent)
    rows = ((where, row) for path in args.files for where, row in rows_of(path))
    found = (episode for where, row in watched("imported", rows, None) for episode in _episodes(row, where, entries, cut))
    return write_log(args.out, found)


def _episodes(row: Any, where: str, entries: Book, cut: Callable[[str], list[str]]) -> Iterator[tuple[Header, Trajectory]]:
    column = next((name for name in KINDS if isinstance(row, dict) and name in row), None)
    if column is None:
        got = f"columns {sorted(row)}" if isinstance(row, dict) else f"a {type(row).__name__}"
        raise ValueError(f"{where}: {got}, wanted a row with one of {', '.join(KINDS)}")
    kind = KINDS[column]
    found = checked(row, kind, where, f"a row of {', '.join(kind.__struct_fields__)}")
    try:
        if isinstance(found, Stepwise):
            yield _scored(found, entries)
            return
        for messages, reward in _conversations(found):
            steps, final = steps_of(messages, cut)
            yield entries.enter(entries.number("trl", steps[0].observation), steps, reward, final=final)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _conversations(row: Completion | Preference | Conversation) -> Iterator[tuple[list[Message], float]]:
    """Conversations with what each earned."""
    if isinstance(row, Conversation):
        yield list(row.messages), 1.0
    elif isinstance(row, Completion):
        yield _joined(row.prompt, row.completion), float(row.label is not False)
    else:
        yield _joined(row.prompt, row.chosen), 1.0
        yield _joined(row.prompt, row.rejected), 0.0


def _joined(prompt: Said | None, completion: Said) -> list[Message]:
    if isinstance(prompt, str) and isinstance(completion, str):
        return [Message("user", prompt), Message("assistant", completion)]
    if isinstance(completion, str) or isinstance(prompt, str):
        raise ValueError(
            "prompt and completion are of different kinds, or plain text has no prompt: wanted both text, or both messages"
        )
    return [*(prompt or ()), *completion]


def _scored(row: Stepwise, entries: Book) -> tuple[Header, Trajectory]:
    if len(row.completions) != len(row.labels) or not row.completions:
        raise ValueError(f"{len(row.completions)} completions and {len(row.labels)} labels, wanted as many of both, at least one")
    steps = [
        Step("" if index else row.prompt, text, 0.0, info={"process_score": float(label)})
        for index, (text, label) in enumerate(zip(row.completions, row.labels, strict=True))
    ]
    return entries.enter(entries.number("trl", row.prompt), steps, float(all(row.labels)))
