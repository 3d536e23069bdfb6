from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollouts.json_file import write_json


def test_what_is_written_is_read_and_folders_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"x": [1, None]})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": [1, None]}


def test_what_was_there_stays_where_the_new_cannot_be_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {1, 2})
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.json", "1\n")]
