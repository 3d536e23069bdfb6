"""The computer algebra processes: from threads, daemons and forks, with limits that hold, and none left behind."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from envs.grading import Outcome, grade, symbolic
from envs.grading.symbolic import Symbolic, WorkerError, compare

# What the own rules leave open: they differ only where x is negative.
OPEN = (r"\boxed{\sqrt{x^2}}", r"\boxed{x}")
SLOW = (r"\int_0^{\infty} e^{-x^2}\sin(x^x) dx", "7")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Every test starts without workers, and leaves none."""
    symbolic.close()
    yield
    symbolic.close()


def workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "worker.py" in " ".join(p.cmdline())]


def test_what_it_says() -> None:
    assert compare(r"\sin^2 x + \cos^2 x", "1") is Symbolic.SAME
    assert compare("x", "y") is Symbolic.DIFFERENT
    assert compare("???", "7") is Symbolic.UNREAD
    assert compare("9^{9^{9}}", "7") is Symbolic.TOO_LARGE
    assert len(workers()) == 1  # one after the other needs no second


def test_the_clock_ends_a_question_and_the_next_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "CPU_LIMIT", 0.5)
    assert compare(*SLOW) is Symbolic.TIMEOUT
    assert workers() == []
    assert compare("x", "x") is Symbolic.SAME


def test_a_time_out_is_an_outcome_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "CPU_LIMIT", 0.5)
    result = grade(rf"\boxed{{{SLOW[0]}}}", SLOW[1])
    assert (result.outcome, result.rule) == (Outcome.TIMEOUT, "time or memory limit")


def test_the_wall_clock_is_the_backstop(monkeypatch: pytest.MonkeyPatch) -> None:
    compare("x", "x")
    workers()[0].send_signal(signal.SIGSTOP)  # takes no processor time at all
    monkeypatch.setattr(symbolic, "WALL_LIMIT", 0.5)
    start = time.monotonic()
    assert compare("x", "x") is Symbolic.TIMEOUT
    assert time.monotonic() - start < 10 and workers() == []


def test_a_killed_worker_is_replaced() -> None:
    compare("x", "x")
    (worker,) = workers()
    worker.kill()
    symbolic._POOL.idle[0].process.wait()
    assert compare("x", "x") is Symbolic.SAME
    assert worker not in workers()


def test_memory_is_limited() -> None:
    """A worker that asks for more than its share is told no, and so are we."""
    code = "from envs.grading import worker; worker._limit_memory(); bytearray(3 * 2**30)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MemoryError" in result.stderr


def test_from_many_threads_at_once() -> None:
    questions = [(f"\\boxed{{\\sqrt{{x^2}}+{i % 3}}}", rf"\boxed{{x+{i % 2}}}") for i in range(24)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda q: grade(*q).outcome, questions))
    assert len(workers()) <= symbolic.MAX_WORKERS
    assert together == [grade(*q).outcome for q in questions]


def test_off_the_main_thread_no_signal_is_needed() -> None:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(grade(*OPEN).outcome))
    thread.start()
    thread.join()
    assert outcomes == [Outcome.WRONG]


def _grade_there(queue: Any) -> None:
    queue.put((str(grade(*OPEN).outcome), os.getpid(), [p.ppid() for p in workers()]))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_from_daemonic_processes(method: str) -> None:
    """As gymnasium's async vector environments are; a fork must not talk to the parent's worker."""
    if method == "fork":
        compare("x", "x")
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_grade_there, args=(queue,), daemon=True)
    process.start()
    outcome, pid, parents = queue.get(timeout=60)
    process.join()
    assert outcome == "wrong" and parents == [pid]
    assert compare("x", "x") is Symbolic.SAME


def test_no_process_is_left_when_this_one_is_killed(tmp_path: Path) -> None:
    code = "import os, time; from envs.grading.symbolic import compare; compare('x', 'x'); print('up', flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(symbolic.__file__).parents[2])
    assert parent.stdout and parent.stdout.readline() == b"up\n"
    children = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert len(children) == 1 and alive == []


def test_a_package_of_the_same_name_in_the_working_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("envs", "json", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run!')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert compare("x", "x") is Symbolic.SAME


def test_many_open_files_are_no_hindrance() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] < 1300:
        pytest.skip(f"no more than {limit[1]} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 1300), limit[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert compare("x", "x") is Symbolic.SAME
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_close_ends_a_worker_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = symbolic._Worker.read, threading.Event()

    def reading(worker: symbolic._Worker, seconds: float) -> object:
        if seconds == symbolic.WALL_LIMIT:  # the question has been written, and its answer is waited for
            asked.set()
        return read(worker, seconds)

    monkeypatch.setattr(symbolic._Worker, "read", reading)
    thread = threading.Thread(target=lambda: compare(*SLOW))
    thread.start()
    assert asked.wait(120)
    symbolic.close()
    thread.join(30)
    assert not thread.is_alive() and workers() == []


def test_a_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match=r"did not start and ended with status 1.*pip install math-verify"):
        compare("x", "y")
    for executable in (None, "", "/no/such/file"):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(WorkerError, match="cannot be started"):
            compare("x", "y")
