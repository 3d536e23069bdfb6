"""Computer algebra (math-verify, sympy) in worker processes that can be killed.

Nothing here uses signals or `multiprocessing`, so it works from any thread, from daemonic workers of vector environments, and
after a fork: a process that is forked starts workers of its own. A question is limited in processor time by the worker
itself, so that a busy machine does not change what is answered, and in wall-clock time here, as the backstop.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from enum import StrEnum
from pathlib import Path

from envs.grading.limits import too_large

CPU_LIMIT = 5.0
"""Seconds of processor time for one question."""
WALL_LIMIT = 60.0
"""Seconds until a worker that does not answer is killed, whatever it waits for."""
START_LIMIT = 120.0
"""Seconds that a worker may take to load its libraries."""
MAX_WORKERS = 4
"""Workers of one process; more threads than this wait for each other."""


class Symbolic(StrEnum):
    """What the computer algebra says."""

    SAME = "same"
    DIFFERENT = "different"
    UNREAD = "unread"
    """it could not read one of the two"""
    TOO_LARGE = "too large"
    """refused by size, before any clock"""
    TIMEOUT = "timeout"
    """ended by the limit of time or memory"""


class WorkerError(RuntimeError):
    """A worker could not be started at all."""


def compare(got: str, expected: str, judge: str = "same") -> Symbolic:
    """Ask whether two answers (LaTeX) are the same; `judge` is one of those in `envs.grading.worker`.

    Raises WorkerError where no worker can be started (math-verify is not installed, no processes are allowed).
    """
    if too_large(got) or too_large(expected):
        return Symbolic.TOO_LARGE
    return _POOL.ask(judge, got, expected)


def close() -> None:
    """End this process's workers. The next question starts new ones."""
    _POOL.close()


class _Worker:
    """One process and its two pipes."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "envs.grading.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"},
        )
        try:
            self.read(START_LIMIT)  # it says that it is ready
        except EOFError:
            self.kill()
            raise WorkerError(
                f"the grading worker did not start (exit status {self.process.returncode}): "
                f"`{sys.executable} -m envs.grading.worker < /dev/null` shows why; `pip install math-verify` if it is missing"
            ) from None

    def ask(self, *question: object) -> object:
        """Return the answer; raise EOFError where the process ended or did not answer in time."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise EOFError from error
        return self.read(WALL_LIMIT)

    def read(self, seconds: float) -> object:
        """Return the next line that the worker writes, as JSON."""
        assert self.process.stdout
        descriptor = self.process.stdout.fileno()
        deadline, line = time.monotonic() + seconds, b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(descriptor, 65536) if ready else b""
            if not part:  # the end of the file, or of the time
                if line or not ready:
                    self.kill()
                raise EOFError
            line += part
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.drop()

    def drop(self) -> None:
        """Close this process's ends of the pipes; the worker then ends by itself."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()


class _Pool:
    """Idle workers, and leave to start as many as MAX_WORKERS."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self.lock = threading.Lock()
        self.places = threading.Semaphore(MAX_WORKERS)

    def ask(self, judge: str, *texts: str) -> Symbolic:
        with self.places:
            with self.lock:
                worker = self.idle.pop() if self.idle else None
            if worker is None or worker.process.poll() is not None:
                worker = _Worker()
            try:
                answer = worker.ask(judge, CPU_LIMIT, *texts)
            except EOFError:
                worker.kill()
                return Symbolic.TIMEOUT
            except BaseException:  # interrupted between question and answer: the next answer would be this one
                worker.kill()
                raise
            with self.lock:
                self.idle.append(worker)
        if answer == "memory":
            return Symbolic.TIMEOUT
        return Symbolic.UNREAD if answer is None else Symbolic.SAME if answer else Symbolic.DIFFERENT

    def close(self) -> None:
        with self.lock:
            idle, self.idle = self.idle, []
        for worker in idle:
            worker.kill()

    def after_fork(self) -> None:
        """In a forked child: the workers are the parent's, and so are those in use; only the pipes are copies."""
        for worker in self.idle:
            worker.drop()
        self.__init__()


_POOL = _Pool()
atexit.register(_POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.after_fork)
