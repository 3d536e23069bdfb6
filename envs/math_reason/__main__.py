"""The maths problems on the command line.

python -m envs.math_reason list                                         every source, its splits, what is here
python -m envs.math_reason show gsm8k --split test --task 7             problems with their worked solutions and answers
python -m envs.math_reason play arithmetic --seed 3                     solve one by hand, step by step
python -m envs.math_reason stats gsm8k/train math/train mine.jsonl      lengths, steps, kinds of answers
python -m envs.math_reason check math/train math500 --out pairs.jsonl   problems of the second set that are in the first
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from envs.console import Domain, main
from envs.math_reason.source import GENERATORS, SOURCES, load

DOMAIN = Domain("envs.math_reason", SOURCES, tuple(GENERATORS), load)


def run(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    return main(DOMAIN, str(__doc__), argv)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
