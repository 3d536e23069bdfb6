"""What grading gets right, and how fast, on the references of MATH and GSM8K, beside math-verify alone.

    REASONING_DATA=DIR python benchmarks/grading.py [--speed 300]

Every solution is graded against its own answer and against the answer of another problem (the next one of its data set); every
verdict that is not as expected is printed. Then both graders grade the same sample, half of it own answers and half others',
in turns within one run.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from envs.files import read_rows
from envs.grading import Outcome, grade
from envs.grading.extract import explicit
from envs.grading.notation import plain

PAIRS = Path(__file__).parents[1] / "tests/envs/grading_pairs.tsv"
console = Console()


@dataclass(frozen=True)
class Config:
    """What to measure."""

    data: Path = Path(os.environ.get("REASONING_DATA", "../shared/data"))
    """Folder with gsm8k/ and math_hendrycks/."""
    speed: int = 300
    """Pairs of each data set for the timing; 0 leaves it out."""
    rounds: int = 3
    """Times that the timing is repeated."""
    seed: int = 0


@dataclass(frozen=True)
class Reference:
    """A worked solution, its own final answer as it stands there, and the answer column of the file."""

    solution: str
    answer: str
    column: str
    where: str


def references(data: Path, folder: str) -> list[Reference]:
    found = []
    for split in ("train", "test"):
        for row in read_rows(data / folder / f"{split}.jsonl.gz"):
            solution = str(row.data.get("solution") or row.data["answer"])
            own = explicit(solution)
            answer = own.answer if own else ""
            column = str(row.data["answer"]) if "solution" in row.data else answer
            found.append(Reference(solution, answer, column, f"{folder}/{split} line {row.line}"))
    return found


def judge(name: str, pairs: Sequence[tuple[str, str, str]], expected: bool, table: Table) -> None:
    """Grade (response, reference, where) and print each verdict that is not `expected`."""
    rules: Counter[str] = Counter()
    odd, coincide, slowest = [], 0, (0.0, "")
    for response, reference, where in track(pairs, description=name, console=console, transient=True):
        start = time.perf_counter()
        found = grade(response, reference)
        slowest = max(slowest, (time.perf_counter() - start, where))
        rules[f"{found.outcome}: {found.rule}"] += 1
        if (found.outcome is Outcome.CORRECT) == expected:
            continue
        if not expected and plain(found.answer or "") == plain(found.reference or ""):
            coincide += 1
        else:
            odd.append((where, found))
    right = len(pairs) - len(odd) - coincide
    share = right / (len(pairs) - coincide)
    table.add_row(
        name, f"{len(pairs):,}", f"{right:,}", f"{coincide:,}", f"{share:.2%}", f"{slowest[0] * 1e3:.0f} ms ({slowest[1]})"
    )
    console.print(f"[bold]{name}[/]: " + ", ".join(f"{rule} {count}" for rule, count in rules.most_common()))
    for where, found in odd:
        console.print(f"  {where}: {found.outcome} by {found.rule}: {found.answer!r} for {found.reference!r}", markup=False)


def hand_made(table: Table) -> None:
    lines = [line.split("\t") for line in PAIRS.read_text("utf-8").splitlines() if not line.startswith("#")]
    for verdict in ("same", "different"):
        pairs = [(rf"\boxed{{{a}}}", rf"\boxed{{{b}}}", f"{a} for {b}") for v, a, b in lines if v == verdict]
        judge(f"hand-made, {verdict}", pairs, verdict == "same", table)


def seconds(check: Callable[[str, str], object], pairs: Sequence[tuple[str, str]]) -> float:
    start = time.perf_counter()
    for response, reference in pairs:
        check(response, reference)
    return time.perf_counter() - start


def speed(name: str, known: Sequence[Reference], config: Config, table: Table) -> None:
    """Time both graders on the same pairs, the order of the two changing from round to round."""
    import math_verify

    def alone(response: str, reference: str) -> object:
        return math_verify.verify(math_verify.parse(reference), math_verify.parse(response))

    rng = random.Random(config.seed)
    sample = rng.sample(range(len(known)), config.speed)
    own = [(known[i].solution, rf"\boxed{{{known[i].answer}}}") for i in sample]
    other = [
        (known[i].solution, rf"\boxed{{{known[j].answer}}}") for i, j in zip(sample, rng.sample(sample, len(sample)), strict=True)
    ]
    grade(r"\boxed{\sec x\sqrt[x]{y}}", r"\boxed{\text{?}\csc x}")  # both start warm
    alone(*own[0])
    for what, pairs in (("own answers", own), ("others' answers", other)):
        times: dict[str, list[float]] = {"grade": [], "alone": []}
        for turn in range(config.rounds):
            order = [("grade", grade), ("alone", alone)]
            for who, check in order if turn % 2 else reversed(order):
                times[who].append(seconds(check, pairs))
        ours, theirs = (statistics.median(times[who]) for who in ("grade", "alone"))
        spread = ", ".join(f"{b / a:.0f}" for a, b in zip(times["grade"], times["alone"], strict=True))
        table.add_row(
            f"{name}, {what}", f"{len(pairs) / ours:,.0f}/s", f"{len(pairs) / theirs:,.0f}/s", f"{theirs / ours:.0f}x", spread
        )


def main(config: Config) -> None:
    checks = Table("what", "pairs", "as expected", "same text", "share", "slowest", title="verdicts")
    speeds = Table("what", "grade", "math-verify", "ratio", "of each round", title=f"{config.speed} pairs each, one process")
    for name, folder in (("GSM8K", "gsm8k"), ("MATH", "math_hendrycks")):
        known = references(config.data, folder)
        judge(f"{name}, own answer", [(r.solution, rf"\boxed{{{r.answer}}}", r.where) for r in known], True, checks)
        if name == "MATH":
            judge(f"{name}, answer column", [(r.solution, r.column, r.where) for r in known], True, checks)
        shifted = [*known[1:], known[0]]
        judge(
            f"{name}, next answer",
            [(r.solution, rf"\boxed{{{s.answer}}}", r.where) for r, s in zip(known, shifted, strict=True)],
            False,
            checks,
        )
        if config.speed:
            speed(name, known, config, speeds)
    hand_made(checks)
    console.print(checks)
    if config.speed:
        console.print(speeds)
    console.print(json.dumps({"seed": config.seed, "processors": os.cpu_count()}))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
