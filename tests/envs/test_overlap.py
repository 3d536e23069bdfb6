"""Duplicates between two sets of problems."""

from __future__ import annotations

import random

import pytest

from envs.math_reason.overlap import Pair, jaccard, overlaps, shingles
from envs.problems import words

PLAIN = "Ann has 2 red apples and 3 green ones. How many has she?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What  IS $x+1$?", ["what", "is", "x", "+", "1"]),
        ("Ann's 10,000 two-digit nuts", ["ann", "s", "10000", "two", "digit", "nuts"]),
        (r"\frac{1}{2.5} of (3,4)", ["frac", "1", "2.5", "of", "3", "4"]),
        ("?!", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ("ann has 2 red apples, and 3 green ones; how many has she", "exact"),
        ("Ann has 7 red apples and 1,000 green ones. How many has she?", "numbers"),
        ("Ann has 2 red apples and 3 green ones. How many has she now?", "near"),
        ("Bob sells 2 blue books on Monday. How much does he earn?", None),
        ("What is 2+3?", None),
        ("", None),
    ],
)
def test_kinds(other: str, kind: str | None) -> None:
    pairs = overlaps(["Something else.", PLAIN], [other])
    assert [(pair.train, pair.test, pair.kind) for pair in pairs] == ([(1, 0, kind)] if kind else [])


def test_signs_of_arithmetic_are_no_punctuation() -> None:
    assert overlaps(["What is $5-3$?"], ["What is $5+3$?"]) == []


def test_similarity_by_hand() -> None:
    """Of a b c d | a b c e: the triples abc, bcd and abc, bce: one in both, three in either."""
    assert overlaps(["a b c d"], ["a b c e"], threshold=0.3) == [Pair(0, 0, 1 / 3, "near")]
    assert overlaps(["a b c d"], ["a b c e"], threshold=0.34) == []


def test_pairs_are_sorted_by_similarity() -> None:
    near = PLAIN.replace("she?", "she now?")
    assert [(pair.test, pair.kind) for pair in overlaps([PLAIN], [near, "x", PLAIN])] == [(2, "exact"), (0, "near")]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8, 1.0])
def test_the_index_loses_no_pair(threshold: float) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abc", k=rng.randint(1, 9))) for _ in range(120)]
    found = {(pair.train, pair.test) for pair in overlaps(texts, texts, threshold)}
    sets = [shingles(words(text)) for text in texts]
    wanted = {(i, j) for i, a in enumerate(sets) for j, b in enumerate(sets) if jaccard(a, b) >= threshold}
    assert found == wanted


@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_bad_thresholds(threshold: float) -> None:
    with pytest.raises(ValueError, match="wanted a similarity above 0"):
        overlaps([], [], threshold)
