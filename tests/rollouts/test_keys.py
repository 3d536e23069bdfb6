from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rollouts.keys import Keys, digest

keys = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.integers(-(2**53), 2**53)))


@given(keys, keys)
def test_a_set_holds_what_was_put_in_and_nothing_else(there: list[tuple[str, int]], others: list[tuple[str, int]]) -> None:
    made = Keys(iter(there))
    assert len(made) == len(set(there))
    assert all(key in made for key in there)
    assert [key in made for key in others] == [key in set(there) for key in others]


def test_another_process_has_the_same_digests() -> None:
    """Indices beside logs hold them."""
    code = "from rollouts.keys import digest; print(digest('a task', 3))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert int(done.stdout) == digest("a task", 3) == 15472844060559620789
