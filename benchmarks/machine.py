"""What a measurement ran on, for the tables that report it."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
"""where Linux names the processor; elsewhere its architecture must do"""


def machine() -> str:
    """Cores, processor and the version of torch."""
    named = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE) if CPUINFO.exists() else None
    return f"{os.cpu_count()} cores of {named[1] if named else platform.machine()}, torch {version('torch')}"
