"""Imports go one way: algorithms -> rollouts -> {agents, envs}, and agents and envs do not know each other."""

from __future__ import annotations

import ast
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
