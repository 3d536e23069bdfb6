"""Write logs anew in another form: compressed, in shards, joined to one file, or plain again.

    python -m rollouts.pack rollouts.jsonl --out rollouts.jsonl.zst
    python -m rollouts.pack rollouts.jsonl --out rollouts --shard-mb 64     # a folder of shards
    python -m rollouts.pack rollouts more.jsonl.zst --out all.jsonl         # joined, and plain

Every line is validated and written as it stands, so that unpacking gives the same lines. A header is written where it differs from
the one before, and at the beginning of each shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.progress import Progress

from rollouts.cli import run
from rollouts.line_writer import written_aside
from rollouts.lines import LogError
from rollouts.progress import bar_columns, console
from rollouts.trajectory import Header, decoded, log_files


@dataclass(frozen=True)
class Args:
    """Write logs anew in another form."""

    logs: tyro.conf.Positional[tuple[Path, ...]]
    """.jsonl or .jsonl.zst files, or folders of shards"""
    out: Path
    """.jsonl, .jsonl.zst, or a folder (a name without an ending); whole or not there"""
    shard_mb: int = 64
    """megabytes after which a folder's next shard is begun"""


def pack(logs: tuple[Path, ...], out: Path, shard: int) -> tuple[int, int, int]:
    """Write the lines of logs to `out`, a folder's shards of about `shard` bytes. Shows a bar.

    Returns:
        The number of episodes, the bytes read and those written.

    Raises:
        LogError: `out` is there, or a log cannot be read. Then nothing is written.
        ValueError: shards of no size.
    """
    if shard < 1:
        raise ValueError(f"--shard-mb must be at least 1, got {shard >> 20}")
    if out.exists():
        raise LogError(f"{out} is there already: give another --out")
    files = [file for log in logs for file in log_files(log)]
    size, before, episodes = sum(file.stat().st_size for file in files), 0, 0
    bar = Progress(*bar_columns("packing", "bytes, {task.fields[episodes]} episodes"), console=console)
    with bar, written_aside(out, shard) as writer:
        task = bar.add_task("packing", total=size, episodes=0)
        for file in files:
            for line, record in decoded(file):
                if isinstance(record, Header):
                    writer.follow(record.encode())
                    continue
                writer.write(line.text)
                episodes += 1
                if episodes % 1000 == 0:
                    bar.update(task, completed=before + line.start, episodes=episodes)
            before += file.stat().st_size
        writer.flush()
        bar.update(task, completed=size, episodes=episodes)
        written = writer.size
    return episodes, size, written


def main(args: Args) -> None:
    """The command line."""
    episodes, size, written = pack(args.logs, args.out, args.shard_mb << 20)
    console.print(f"{args.out}: {episodes} episodes, {size / 1e6:.1f} MB read, {written / 1e6:.1f} MB written", highlight=False)


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
