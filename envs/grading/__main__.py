"""Grade one answer on the command line: `python -m envs.grading RESPONSE REFERENCE`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

import tyro
from rich.console import Console
from rich.table import Table

from envs.grading import Kind, grade


@dataclass(frozen=True)
class Args:
    """Print what grading says of a response, and why."""

    response: tyro.conf.Positional[str]
    reference: tyro.conf.Positional[str]
    """a worked solution or a bare answer"""
    kind: Kind | None = None
    """what is wanted; default what the reference looks like"""
    choices: tuple[str, ...] = ()
    """texts of the choices A, B, ..."""
    rules: str | None = None
    """grade as a published checker does: deepseek-math, qwen2.5-math"""


def main(args: Args) -> int:
    """Print the grade; returns 0 where it is correct, 1 where not, 2 for an unknown argument."""
    try:
        found = grade(args.response, args.reference, args.kind, args.choices, args.rules)
    except ValueError as error:
        print(f"ValueError: {error}", file=sys.stderr)
        return 2
    table = Table(show_header=False)
    for name, value in asdict(found).items():
        table.add_row(name, "" if value is None else str(value))
    Console().print(table, markup=False)
    return 0 if found.outcome == "correct" else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
