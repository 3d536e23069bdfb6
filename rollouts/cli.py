"""Shared manners of the command lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tyro
from rich.markup import escape

from envs.hints import choose
from rollouts.progress import console

T = TypeVar("T")


def run(command: Callable[[], object]) -> None:
    """Run a command; what a user can mend (a wrong name, file, value) is said in a line and exits with 2, without a traceback."""
    _hide_bars_of_checkpoints()
    try:
        command()
    except (ValueError, LookupError, OSError, FloatingPointError) as error:
        text = error.args[0] if isinstance(error, LookupError) and error.args else str(error)
        console.print(f"[red]{type(error).__name__}:[/red] {escape(str(text))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped; what is in a log or a run directory is kept, and the same command goes on with it")
        sys.exit(130)


def _hide_bars_of_checkpoints() -> None:
    """A bar for each file of a checkpoint hides the bars that matter. Loads nothing: many commands need no model."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # for when transformers is imported
    if "transformers.utils.logging" in sys.modules:
        sys.modules["transformers.utils.logging"].disable_progress_bar()


def parsed(
    argv: Sequence[str], prog: str, usage: str, what: str, known: Mapping[str, tuple[type, Callable[[Any], T]]]
) -> tuple[Any, Callable[[Any], T]]:
    """The arguments that follow the first word, and what it names; without one, or for `--help`, prints the usage and exits.

    `known`: name -> its arguments, and what is done with them; `what` such names are, for the error.

    Raises:
        ValueError: no such name.
    """
    name = argv[0] if argv else ""
    if name in ("", "-h", "--help"):
        print(usage)
        sys.exit()
    arguments, command = known[choose(what, name, known)]
    return tyro.cli(arguments, args=argv[1:], prog=f"python -m {prog} {name}"), command


def run_format(argv: Sequence[str], prog: str, usage: str, formats: Mapping[str, tuple[type, Callable[[Any], object]]]) -> None:
    """Run the format that the first word names, and say what it wrote.

    `formats`: name -> its arguments (`out` among them), and what writes them and says how much.

    Raises:
        ValueError: as `parsed`, or what the format raises.
    """
    args, write = parsed(argv, prog, usage, "format", formats)
    console.print(f"{args.out}: {write(args)}", highlight=False, soft_wrap=True)
