"""Grade hostile text: nothing may raise, hang, or leave a process behind.

    REASONING_DATA=DIR python benchmarks/grading_fuzz.py [--count 100000]

Four fifths are answers of MATH, mutated (pieces cut, doubled, swapped, spliced with others, characters replaced); the rest is
what Hypothesis draws, and a fixed list of bombs (towers of exponents, nesting, null bytes, right-to-left text, a megabyte).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import tyro
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import track

from envs.files import read_rows
from envs.grading import grade, symbolic

console = Console()

BOMBS = [
    "9^{9^{9}}", "9^{9^{9^{9}}}", "9**9**9", "10^{10^{10}}", "(10^{100})!", "((((9!)!)!)!)", "9!!!!!!!!",
    "2^{2^{2^{2^{2^{2}}}}}", "x^{9999999}", r"\binom{10^9}{5*10^8}", r"\sum_{i=1}^{10^{12}} i", r"\prod_{k=1}^{99999999} k",
    r"\int_0^{\infty} e^{-x^2}\sin(x^x) dx", "(x+y+z+w)^{999}", r"\gcd(10^{999}, 10^{998})", "1e999999999", "1" * 10_000,
    "0." + "3" * 10_000, "1/" * 5_000 + "1", "-" * 10_000 + "1", "+-" * 5_000 + "1", "(" * 5_000 + "1" + ")" * 5_000,
    "{" * 5_000 + "1" + "}" * 5_000, r"\frac{1}{" * 2_000 + "1" + "}" * 2_000, r"\sqrt{" * 2_000 + "2" + "}" * 2_000,
    r"\frac" * 5_000, "^" * 5_000, "_" * 5_000, "|" * 5_000, r"\left(" * 3_000, r"\begin{pmatrix}" * 2_000, "1&" * 5_000,
    "1," * 5_000 + "1", r"\pm 1" * 3_000, "!" * 9_999, "%" * 9_999, "\\" * 9_999, "\x00", "5\x00", "\x00" * 1_000,
    "\u202e5\u202c", "\u0665", "\u200f\u0661\u0662", "½¾" * 500, "\ud83d", "𝟓", "５", "²" * 500, "π" * 900, "x" * 1_000_000,
    "7 " * 500_000, r"\boxed{" * 150_000, "#### 5\n" * 140_000, "the answer is 5. " * 60_000, "\\text{" * 170_000,
    "$" * 1_000_000, "sin " * 2_000, r"\sin" * 2_000, "x=" * 5_000 + "1", "1<" * 5_000 + "2", "[0,1]\\cup" * 1_000 + "[0,1]",
    "5 " + "cm " * 5_000,
]  # fmt: skip


@dataclass(frozen=True)
class Config:
    """How much to try."""

    data: Path = Path(os.environ.get("REASONING_DATA", "../shared/data"))
    """Folder with math_hendrycks/."""
    count: int = 100_000
    """Texts."""
    seed: int = 0


def mutated(answers: list[str], rng: random.Random) -> str:
    text = rng.choice(answers)
    for _ in range(rng.randint(1, 6)):
        i, j = sorted(rng.choices(range(len(text) + 1), k=2))
        other = rng.choice(answers)
        piece = rng.choice(
            [
                "",
                text[i:j] * 2,
                text[i:j][::-1],
                other,
                rng.choice(r"\{}()[]^_$%&|!,.=<>+-*/ 0179xyeiπ°~"),
                other[: rng.randint(0, 9)],
            ]
        )
        text = (text[:i] + piece + text[j:])[:2000]
    return text


class Fuzz:
    """What happened so far."""

    def __init__(self) -> None:
        self.rules: Counter[str] = Counter()
        self.slowest: list[tuple[float, str, str]] = []

    def try_(self, response: str, reference: str) -> None:
        start = time.perf_counter()
        found = grade(response, reference)
        took = time.perf_counter() - start
        self.rules[f"{found.outcome}: {found.rule}"] += 1
        self.slowest = sorted([*self.slowest, (took, response[:60], reference[:60])], reverse=True)[:8]


def cases(config: Config) -> Iterator[tuple[str, str]]:
    """Bombs against bombs and answers, then mutants against their like."""
    rng = random.Random(config.seed)
    rows = read_rows(config.data / "math_hendrycks" / "test.jsonl.gz")
    answers = [answer for row in rows if (answer := str(row.data["answer"]))]
    for bomb in BOMBS:
        for other in ("7", r"\frac{x+1}{2}", bomb[:-1], f"{bomb}+1", rng.choice(BOMBS)):
            yield f"\\boxed{{{bomb}}}", other
            yield other, bomb
    for _ in range(config.count * 4 // 5):
        yield f"\\boxed{{{mutated(answers, rng)}}}", rng.choice((mutated(answers, rng), rng.choice(answers)))


def main(config: Config) -> None:
    fuzz = Fuzz()
    start = time.perf_counter()
    listed = list(cases(config))
    for response, reference in track(listed, description="mutants and bombs", console=console):
        fuzz.try_(response, reference)

    drawn = config.count - config.count * 4 // 5

    @seed(config.seed)
    @settings(max_examples=drawn, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.text(max_size=300), st.one_of(st.text(max_size=60), st.from_regex(r"[-\\{}()^0-9a-z+*/!,= ]{1,40}", fullmatch=True)))
    def hypothesis_run(response: str, reference: str) -> None:
        fuzz.try_(response, reference)
        fuzz.try_(f"\\boxed{{{reference}}}", response)

    with console.status(f"Hypothesis draws {drawn:,} pairs"):
        hypothesis_run()
    took = time.perf_counter() - start
    working = psutil.Process().children(recursive=True)
    symbolic.close()
    left = [child for child in working if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    console.print(
        f"{sum(fuzz.rules.values()):,} grades in {took:.0f} s; workers at the end {len(working)}, after close() {len(left)}"
    )
    for rule, number in fuzz.rules.most_common():
        console.print(f"  {number:>7,} {rule}")
    for seconds, response, reference in fuzz.slowest:
        console.print(f"  {seconds:.2f} s  {response!r} for {reference!r}", markup=False)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
