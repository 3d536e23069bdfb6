"""The commands of `docs/tutorials/`, as they are printed there, from an empty folder to a report."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BASH = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)

if shutil.which("bash") is None:
    pytest.skip("the tutorials' commands are for bash", allow_module_level=True)


def test_there_is_a_tutorial_of_maths_and_one_of_alfworld() -> None:
    assert {"maths", "alfworld"} <= {page.stem for page in TUTORIALS}


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_from_an_empty_folder_to_a_report(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="a report needs the extra report")
    pytest.importorskip("jinja2", reason="a report needs the extra report")
    commands = "".join(BASH.findall(page.read_text(encoding="utf-8")))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert "</html>" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
