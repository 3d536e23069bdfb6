"""Files of lines in every form, written and read back, for the tests of both sides."""

from __future__ import annotations

from pathlib import Path

from rollouts.line_writer import LineWriter
from rollouts.lines import lines, parts

HEAD = b"head\n"
NAMES = ["log.jsonl", "log.jsonl.zst", "log"]


def texts(path: Path) -> list[bytes]:
    return [line.text for part in parts(path) for line in lines(part)]


def write(path: Path, *flushed: list[bytes], shard: int = 1 << 20) -> Path:
    """Each batch in a frame of its own."""
    with LineWriter(path, HEAD, shard) as writer:
        writer.begin()
        for batch in flushed:
            for text in batch:
                writer.write(text + b"\n")
            writer.flush()
    return path
