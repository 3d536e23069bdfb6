"""What a command's user sees when it fails or is stopped."""

import subprocess
import sys

import pytest

from algorithms.faults import TrainingFault
from rollouts.cli import run


def fail(error: BaseException):
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("--lr must be above 0, got -1"), "ValueError: --lr must be above 0, got -1"),
        (KeyError("no checkpoint in [run]"), "KeyError: no checkpoint in [run]"),
        (
            FileNotFoundError(2, "No such file or directory", "demos.jsonl"),
            "FileNotFoundError: [Errno 2] No such file or directory: 'demos.jsonl'",
        ),
        (TrainingFault("oreo, step 3: loss is nan"), "TrainingFault: oreo, step 3: loss is nan"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(error, line, capsys):
    with pytest.raises(SystemExit) as end:
        run(fail(error))
    assert end.value.code == 2
    shown = capsys.readouterr()
    assert (shown.out + shown.err).strip() == line


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(AssertionError, match="never"):
        run(fail(AssertionError("never")))


def test_ctrl_c_says_that_the_same_command_goes_on(capsys):
    with pytest.raises(SystemExit) as end:
        run(fail(KeyboardInterrupt()))
    assert end.value.code == 130
    shown = capsys.readouterr()
    assert "the same command goes on" in " ".join((shown.out + shown.err).split())


@pytest.mark.parametrize("first", ["", "import transformers.utils.logging; "])
def test_a_command_that_loads_a_checkpoint_shows_no_bar_of_its_files(first: str) -> None:
    code = (
        f"{first}from rollouts.cli import run\n"
        "def command():\n"
        "    from transformers.utils.logging import is_progress_bar_enabled\n"
        "    print(is_progress_bar_enabled())\n"
        "run(command)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
