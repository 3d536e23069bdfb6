"""Rollout logs in other formats.

    python -m rollouts.export FORMAT LOG --out PATH

`parquet` (for Hugging Face's `datasets`) and `minari` keep the whole log; `trl-prompt-completion`, `trl-preference`,
`trl-unpaired` and `trl-stepwise` are the data sets that TRL's trainers read. `FORMAT --help` shows a format's settings,
docs/exchange.md what each keeps. `rollouts.convert` reads all of them back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from rollouts.cli import run, run_format
from rollouts.exchange import minari, parquet, trl

EXPORTERS: dict[str, tuple[type, Callable[[Any], object]]] = {
    "parquet": (parquet.Export, parquet.to_parquet),
    "minari": (minari.Export, minari.to_minari),
    "trl-prompt-completion": (trl.ExportTurns, trl.to_prompt_completion),
    "trl-preference": (trl.ExportPairs, trl.to_preference),
    "trl-unpaired": (trl.ExportTurns, trl.to_unpaired),
    "trl-stepwise": (trl.Export, trl.to_stepwise),
}
"""As `rollouts.cli.run_format` takes them."""


def main(argv: Sequence[str]) -> None:
    """The command line."""
    run_format(argv, "rollouts.export", __doc__ or "", EXPORTERS)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
