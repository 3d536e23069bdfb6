"""Which episodes there are, in little memory: their keys (task, seed), and what was done in them, as digests of 64 bits.

Of a million episodes, two have one digest with a probability of 3e-8.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


def digest(task: str, seed: int) -> int:
    """What stands for a key: 64 bits, the same in every process."""
    return int.from_bytes(blake2b(f"{seed}:{task}".encode(), digest_size=8).digest(), "little")


def digest_texts(*texts: str) -> int:
    """What stands for a sequence of texts: 64 bits, the same in every process."""
    found = blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode()
        found.update(len(encoded).to_bytes(8, "little"))  # so that ("a", "b") is not ("ab",)
        found.update(encoded)
    return int.from_bytes(found.digest(), "little")


class Keys:
    """A set of keys, made once; 8 bytes each."""

    def __init__(self, keys: Iterable[tuple[str, int]] = ()) -> None:
        self._digests = np.unique(np.asarray(array("Q", (digest(*key) for key in keys)), np.uint64))

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, key: tuple[str, int]) -> bool:
        wanted = np.uint64(digest(*key))
        place = int(np.searchsorted(self._digests, wanted))
        return place < len(self) and self._digests[place] == wanted
