"""Which examples a learner takes from a log: the solved ones, so many a task, pairs.

All of them are deterministic for a given random stream, and name the rows at fault where there is nothing to learn from.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from algorithms.batch import Row, digest


def training_rows(rows: Sequence[Row], config: Any = None, rng: random.Random | None = None) -> list[Row]:
    """Every row, for learners that learn from failures too.

    Raises:
        ValueError: there is none, or none earned anything: nothing says what to do instead.
    """
    every_row(rows)
    if not any(row.solved or any(row.reward) or any(row.process_score or ()) for row in rows):
        solved_rows(rows)
    return list(rows)


def every_row(rows: Sequence[Row], config: Any = None, rng: random.Random | None = None) -> list[Row]:
    """Every row, whatever it earned.

    Raises:
        ValueError: there is none.
    """
    if not rows:
        raise ValueError(
            "no episode in the log that can be learnt from: those that ended by an error, without an action, or with a first step "
            "longer than --max-length are left out; collect others (rollouts.collect)"
        )
    return list(rows)


def solved_rows(rows: Sequence[Row], config: Any = None, rng: random.Random | None = None) -> list[Row]:
    """The rows of solved episodes.

    Raises:
        ValueError: there is none.
    """
    solved = [row for row in rows if row.solved]
    if not solved:
        raise ValueError(
            f"no solved episode among {len(rows)} in the log: nothing can be learnt from it; "
            "collect more samples, or on easier tasks, or start from expert demonstrations (rollouts.collect --agent expert)"
        )
    return solved


def credited_rows(rows: Sequence[Row], config: Any = None, rng: random.Random | None = None) -> list[Row]:
    """Every row, where each of their steps has a credit.

    Raises:
        ValueError: some have none, or there is no row.
    """
    every_row(rows)
    lacking = [row for row in rows if row.target is None]
    if lacking:
        raise ValueError(
            f"{len(lacking)} of {len(rows)} episodes have no credit for some of their steps ({named(lacking)}): "
            "this learner needs Step.target, which python -m rollouts.tree writes, or rollouts.credit (which has none for steps "
            "beyond the length that its critic was trained on: --max-length leaves them out here)"
        )
    return list(rows)


def named(rows: Sequence[Row], most: int = 3) -> str:
    """The first of some rows as a log names its episodes."""
    return "; ".join(f"{row.task}, seed {row.seed}" for row in rows[:most]) + ("; ..." if len(rows) > most else "")


def by_task(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each task, in the order of the log."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.task].append(row)
    return dict(found)


def distinct(rows: Sequence[Row]) -> list[Row]:
    """The rows without those that say the same as an earlier one."""
    found: dict[bytes, Row] = {}
    for row in rows:
        found.setdefault(digest(row.tokens), row)
    return list(found.values())


def balanced(rows: Sequence[Row], most: int, rng: random.Random) -> list[Row]:
    """At most `most` solved and `most` failed rows of each task, and no more solved than failed ones (but one).

    The rule of OREO's data for 7B models: of n+ solved and n- failed samples it keeps min(n+, max(n-, 1)), at most 4, and
    min(n-, 4).
    """
    kept: list[Row] = []
    for group in by_task(rows).values():
        good, bad = [row for row in group if row.solved], [row for row in group if not row.solved]
        kept += _draw(good, min(most, len(good), max(len(bad), 1)), rng) + _draw(bad, min(most, len(bad)), rng)
    return kept


def capped(rows: Sequence[Row], most: int, rng: random.Random) -> list[Row]:
    """At most `most` rows of each task."""
    return [row for group in by_task(rows).values() for row in _draw(group, min(most, len(group)), rng)]


def _draw(rows: Sequence[Row], count: int, rng: random.Random) -> list[Row]:
    """`count` of them at random, in their order."""
    return [rows[i] for i in sorted(rng.sample(range(len(rows)), count))]


def response_pairs(rows: Sequence[Row], most: int, rng: random.Random) -> list[Row]:
    """Of each task at most `most` of all pairs of a solved and a failed row: preferred and not, adjacent, with their signs.

    Raises:
        ValueError: no task has both.
    """
    found: list[Row] = []
    groups = by_task(rows)
    for group in groups.values():
        good, bad = [row for row in group if row.solved], [row for row in group if not row.solved]
        pairs = [(i, j) for i in range(len(good)) for j in range(len(bad))]
        for i, j in rng.sample(pairs, min(most, len(pairs))):
            found += [replace(good[i], sign=1), replace(bad[j], sign=-1)]
    if not found:
        both = sum(row.solved for row in rows)
        raise ValueError(
            f"no pair: no task of {len(groups)} has both a solved and a failed episode ({both} of {len(rows)} are solved; the log "
            f"begins with {named(rows) or 'nothing'}); collect several samples of each task (rollouts.collect --samples 8)"
        )
    return found


def step_pairs(rows: Sequence[Row], most: int, rng: random.Random) -> list[Row]:
    """Of each task at most `most` pairs of sibling steps: the same beginning, then one step of higher and one of lower credit.

    A row of a pair ends with its step; the beginning is the environment's (its tokens are not learnt). Rows need targets, as
    `rollouts.tree` writes them.

    Raises:
        ValueError: rows without targets, or no two rows of a task part after a common beginning with different credits.
    """
    credited_rows(rows)
    found: list[Row] = []
    for group in by_task(rows).values():
        siblings = _siblings(group)
        for better, worse in rng.sample(siblings, min(most, len(siblings))):
            found += [replace(better, sign=1), replace(worse, sign=-1)]
    if not found:
        raise ValueError(
            f"no pair of steps among {len(rows)} episodes: none of a task share a beginning and then part with different credits; "
            "python -m rollouts.tree writes logs whose episodes do"
        )
    return found


def _siblings(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """(better, worse) of all steps that follow the same tokens; a step that several rows took has the mean of its credits."""
    children: dict[tuple[int, ...], dict[tuple[int, ...], tuple[list[float], Row]]] = defaultdict(dict)
    for row in rows:
        assert row.target is not None
        for number, credit in enumerate(row.target):
            own = [p for p, step in enumerate(row.step) if step == number]
            if not own:
                continue  # a step that said nothing
            first, after = own[0], own[-1] + 1
            alone = Row(row.tokens[:after], (-1,) * first + (0,) * (after - first), (0.0,), task=row.task)
            children[row.tokens[:first]].setdefault(row.tokens[first:after], ([], alone))[0].append(credit)
    found = []
    for steps in children.values():
        ordered = sorted(((sum(credits_) / len(credits_), alone) for credits_, alone in steps.values()), key=lambda child: child[0])
        found += [(b[1], a[1]) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if b[0] > a[0]]
    return found


def signed(rows: Sequence[Row]) -> list[Row]:
    """All rows, +1 where solved and -1 where not."""
    return [replace(row, sign=1 if row.solved else -1) for row in rows]


def mismatched(rows: Sequence[Row]) -> list[Row]:
    """Each row's beginning with what the agent wrote in the next row (of another task, where there is one): KTO's reference rows.

    None is longer than the longest of the rows, which a model can read. A row that no other's words fit behind gives none.
    """
    found, longest, first = [], max(map(len, rows), default=0), [_first_own(row) for row in rows]
    own = [len(row) - mine for row, mine in zip(rows, first, strict=True)]
    for i, row in enumerate(rows):
        places = ((i + k) % len(rows) for k in range(1, len(rows)))
        others = [rows[j] for j in places if own[j] <= longest - first[i]]
        other = next((o for o in others if o.task != row.task), next((o for o in others if o.tokens != row.tokens), None))
        if other is None:
            continue
        mine, theirs = _first_own(row), _first_own(other)
        found.append(
            Row(
                row.tokens[:mine] + other.tokens[theirs:],
                row.step[:mine] + other.step[theirs:],
                other.reward,
                task=row.task,
                sign=0,
            )
        )
    return found


def _first_own(row: Row) -> int:
    return next(p for p, step in enumerate(row.step) if step >= 0)
