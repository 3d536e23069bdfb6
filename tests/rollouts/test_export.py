"""The command lines of exporting and converting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rollouts import convert, export
from tests.rollouts.logs import maths_log


def test_the_command_lines_export_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = maths_log(tmp_path / "log.jsonl", 4)
    export.main(["trl-unpaired", str(log), "--out", str(tmp_path / "kto.jsonl")])
    convert.main(["trl", str(tmp_path / "kto.jsonl"), "--env", "math", "--cut", "lines", "--out", str(tmp_path / "back.jsonl")])
    said = capsys.readouterr().out
    assert f"{tmp_path / 'kto.jsonl'}: 8 rows" in said
    assert f"{tmp_path / 'back.jsonl'}: 8 episodes, " in said


@pytest.mark.parametrize("main", [export.main, convert.main])
def test_an_unknown_format_is_said_with_the_near_match(main: Callable[[Sequence[str]], None]) -> None:
    with pytest.raises(ValueError, match=r"format='parket' is not known: .*Did you mean 'parquet'\?"):
        main(["parket", "log.jsonl"])
