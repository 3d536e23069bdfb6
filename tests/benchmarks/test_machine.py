from __future__ import annotations

import platform
from pathlib import Path

import pytest

from benchmarks import machine


@pytest.mark.parametrize("named", [True, False])
def test_the_processor_is_named_where_the_system_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    if named:
        (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some Processor\n")
    assert f"cores of {'Some Processor' if named else platform.machine()}, torch " in machine.machine()
