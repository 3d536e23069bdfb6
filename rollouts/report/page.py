"""The page: one HTML file with everything in it, and its pictures as PNG files beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rollouts.report.draw import PALETTE, Drawn
from rollouts.report.gallery import GAIN, HIGH, LOSS, Scales
from rollouts.report.section import Section, Table

MARK = '<meta name="generator" content="rollouts.report">'
"""Tells a report from another page."""


@dataclass(frozen=True)
class Heading:
    """What was read."""

    title: str
    facts: Sequence[tuple[str, str]]
    """name and content of each line"""
    files: Table


def render(heading: Heading, sections: Sequence[Section], pictures: Mapping[str, Drawn], scales: Scales) -> str:
    """The page. Everything that comes from a log is escaped: it may say anything."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        heading=heading,
        sections=sections,
        svg={name: Markup(drawn.svg) for name, drawn in pictures.items()},  # our own drawing, whose texts are escaped in it
        style=Markup((folder / "page.css").read_text()),
        mark=Markup(MARK),
        palette=PALETTE,
        shades={"gain": GAIN, "loss": LOSS, "high": HIGH},
        scales=scales,
    )


def check_out(out: Path) -> None:
    """Raise ValueError where `out` holds anything but an earlier report."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file: a report is a folder, give another --out")
    if any(out.iterdir()) and not _is_report(out):
        raise ValueError(f"{out} holds other things than a report, so it is left alone: give another --out")


def write(out: Path, html: str, pictures: Mapping[str, Drawn]) -> None:
    """Write a report aside, then put it where an earlier one was.

    Raises:
        ValueError: as `check_out`.
    """
    check_out(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside, before = out.with_name(f"unfinished-{out.name}"), out.with_name(f"replaced-{out.name}")
    for folder in (aside, before):
        if folder.exists() and not _ours(folder):
            raise ValueError(
                f"{folder} is in the way: a report is written there before it is renamed; move it, or give another --out"
            )
        shutil.rmtree(folder, ignore_errors=True)
    aside.mkdir()
    try:
        (aside / "index.html").write_text(html, encoding="utf-8")
        for name, drawn in pictures.items():
            (aside / f"{name}.png").write_bytes(drawn.png)
        if out.exists():
            os.replace(out, before)  # a folder that is not empty cannot be replaced at once
        os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(before, ignore_errors=True)


def _is_report(folder: Path) -> bool:
    with suppress(OSError, UnicodeDecodeError):
        return MARK in (folder / "index.html").read_text(encoding="utf-8")[:2000] and _ours(folder)
    return False


def _ours(folder: Path) -> bool:
    """Whether nothing but a page and pictures is there."""
    return folder.is_dir() and all(file.name == "index.html" or file.suffix == ".png" for file in folder.iterdir())
