"""The multiple-choice questions on the command line.

python -m envs.commonsense list                                          every source, its splits, what is here
python -m envs.commonsense show arc_easy --split test --task 7           questions with their worked solutions and answers
python -m envs.commonsense play categories --seed 3                      answer one by hand, step by step
python -m envs.commonsense stats openbookqa arc_challenge/test           lengths, kinds of answers
python -m envs.commonsense check arc_challenge/train arc_challenge/test  questions of the second set that are in the first
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from envs.commonsense.source import GENERATORS, SOURCES, load
from envs.console import Domain, main

DOMAIN = Domain("envs.commonsense", SOURCES, tuple(GENERATORS), load)


def run(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    return main(DOMAIN, str(__doc__), argv)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
