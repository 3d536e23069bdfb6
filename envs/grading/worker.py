"""The computer algebra process: answers questions of `envs.grading.symbolic` on its standard input, a JSON list a line.

It limits itself: the kernel ends it when one question takes more than its processor time, or when it asks for more memory
than it may have. Whoever started it sees that it is gone and starts another.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, cast

MAX_MEMORY = 2 * 2**30
"""Bytes of address space."""


def main() -> None:
    """Answer questions until the input ends."""
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked
    judges = _judges()
    _limit_memory()
    _say(answers, "ready")
    for line in sys.stdin:
        name, seconds, *arguments = json.loads(line)
        _limit_time(seconds)
        try:
            answer = judges[name](*arguments)
        except MemoryError:
            answer = "memory"
        except Exception:  # a parser of arbitrary text may raise anything; not understood is not the same
            answer = None
        _limit_time(0)
        if _was_short_of_memory():  # the libraries catch MemoryError here and there, and answer as if nothing had been
            answer = "memory"
        _say(answers, answer)


def _say(answers: Any, answer: object) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system: then the clock alone limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))


def _was_short_of_memory() -> bool:
    with contextlib.suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak > 0.8 * MAX_MEMORY
    return False


def _limit_time(seconds: float) -> None:
    """Let the kernel end this process after so much processor time; 0 takes the limit away."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF's default action ends the process, even within a C function


def _judges() -> dict[str, Callable[..., bool | None]]:
    logging.disable(logging.CRITICAL)
    from latex2sympy2_extended import latex2sympy
    from math_verify import parse, verify
    from sympy import N, simplify
    from sympy.core.random import seed

    def same(got: str, expected: str) -> bool | None:
        """math-verify's verdict, None where it reads one of the two not at all."""
        seed(0)  # sympy tries random numbers
        sides = [parse(f"\\boxed{{{text}}}", parsing_timeout=None, fallback_mode="no_fallback") for text in (expected, got)]  # type: ignore[arg-type]
        return verify(sides[0], sides[1], timeout_seconds=None) if all(sides) else None

    def simplifies(got: str, expected: str) -> bool:
        """The two published checkers' last resort: the difference simplifies to 0, or is less than 0.001."""
        seed(0)
        a, b = cast(list[Any], [latex2sympy(text) for text in (got, expected)])
        if a == b or simplify(a - b) == 0:
            return True
        return bool(abs(N(a) - N(b)) < 1e-3)

    return {"same": same, "simplifies": simplifies}


if __name__ == "__main__":
    main()
