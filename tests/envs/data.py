"""Where the published data sets are, for the tests that read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("REASONING_DATA", Path(__file__).parents[2] / "../shared/data"))


def data_dir() -> Path:
    """The folder of the data sets; the test is skipped where there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no data sets at {DATA}: set REASONING_DATA")
    return DATA
