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
import selectors
import signal
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


class _Died(Exception):
    """A worker ended or was ended; `timeout` where that was by its limits."""

    def __init__(self, timeout: bool) -> None:
        self.timeout = timeout


class _Worker:
    """One process and its two pipes."""

    def __init__(self) -> None:
        # The script imports nothing of this package, and -P keeps whatever lies in its folder or here from being imported.
        command = [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONHASHSEED": "0"},
            )
        except (OSError, TypeError) as error:
            raise WorkerError(f"the grading worker cannot be started ({error}): wanted to run {command}") from error
        try:
            self.read(START_LIMIT)  # it says that it is ready
        except BaseException as error:
            status = self.process.poll()
            self.kill()
            if not isinstance(error, _Died):
                raise
            why = f"in {START_LIMIT:g} seconds" if status is None else f"and ended with status {status}"
            raise WorkerError(
                f"the grading worker did not start {why}: `{' '.join(map(str, command))} < /dev/null` shows what it says; "
                "`pip install math-verify` if that is missing"
            ) from None

    def ask(self, *question: object) -> object:
        """Return the answer. Raises _Died where there is none."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise _Died(timeout=False) from error
        return self.read(WALL_LIMIT)

    def read(self, seconds: float) -> object:
        """Return the next line that the worker writes, as JSON."""
        assert self.process.stdout
        deadline, line = time.monotonic() + seconds, b""
        with selectors.DefaultSelector() as selector:  # select() itself cannot wait on descriptors above 1,023
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise _Died(timeout=True)
                part = os.read(self.process.stdout.fileno(), 65536)
                if not part:
                    raise _Died(timeout=self.process.wait() in _LIMIT_STATUSES)
                line += part
        return json.loads(line)

    def kill(self) -> None:
        """End the process, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self.drop()

    def drop(self) -> None:
        """Close this process's ends of the pipes; the worker then ends by itself."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()


_LIMIT_STATUSES = {-getattr(signal, name) for name in ("SIGPROF", "SIGKILL", "SIGXCPU", "SIGSEGV") if hasattr(signal, name)}
"""How a worker ends at its limits: the clock's signal, the kernel short of memory, its stack."""


class _Pool:
    """All workers, the idle ones among them, and leave to start as many as MAX_WORKERS."""

    def __init__(self) -> None:
        self.workers: set[_Worker] = set()
        self.idle: list[_Worker] = []
        self.lock = threading.Lock()
        self.places = threading.Semaphore(MAX_WORKERS)

    def ask(self, judge: str, *texts: str) -> Symbolic:
        """Ask a worker; one that died for a reason of its own is replaced once."""
        for last in (False, True):
            try:
                answer = self._answer(judge, *texts)
            except _Died as death:
                if death.timeout or last:
                    return Symbolic.TIMEOUT
            else:
                return Symbolic.UNREAD if answer is None else Symbolic.SAME if answer else Symbolic.DIFFERENT
        raise AssertionError("the second try returns")

    def _answer(self, *question: str) -> object:
        with self.places:
            worker = self._take()
            try:
                answer = worker.ask(question[0], CPU_LIMIT, *question[1:])
                if answer == "memory":  # what it keeps for later may be all that it may have
                    raise _Died(timeout=True)
            except BaseException:  # also interrupted between question and answer: the next answer would be this one
                self._forget(worker)
                raise
            with self.lock:
                if worker in self.workers:  # not closed meanwhile
                    self.idle.append(worker)
            return answer

    def _take(self) -> _Worker:
        with self.lock:
            while self.idle:
                if (worker := self.idle.pop()).process.poll() is None:
                    return worker
                self.workers.discard(worker)
        worker = _Worker()
        with self.lock:
            self.workers.add(worker)
        return worker

    def _forget(self, worker: _Worker) -> None:
        with self.lock:
            self.workers.discard(worker)
        worker.kill()

    def close(self) -> None:
        """End all workers, those at work too."""
        with self.lock:
            workers, idle, self.workers, self.idle = self.workers, self.idle, set(), []
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.wait()
        for worker in idle:  # the pipes of others are their askers' to close: who waits on one that another closed is not woken
            worker.drop()

    def after_fork(self) -> None:
        """In a forked child: the workers are the parent's; only the pipes are copies."""
        for worker in self.workers:
            worker.drop()
        self.__init__()


_POOL = _Pool()
atexit.register(_POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.after_fork)
