"""What is in a log, before training on it.

    python -m rollouts.stats rollouts.jsonl
    python -m rollouts.stats rollouts.jsonl --model RUN/sft --against test held-out.jsonl --json stats.json

Success by kind of task, samples of a task, repetitions, how episodes ended, lengths, oddities of the texts; with --model also what
that model reads (lengths in its tokens against the window, ids that are not its own); with --against the tasks that are in other
sets too. The last lines say what should be mended: what was found, what it means, what to do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.markup import escape
from rich.table import Column, Table

from rollouts.cli import run
from rollouts.json_file import write_json
from rollouts.progress import console
from rollouts.stats.contamination import KINDS, Contamination
from rollouts.stats.contents import Contents, Tasks
from rollouts.stats.spread import QUANTILES, Spread
from rollouts.stats.survey import Survey, go_through
from rollouts.stats.texts import SHOWN, Texts


@dataclass(frozen=True)
class Args:
    """Say what is in a log, before training on it."""

    log: tyro.conf.Positional[Path]
    """a .jsonl or .jsonl.zst file, or a folder of shards"""
    model: str | None = None
    """the run, checkpoint, GGUF file or hub id that will be trained: its tokenizer reads the log"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    context: int | None = None
    """tokens that a row may have; default: what the model's training took, or its window where that is smaller"""
    against: tuple[str, ...] = ()
    """logs, or splits of the log's own environment, whose tasks should not be in this one"""
    threshold: float = 0.7
    """share of the runs of three words above which problems are near each other (Jaccard)"""
    show: int = 20
    """how many kinds of tasks are shown, those with the most episodes first"""
    json: Path | None = None
    """write everything here (shares are fractions)"""


def print_survey(found: Survey, show: int) -> None:
    """Print tables, and then what should be mended."""
    console.print(_overview(found))
    if len(found.contents.groups) > 1:
        console.print(_kinds(found.contents, show))
    console.print(_lengths(found))
    if found.texts.odd:
        console.print(_oddities(found.texts))
    for other in found.others:
        console.print(_contamination(other))
    findings = list(found.findings())
    for finding in findings:
        console.print(
            f"\n[yellow]{escape(finding.found)}[/]: {escape(finding.means)}; [bold]{escape(finding.remedy)}[/]", highlight=False
        )
    if not findings:
        console.print("nothing was found that should be mended", highlight=False)


def _overview(found: Survey) -> Table:
    contents, summary, tasks = found.contents, found.contents.tally.summary(), Tasks.of(found.contents.tally)
    repeats, steps = contents.repeats(), max(contents.tally.steps, 1)
    table = Table(title=escape(str(found.path)), show_header=False)
    rows = {
        "environment": ", ".join(contents.environments),
        "agents": ", ".join(f"{name} ({count})" for name, count in contents.agents.most_common(5)),
        "episodes": str(summary.episodes),
        "success": f"{summary.success:.1%}, 95% interval {summary.low:.1%} - {summary.high:.1%}",
        "tasks": f"{tasks.tasks}; episodes of one: {_three(tasks.least, tasks.median, tasks.most)}",
        "solved always": _share(tasks.always, tasks.tasks, "tasks"),
        "solved sometimes": _share(tasks.sometimes, tasks.tasks, "tasks: these hold pairs"),
        "solved never": _share(tasks.never, tasks.tasks, "tasks"),
        "ends": ", ".join(f"{_share(count, summary.episodes)} {name}" for name, count in sorted(summary.ends.items())),
        "outcomes": ", ".join(f"{_share(count, summary.episodes)} {name}" for name, count in sorted(summary.outcomes.items())),
        "done again": _share(repeats.again, summary.episodes, "episodes")
        + (f"; most often, {repeats.most} times: {_first_action(found)}" if repeats.most > 1 else ""),
        "steps have": ", ".join(f"{name} {count / steps:.0%}" for name, count in contents.held.items()),
    }
    for name, cell in rows.items():
        if cell:
            table.add_row(name, escape(cell))
    return table


def _kinds(contents: Contents, show: int) -> Table:
    table = Table(
        Column("kind of task", no_wrap=True), "tasks (solved sometimes)", "episodes (truncated)", "success", "95% interval"
    )
    ordered = sorted(contents.groups.items(), key=lambda named: (-named[1].episodes, named[0]))
    for name, tally in ordered[:show]:
        summary, tasks = tally.summary(), Tasks.of(tally)
        table.add_row(
            escape(name) or "(none)",
            f"{tasks.tasks} ({tasks.sometimes / tasks.tasks:.0%})",
            f"{summary.episodes} ({tally.ends['truncated'] / summary.episodes:.0%})",
            f"{summary.success:.1%}",
            f"{summary.low:.0%} - {summary.high:.0%}",
        )
    if len(ordered) > show:
        table.caption = f"{show} of {len(ordered)} kinds"
    return table


def _lengths(found: Survey) -> Table:
    title = "lengths of an episode (50%: half of them are no longer)"
    table = Table(Column("", no_wrap=True), "min", *(f"{share:.0%}" for share in QUANTILES), "max", "mean", "sum", title=title)
    spreads: dict[str, Spread] = {"steps": found.contents.steps, "characters": found.contents.characters}
    if found.tokens:
        spreads |= {"tokens, all": found.tokens.row, "tokens, the agent's": found.tokens.own}
        beyond, episodes = found.tokens.row.above(found.tokens.reader.context), len(found.tokens.row)
        limit = f"{found.tokens.reader.context} tokens ({found.tokens.reader.source})"
        table.caption = f"longer than {limit}: {_share(beyond, episodes)} episodes" + _ids(found)
    elif len(found.contents.sampled):
        spreads["sampled tokens"] = found.contents.sampled
        table.caption = "give --model to count the environment's tokens too, and compare with its window"
    for name, spread in spreads.items():
        if numbers := spread.to_json():
            table.add_row(name, *(f"{value:.1f}" if key == "mean" else str(value) for key, value in numbers.items()))
    return table


def _ids(found: Survey) -> str:
    tokens = found.tokens
    if tokens is None or not tokens.sampled:
        return ""
    return (
        f"\nsampled ids: {_share(tokens.rewritten, tokens.sampled)} episodes have others when their text is encoded again "
        f"(training takes the sampled ones), {_share(tokens.open, tokens.sampled)} do not end with the closing token"
    )


def _oddities(texts: Texts) -> Table:
    table = Table("oddity", "steps", "share", "first")
    for oddity, count in texts.odd.most_common():
        named = (
            "refused: “Nothing happens.”"
            if oddity == "refused"
            else "repeated: as the step before"
            if oddity == "repeated"
            else oddity
        )
        table.add_row(named, str(count), f"{texts.share(oddity):.1%}", escape(texts.examples[oddity]))
    return table


def _contamination(other: Contamination) -> Table:
    table = Table("in both", "tasks here", "tasks there", "first pair", title=f"against {escape(other.name)}")
    there = Counter(other.hit.values())
    for kind in KINDS:
        if there[kind]:
            shares = _share(other.found[kind], other.tasks), _share(there[kind], len(other.others))
            table.add_row(kind, *shares, escape(" ~ ".join(other.example(kind))))
    table.add_section()
    table.add_row("any", _share(other.found.total(), other.tasks), _share(len(other.hit), len(other.others)), "")
    table.caption = f"{other.tasks} tasks here, {len(other.others)} there"
    if other.rooms:
        table.caption += f"; {len(other.rooms)} rooms in both"
    return table


def _first_action(found: Survey) -> str:
    episode = found.repeated
    text = " ".join("".join(step.action for step in episode.steps).split())
    return f"{episode.task}: {text if len(text) <= SHOWN else text[: SHOWN - 1] + '…'}"


def _three(least: int, median: float, most: int) -> str:
    return f"{least}" if least == most else f"min {least}, median {median:g}, max {most}"


def _share(part: int, whole: int, of: str = "") -> str:
    return f"{part} ({part / max(whole, 1):.1%})" + (f" {of}" if of else "")


def main(args: Args) -> Survey:
    """The command line.

    Raises:
        ValueError: --context without --model, or what `load_reader` and `go_through` raise.
    """
    if args.model is None and args.context is not None:
        raise ValueError("--context counts a model's tokens, the environment's among them: give --model, too")
    reader = None
    if args.model:
        from rollouts.stats.tokens import load_reader  # torch, which a log alone does without

        reader = load_reader(args.model, args.context, args.base)
    found = go_through(args.log, reader, args.against, args.threshold)
    print_survey(found, args.show)
    if args.json:
        write_json(args.json, found.to_json())
    return found


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
