"""What lies beside a checkpoint while it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from algorithms.runfiles import RunFiles


def test_a_run_with_a_dot_in_its_name_writes_aside_under_its_whole_name(tmp_path: Path) -> None:
    """`lam-0.5` and `lam-0.7` may be trained at once; neither touches a file of another name."""
    (tmp_path / "lam-0.part").write_text("another's")
    files = RunFiles(tmp_path / "lam-0.5", {})
    files.save_state({"step": 1})
    assert (tmp_path / "lam-0.part").read_text() == "another's"
    state = files.load_state(torch.device("cpu"))
    assert state is not None and state["step"] == 1


def test_a_state_that_was_cut_short_is_named(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run", {})
    files.save_state({"step": 1})
    files.state.write_bytes(files.state.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"run-state cannot be read .*: delete it to begin anew"):
        files.load_state(torch.device("cpu"))
