"""Episodes and logs that several tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from hypothesis import strategies as st

from agents.scripted import ExpertAgent
from rollouts.collect import collect_log
from rollouts.trajectory import End, Header, Step, Trajectory, records

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    tokens = draw(st.none() | st.lists(st.integers(0, 2**31), max_size=5).map(tuple))
    logps = None if tokens is None else draw(st.none() | st.tuples(*[numbers] * len(tokens)))
    info = draw(st.dictionaries(texts, plain, max_size=2))
    return Step(draw(texts), draw(texts), draw(numbers), tokens, logps, draw(st.none() | numbers), draw(st.none() | numbers), info)


def trajectories(least: int = 0, **fixed: st.SearchStrategy) -> st.SearchStrategy[Trajectory]:
    """Any episodes of at least so many steps."""
    fields: dict[str, st.SearchStrategy] = {
        "env_id": texts,
        "task": texts,
        "seed": st.integers(-(2**53), 2**53),
        "steps": st.lists(steps(), min_size=least, max_size=4).map(tuple),
        "end": st.sampled_from(End),
        "agent": texts,
        "final": texts,
    }
    return st.builds(Trajectory, **(fields | fixed))


HEADERS = (
    Header("Env-v0", "lm", sampling={"temperature": 1.0}, model="abc"),
    Header("AlfWorld-v0", "expert", {"split": "train", "max_steps": 5}),
    Header("MathReason-v0", "größer π", search={"breadth": [1, None, {"ü": 0.5}]}),
)


def logs(least: int = 0) -> st.SearchStrategy[list[Header | Trajectory]]:
    """Any logs, also joined ones: a header, episodes, another header, and so on."""
    part = st.lists(trajectories(least), min_size=1, max_size=3)
    return st.lists(part, min_size=1, max_size=len(HEADERS)).map(
        lambda parts: [line for header, part in zip(HEADERS, parts, strict=False) for line in (header, *part)]
    )


def write(path: Path, lines: Sequence[Header | Trajectory]) -> Path:
    """Write a log line by line, as it stands."""
    encoded = (line.encode() if isinstance(line, Header) else msgspec.json.encode(line) + b"\n" for line in lines)
    path.write_bytes(b"".join(encoded))
    return path


def lines(path: Path) -> list[Header | Trajectory]:
    """All lines of a log."""
    return list(records(path))


def maths_log(path: Path, episodes: int = 12) -> Path:
    """The expert on word problems, and the same episodes failed at the last step."""
    solved = collect_log("math", {"count": episodes}, ExpertAgent(), Header("", "expert"), path)
    header, *_ = lines(path)
    failed = [
        msgspec.structs.replace(
            t, seed=1, steps=(*t.steps[:-1], msgspec.structs.replace(t.steps[-1], action="#### 0.5", reward=0.0, info={}))
        )
        for t in solved
    ]
    return write(path, [header, *(t for pair in zip(solved, failed, strict=True) for t in pair)])
