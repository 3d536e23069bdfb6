"""Which problems of one set are in another: the same, the same with other numbers, or nearly the same.

Texts are compared as `envs.problems.words`: without case, spaces and punctuation, signs of arithmetic kept.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from envs.problems import masked, words

KINDS = ("exact", "numbers", "near")
"""The same words; the same words but for their numbers; alike in their shingles."""

SHINGLE = 3
"""Words in a row that are compared as one."""

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """A problem of the one set, a problem of the other, how alike they are (0 to 1), and a key of `KINDS`."""

    train: int
    test: int
    similarity: float
    kind: str


def overlaps(
    train: Sequence[str],
    test: Sequence[str],
    threshold: float = 0.7,
    track: Callable[[Iterable[T]], Iterable[T]] = iter,
) -> list[Pair]:
    """Return the pairs of problems that overlap, the most alike first.

    Args:
        train: texts.
        test: texts; a pair holds the index of one of each.
        threshold: near duplicates have at least this Jaccard similarity (shingles in both / shingles in either).
        track: wraps the iteration over `test`, to show its progress.

    Raises ValueError for a threshold outside (0, 1]. A pair is of the first kind that fits, with the similarity of its
    shingles, so pairs of the kind "numbers" can be little alike.
    """
    alike = Alike(train, threshold)
    pairs = [
        Pair(place, number, similarity, kind)
        for number, question in enumerate(track(test))  # type: ignore[arg-type]
        for place, similarity, kind in alike.to(str(question))
    ]
    return sorted(pairs, key=lambda pair: (-pair.similarity, KINDS.index(pair.kind), pair.test, pair.train))


class Alike:
    """Texts, among which those that are like another one are found. Raises ValueError for a threshold outside (0, 1]."""

    def __init__(self, texts: Iterable[str], threshold: float = 0.7) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold}: wanted a similarity above 0 and up to 1")
        self.threshold = threshold
        found = [tuple(words(text)) for text in texts]
        self._index = _Index([shingles(text) for text in found])
        self._exact, self._numbers = _places(found), _places(map(masked, found))

    def to(self, text: str) -> Iterator[tuple[int, float, str]]:
        """Yield the place, the similarity and the kind (of `KINDS`, the first that fits) of each text that overlaps with `text`."""
        wanted = tuple(words(text))
        own = shingles(wanted)
        kinds = dict.fromkeys(self._exact.get(wanted, ()), "exact")
        for place in self._numbers.get(masked(wanted), ()):
            kinds.setdefault(place, "numbers")
        sets = self._index.sets
        for place in self._index.candidates(own, self.threshold):
            if place in kinds or jaccard(own, sets[place]) >= self.threshold:
                kinds.setdefault(place, "near")
        yield from ((place, jaccard(own, sets[place]), kind) for place, kind in kinds.items())


def shingles(text: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Return all runs of `SHINGLE` words of a text, or the whole of a text that is shorter."""
    return frozenset(tuple(text[i : i + SHINGLE]) for i in range(max(1, len(text) - SHINGLE + 1))) if text else frozenset()


def jaccard(a: frozenset[Hashable], b: frozenset[Hashable]) -> float:
    """Return |a and b| / |a or b|; 1 where both are empty."""
    return len(a & b) / len(a | b) if a or b else 1.0


def _places(texts: Iterable[tuple[str, ...]]) -> Mapping[tuple[str, ...], list[int]]:
    """Text -> where it stands; texts without a word are like nothing."""
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        if text:
            places[text].append(place)
    return dict(places)


class _Index:
    """Shingle -> the texts that hold it."""

    def __init__(self, sets: Sequence[frozenset[tuple[str, ...]]]) -> None:
        self.sets = sets
        self._holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, one in enumerate(sets):
            for shingle in one:
                self._holders[shingle].append(place)

    def candidates(self, own: frozenset[tuple[str, ...]], threshold: float) -> Iterator[int]:
        """Yield every text that shares at least the share `threshold` of the shingles `own`, and some others.

        Such a text misses at most n - ceil(t * n) of the n shingles, so it holds one of any n - ceil(t * n) + 1 of them:
        the rarest are looked up, and the long lists of "how many are" never.
        """
        needed = math.ceil(threshold * len(own))
        rarest = sorted(own, key=lambda shingle: len(self._holders.get(shingle, ())))[: len(own) - needed + 1]
        yield from Counter(place for shingle in rarest for place in self._holders.get(shingle, ()))
