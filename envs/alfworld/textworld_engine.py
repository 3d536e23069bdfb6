"""The reference engine: upstream's own rules, TextWorld's PddlEnv under alfworld's AlfredDemangler.

It is slow (about 20 steps a second) and, as upstream, evaluates the `{...}` expressions of a game's text grammar with
Python's `eval`: play only games that you trust.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from envs.alfworld.engine import Scene, Source, without_banner
from envs.alfworld.wording import WORDINGS, reword
from envs.hints import choose

# Every simulator holds a copy of the planner's library. Unloading one has crashed the process (dlclose beside PyTorch's
# threads), and loading without end would leak, so simulators that are done with are used again.
_IDLE: list[Any] = []


class TextWorldEngine:
    """Plays games through TextWorld. Importing alfworld and TextWorld (1-2 s) waits for the first reset."""

    def __init__(self, wording: str = "file") -> None:
        self._wording = choose("wording", wording, WORDINGS)
        self._env: Any = None  # alfworld's wrapper around TextWorld's PddlEnv
        self._loaded: tuple[Source, Hashable] | None = None

    def reset(self, source: Source) -> Scene:
        """Start a game. One that is already loaded and unchanged is not parsed again.

        Raises ValueError for what is not a game.
        """
        self._env = self._env or (_IDLE.pop() if _IDLE else _make_env())
        version = (source, source.version())
        with _translating_once():
            if version != self._loaded:
                self._loaded = None  # a load that fails must not leave the old game's name behind
                self._load(source)
                self._loaded = version
            return _scene(self._env.reset())

    def step(self, command: str) -> Scene:
        """Carry out a command, with surrounding whitespace ignored as upstream does."""
        state, _, _ = self._env.step(command)
        return _scene(state)

    def snapshot(self) -> Any:
        """Raises NotImplementedError: the planner's library keeps the state to itself."""
        raise NotImplementedError("engine='textworld' cannot save or restore a state: use engine='native'")

    def restore(self, source: Source, state: Any) -> Scene:
        """Raises NotImplementedError, as `snapshot`."""
        return self.snapshot()

    def close(self) -> None:
        """Leave the simulator to the next engine of this process."""
        if self._env is not None:
            _IDLE.append(self._env)
            self._env = self._loaded = None

    def _load(self, source: Source) -> None:
        try:
            self._env.load(reword(json.loads(source.read()), self._wording))
        # Three parsers, each with errors of its own; the planner's calls exit().
        except (Exception, SystemExit) as error:
            what = f"{type(error).__name__}: {str(error)[:200]}"
            raise ValueError(
                f"{source} is not an ALFWorld game ({what}): wanted a JSON object with pddl_domain, grammar and "
                "pddl_problem. A cut-off download looks like this; fetch the file again."
            ) from error


def _make_env() -> Any:
    with kept_environment():
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs import PddlEnv

    return AlfredDemangler(PddlEnv(textworld.EnvInfos(feedback=True, won=True, admissible_commands=True)))


def _scene(state: Any) -> Scene:
    return Scene(without_banner(state["feedback"]), list(state["admissible_commands"]), bool(state["won"]))


@contextmanager
def kept_environment() -> Iterator[None]:
    """Importing alfworld sets $ALFWORLD_DATA where it was unset; the user's environment stays as it was."""
    before = os.environ.get("ALFWORLD_DATA")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("ALFWORLD_DATA", None)


@functools.lru_cache(maxsize=8)
def _translate(domain: str, problem: str) -> Any:
    """Translate a problem for the planner (0.4-0.8 s) to its (task, SAS text): a pure function, so kept."""
    from fast_downward.interface import pddl2sas

    argv = sys.argv
    try:
        return pddl2sas(domain, problem)
    finally:
        sys.argv = argv  # pddl2sas overwrites it


@contextmanager
def _translating_once() -> Iterator[None]:
    """Let TextWorld translate a problem once; by itself it does so four times for one load and reset.

    The second kind of translation (optimize=True) serves upstream's planner only, which is never asked here.
    """
    import fast_downward

    original = fast_downward.pddl2sas
    fast_downward.pddl2sas = lambda domain, problem, verbose=False, optimize=False: _translate(domain, problem)
    try:
        yield
    finally:
        fast_downward.pddl2sas = original
