"""Other people's episodes as rollout logs.

    python -m rollouts.convert FORMAT FILE [FILE ...] --out LOG

- `parquet`, `minari`, `trl`: what `rollouts.export` writes, and such data sets of others
- `conversations`: AgentTraj-L (AgentGym), AgentInstruct, ETO's expert trajectories
- `verl`, `verifiers`: the rollouts that these frameworks save
- `knowagent`: KnowAgent's ALFWorld episodes, each played again and compared (`--games DIR`)

`FORMAT --help` shows a format's settings, docs/exchange.md what each keeps. A file that is not of the format stops the command with
file, row and field, and no log is left (but that of `knowagent`, which goes on where it was).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from rollouts.cli import run, run_format
from rollouts.exchange import conversations, knowagent, minari, parquet, trl, verifiers, verl

IMPORTERS: dict[str, tuple[type, Callable[[Any], object]]] = {
    "parquet": (parquet.Import, parquet.from_parquet),
    "minari": (minari.Import, minari.from_minari),
    "trl": (trl.Import, trl.from_trl),
    "conversations": (conversations.Import, conversations.from_conversations),
    "verl": (verl.Import, verl.from_verl),
    "verifiers": (verifiers.Import, verifiers.from_verifiers),
    "knowagent": (knowagent.KnowAgent, knowagent.convert),
}
"""As `rollouts.cli.run_format` takes them."""


def main(argv: Sequence[str]) -> None:
    """The command line."""
    run_format(argv, "rollouts.convert", __doc__ or "", IMPORTERS)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
