"""Imports go one way: algorithms -> rollouts -> {agents, envs}, and agents and envs do not know each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "envs": {"envs"},
    "agents": {"agents"},
    "rollouts": {"rollouts", "agents", "envs"},
    "algorithms": {"algorithms", "rollouts", "agents", "envs"},
}


def imported_packages(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found & set(ALLOWED)


LIGHT = ("collect", "compare", "convert", "export", "pack", "replay.__main__", "reshape", "stats.__main__")
"""Commands that need no model, unless they are given one: loading torch takes many times as long as what they do."""


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    broken = {str(path.relative_to(ROOT)): extra for path in files if (extra := imported_packages(path) - ALLOWED[package])}
    assert not broken


def test_every_package_is_listed_for_installation() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {".".join(path.parent.relative_to(ROOT).parts) for p in ALLOWED for path in (ROOT / p).rglob("__init__.py")}
    assert listed == there


def test_commands_on_logs_load_no_model() -> None:
    names = [f"rollouts.{name}" for name in LIGHT]
    code = f"import sys, {', '.join(names)}; print(*sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_scripted_collection_loads_no_model(tmp_path: Path) -> None:
    code = (
        "import sys; from rollouts.collect import Args, main; from pathlib import Path; "
        f"main(Args(env='math', agent='expert', episodes=2, out=Path({str(tmp_path / 'log.jsonl')!r}))); "
        "print(*({'torch', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.split() == []
