"""The console as a person has it: a scripted session on a real terminal presses every key. And what a pipe gets."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect", reason="needs a terminal of POSIX, and pexpect")

from rollouts.replay.keys import BINDINGS  # noqa: E402
from rollouts.trajectory import read  # noqa: E402
from tests.rollouts.logs import maths_log  # noqa: E402
from tests.rollouts.replay.sessions import episode, log  # noqa: E402

SENT = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "enter": "\r",
    "space": " ",
    "escape": "\x1b",
    "backspace": "\x7f",
    "ctrl+c": "\x03",
    "ctrl+d": "\x04",
}
# A key, or "text to type", and what is then on the screen. Twelve problems, each won with seed 0 and lost with seed 1.
SCRIPT: list[tuple[str, str]] = [
    ("down", "replay 2/24"),
    ("j", "replay 3/24"),
    ("up", "replay 2/24"),
    ("k", "replay 1/24"),
    ("pagedown", r"replay (1\d|2[0-4])/24"),
    ("pageup", "replay 1/24"),
    ("space", r"replay (1\d|2[0-4])/24"),
    ("-", "replay 1/24"),
    ("end", "replay 24/24"),
    ("home", "replay 1/24"),
    ("G", "replay 24/24"),
    ("g", "replay 1/24"),
    ("?", "the keys of this screen .episodes."),
    ("?", "replay 1/24"),
    ("w", "12 of 24 episodes: won"),
    ("y", "12 of 24 episodes: won, arithmetic"),
    ("x", "24 of 24 episodes: all"),
    ("o", "longest first"),
    ("o", "no values to order by"),
    ("l", "steps .5, 5-"),
    ("9-", "9-"),
    ("enter", "0 of 24 episodes: 9- steps"),
    ("x", "24 of 24 episodes: all"),
    ("/", "a part of the task"),
    ("3", "number: 3"),
    ("enter", "replay 4/24"),
    ("enter", "number 3, 4 of 24 +lost"),
    ("n", "number 4, 5 of 24 +won"),
    ("p", "number 3, 4 of 24"),
    ("right", "number 4, 5 of 24"),
    ("left", "number 3, 4 of 24"),
    ("f", "--critic RUN"),
    ("h", "values of tokens: off"),
    ("i", "solution:"),
    ("v", "true: . steps played again"),
    ("a", "branch 1 at step 1.*has ended: won"),
    ("s", "saved in .*branches.jsonl"),
    ("backspace", "replay 4/24"),
    ("enter", "number 3, 4 of 24"),
    ("t", "step 1, another action"),
    ("One and 1", "One and 1"),
    ("enter", "what now"),
    ("A", "branch 2 at step 1.*has ended"),
    ("c", "side by side"),
    ("d", "side by side"),
    ("q", "branch 2"),
    ("escape", "replay 4/24"),
]
QUITS = ["Q", "ctrl+c", "ctrl+d", "eof"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return maths_log(tmp_path / "log.jsonl")


def console(path: Path, *arguments: str, size: tuple[int, int] = (24, 80)):  # type: ignore[no-untyped-def]
    """The console on a terminal of 24 rows and 80 columns, without colours."""
    environment = os.environ | {"TERM": "xterm-256color", "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    command = ["-m", "rollouts.replay", str(path), *arguments]
    return pexpect.spawn(
        sys.executable,
        command,
        cwd=path.parent,
        env=environment,
        dimensions=size,
        encoding="utf-8",
        timeout=20,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def wait(child, shown: str) -> None:  # type: ignore[no-untyped-def]
    """Wait for a whole screen with this on it; colours and weights aside."""
    wanted = re.compile(f"{shown}.*?(q back|tab completes|any key goes back|q quits)", re.DOTALL)
    said = ""
    while not wanted.search(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)):
        try:
            said += child.read_nonblocking(65536, timeout=30)
        except (pexpect.TIMEOUT, pexpect.EOF):
            pytest.fail(f"{shown!r} is not on the screen: {said[-3000:]}")


def test_every_key_is_in_the_script() -> None:
    pressed = {key for key, _ in SCRIPT} | set(QUITS)
    assert {key for each in BINDINGS for key in each.keys} <= pressed


def test_a_session(path: Path) -> None:
    child = console(path, "--agent", "expert")
    wait(child, "replay 1/24")
    assert not termios.tcgetattr(child.child_fd)[3] & termios.ICANON
    for key, shown in SCRIPT:
        child.send(SENT.get(key, key))
        wait(child, shown)
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert [t.agent for t in read(path.parent / "branches.jsonl").trajectories] == ["branch of expert"]


@pytest.mark.parametrize("key", QUITS)
def test_ways_out_leave_the_terminal_as_it_was(path: Path, key: str) -> None:
    child = console(path)
    wait(child, "replay 1/24")
    if key == "eof":
        child.close(force=False)  # the other end of the terminal goes away
    else:
        child.send(SENT.get(key, key))
        child.expect(re.escape("\x1b[?1049l"))  # the screen from before is back
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
    assert not child.isalive()


def test_a_terminal_too_small_says_so_until_it_is_enlarged(path: Path) -> None:
    child = console(path, size=(20, 60))
    wait(child, "replay needs 80 columns and 24 rows")
    child.setwinsize(24, 80)
    wait(child, "replay 1/24")
    child.setwinsize(10, 100)
    wait(child, "here are 100 and 10")
    child.send("q")
    child.expect(pexpect.EOF)


def piped(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rollouts.replay", str(path), *arguments]
    environment = os.environ | {"COLUMNS": "60", "FORCE_COLOR": "", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=path.parent)


def test_a_pipe_gets_the_list_as_plain_text(path: Path) -> None:
    done = piped(path, "--result", "lost")
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 13)
    assert lines[1].split()[:2] == ["1", "lost,"] and "\x1b" not in done.stdout


@pytest.mark.parametrize("arguments", [("--episode", "1"), ("--task", "TASK", "--seed", "1")])
def test_a_pipe_gets_one_episode_whole(path: Path, arguments: tuple[str, ...]) -> None:
    task = read(path).trajectories[0].task
    done = piped(path, *(task if each == "TASK" else each for each in arguments))
    assert done.returncode == 0, done.stderr
    assert "number 1, 2 of 24  lost" in done.stdout and "#### 0.5" in done.stdout and "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--episode", "24"), "has episodes 0 to 23"),
        (("--task", "none"), "has no episode of task 'none'"),
        (("--critic", "none"), "FileNotFoundError"),
        (("--steps", "many"), "such as 5, 5-, -9 or 5-9"),
        (("--kind", "arithmetik"), "Did you mean 'arithmetic"),
        (("--seed", "1"), "--seed 1 is of the episode that --task names"),
        (("--result", "lost", "--episode", "0"), "none of the 12 listed episodes has '0'"),
    ],
)
def test_what_is_not_there_is_one_line(path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = piped(path, *arguments)
    said = done.stdout + done.stderr
    assert done.returncode == 2 and message in said and "Traceback" not in said


def test_an_empty_log_is_one_line(tmp_path: Path) -> None:
    done = piped(log(tmp_path / "log.jsonl"))
    assert done.returncode == 2 and "no episode yet" in done.stdout + done.stderr


def test_verify_is_for_scripts(tmp_path: Path, path: Path) -> None:
    assert piped(path, "--verify").returncode == 0
    untrue = piped(log(tmp_path / "untrue.jsonl", episode("arithmetic-d2/train/000000", "a\n")), "--verify")
    assert untrue.returncode == 1 and "step 1, observation: logged 'problem'" in untrue.stdout
