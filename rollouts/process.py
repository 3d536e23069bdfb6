"""Process scores: which steps of a failed episode were still on a way to success, by completing its prefixes.

    python -m rollouts.process rollouts.jsonl --agent RUN/sft --out scored.jsonl

DQO, section 5.5 and appendix A.1 (Liu et al. 2024, arXiv 2410.09302). Of a failed episode of n steps the first n - 1 are played
again and completed `--completions` times by the agent; where none of the completions is solved, the first n - 2, and so on. The
longest prefix with a solved completion is good, and so are its own prefixes, which are not completed any more. The score goes to
`Step.info["process_score"]`, and the number of solved completions from the state after a step, where it was looked for, to
`Step.info["process_solved"]`. All else is copied: rewards stay the environment's, an episode that ended by an error stays as it is.

The environment's limits hold for a completion as for any episode; a language model may take `--max-new-tokens` after the prefix.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import tyro
from msgspec.structs import replace

from agents.agent import Action, Agent
from agents.choices import ChoiceAgent
from agents.lm import LMAgent
from agents.sampling import Sampling
from agents.scripted import ExpertAgent, ReplayAgent
from envs.problem_env import ProblemEnv
from rollouts.cli import run
from rollouts.episodes import EpisodeKey, logged_actions, play
from rollouts.progress import EpisodeProgress, console
from rollouts.resolve import env_maker, parse_pairs, resolve_agent
from rollouts.trajectory import End, Header, LogError, LogWriter, Trajectory, read

SCORE, SOLVED = "process_score", "process_solved"
"""Keys of `Step.info`."""


@dataclass(frozen=True)
class Settings:
    """How prefixes are scored."""

    completions: int = 20
    """completions of each prefix"""
    score: Literal["fraction", "one"] = "fraction"
    """what a good step gets: 1/n in an episode of n steps (the paper's text), or 1 (its figure 4)"""
    seed: int = 0
    """another seed draws other completions"""

    def __post_init__(self) -> None:
        """Raises ValueError for a number of completions below 1."""
        if self.completions < 1:
            raise ValueError(f"--completions must be at least 1, got {self.completions}")

    def positive(self, steps: int) -> float:
        """The score of a good step in an episode of `steps` steps."""
        return 1 / steps if self.score == "fraction" else 1.0


@dataclass
class _Search:
    """The search for the longest prefix of a failed episode that some completion solves."""

    trajectory: Trajectory
    actions: Sequence[Action]
    settings: Settings
    length: int
    """steps of the prefix that is being completed"""
    ended: list[Trajectory] = field(default_factory=list)
    """completions of that prefix"""
    solved: dict[int, int] = field(default_factory=dict)
    """solved completions by the length of the prefix"""

    def completions(self) -> list[_Completion]:
        """The episodes to play for the prefix."""
        t, prefix = self.trajectory, tuple(self.actions[: self.length])
        unlisted = re.fullmatch(r"seed-(\d+)", t.task)
        index = int(unlisted[1]) if unlisted else 0
        return [_Completion(t.task, index, t.seed, prefix, self._stream(k), search=self) for k in range(self.settings.completions)]

    def add(self, completion: Trajectory) -> None:
        """Count a completion. Raises ValueError where its prefix did not go as it was logged."""
        if fault := _difference(self.trajectory, completion, self.length):
            raise ValueError(
                f"{self.trajectory.task} seed {self.trajectory.seed}: the environment does not repeat the first {self.length} "
                f"logged steps: {fault}. Is it the environment that the log's header names? --env-args says where its files lie now"
            )
        self.ended.append(completion)

    def conclude(self) -> bool:
        """Once all completions of the prefix are there: whether it is good, or was the last. Else the next is one step shorter.

        Raises:
            ValueError: every completion ended by an error, so that nothing is known of the prefix.
        """
        if all(completion.end is End.ERROR for completion in self.ended):
            raise ValueError(
                f"every completion of the first {self.length} steps of {self.trajectory.task} seed {self.trajectory.seed} ended by "
                f"an error; the first: {self.ended[0].final}"
            )
        solved = self.solved[self.length] = sum(completion.success for completion in self.ended)
        self.ended = []
        self.length -= not solved
        return bool(solved) or self.length == 0

    def scored(self) -> Trajectory:
        """The episode with what was found."""
        return with_scores(self.trajectory, self.length, self.settings, self.solved)

    def _stream(self, completion: int) -> int:
        name = f"{self.settings.seed}|{self.trajectory.seed}|{self.length}|{completion}"
        return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def _difference(logged: Trajectory, completion: Trajectory, length: int) -> str | None:
    """What went otherwise than it was logged in the first `length` steps of a completion, or in the observation after them."""
    played = completion.steps
    for number, (was, now) in enumerate(zip(logged.steps[: length + 1], played, strict=False)):
        if was.observation != now.observation:
            return f"before step {number + 1} it said {now.observation[:80]!r}, in the log {was.observation[:80]!r}"
        if number < length and was.reward != now.reward:
            return f"step {number + 1} got reward {now.reward}, in the log {was.reward}"
    # What raises at the agent's first action is no fault of the prefix.
    if len(played) < length or (len(played) == length and completion.end is not End.ERROR):
        return f"it ended after {len(played)} steps ({completion.final or completion.end})"
    return None


@dataclass(frozen=True, kw_only=True)
class _Completion(EpisodeKey):
    search: _Search


def with_scores(trajectory: Trajectory, good: int, settings: Settings, solved: dict[int, int] | None = None) -> Trajectory:
    """The episode with the positive score at its first `good` steps and 0 at the others.

    `solved[i]`: how many completions of the first i steps were solved.
    """
    positive, counts = settings.positive(max(len(trajectory.steps), 1)), solved or {}
    steps = []
    for number, step in enumerate(trajectory.steps, 1):
        found = {SCORE: positive if number <= good else 0.0} | ({SOLVED: counts[number]} if number in counts else {})
        steps.append(replace(step, info=step.info | found))
    return replace(trajectory, steps=tuple(steps))


def score(
    make: Callable[[], gym.Env],
    agent: Agent,
    trajectories: Iterable[Trajectory],
    settings: Settings = Settings(),
    parallel: int = 64,
    keep_tokens: bool = True,
) -> Iterator[Trajectory]:
    """Yield every episode with its scores, as soon as they are known; `parallel` completions are played at once.

    `keep_tokens`: the prefix is given to the agent with its sampled ids, which are those of this agent's tokenizer; else as text.

    Raises:
        ValueError: the environment does not repeat a logged prefix, or every completion of one ended by an error.
    """
    waiting: deque[_Completion] = deque()
    failed: list[Trajectory] = []
    for trajectory in trajectories:
        if trajectory.end is End.ERROR:
            yield trajectory
        elif trajectory.success or len(trajectory.steps) < 2:
            yield with_scores(trajectory, len(trajectory.steps) if trajectory.success else 0, settings)
        else:
            failed.append(trajectory)
    unbegun = iter(failed)

    def following() -> _Completion | None:
        if not waiting and (trajectory := next(unbegun, None)):
            actions = [action if keep_tokens else Action(action.text) for action in logged_actions(trajectory)]
            waiting.extend(_Search(trajectory, actions, settings, len(actions) - 1).completions())
        return waiting.popleft() if waiting else None

    for key, completion in play(make, agent, following, parallel):
        key.search.add(completion)
        if len(key.search.ended) < settings.completions:
            continue
        if key.search.conclude():
            yield key.search.scored()
        else:
            waiting.extend(key.search.completions())


def score_log(
    log: Path,
    out: Path,
    agent: Agent,
    completer: Header,
    settings: Settings = Settings(),
    env_args: dict[str, Any] | None = None,
    parallel: int = 64,
) -> list[Trajectory]:
    """Score a log into another one, going on with what is there; returns all scored episodes. Shows a progress bar.

    `completer` is the agent's header (its sampling and model); `env_args` replace arguments of the environment that the log names.

    Raises:
        ValueError: an agent that cannot complete, a log of several kinds of episodes, or what `env_maker`, `score`, `read` and
            `LogWriter` raise.
    """
    if parallel < 1:
        raise ValueError(f"--parallel must be at least 1, got {parallel}")
    header, trajectories = _source(log)
    make = env_maker(header.env_id, header.env_args | (env_args or {}))
    check_agent(agent, make, settings.completions, "completions of a prefix")
    how = asdict(settings) | {"agent": completer.agent, "sampling": completer.sampling, "model": completer.model}
    how |= {"env_args": env_args} if env_args else {}
    with LogWriter(out, replace(header, process=how)) as writer:
        found = _before(writer, trajectories)
        done = {(t.task, t.seed) for t in found}
        todo = [t for t in trajectories if (t.task, t.seed) not in done]
        solved = sum(t.success for t in found)
        with EpisodeProgress(f"scored by {agent.name}", len(trajectories), len(found), solved) as progress:
            for scored in score(make, agent, todo, settings, parallel, bool(header.model) and header.model == completer.model):
                writer.append(scored)
                found.append(scored)
                progress.update(scored)
    return found


def _source(path: Path) -> tuple[Header, list[Trajectory]]:
    """The header of a log and its episodes."""
    log = read(path)
    header = log.headers[0]
    if any(other != header for other in log.headers):
        raise LogError(f"{path} joins logs of different settings: score each, then join what was scored with cat")
    if header.process:
        raise LogError(f"{path} has process scores already: score the log that it was made from")
    (key, count), *_ = [*Counter((t.task, t.seed) for t in log.trajectories).most_common(1), (None, 0)]
    if count > 1:
        raise LogError(f"{path} has {count} episodes of (task, seed) {key}: score logs with the same episodes each for itself")
    return header, log.trajectories


def _before(writer: LogWriter, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """What an earlier process has scored of these episodes."""
    wanted = {(t.task, t.seed): [step.action for step in t.steps] for t in trajectories}
    found = [t for t in read(writer.path).trajectories if (t.task, t.seed) in wanted]
    for t in found:
        if [step.action for step in t.steps] != wanted[t.task, t.seed]:
            raise LogError(f"{writer.path} has another episode of {t.task} seed {t.seed} than the log: give another --out")
    return found


def check_agent(agent: Agent, make: Callable[[], gym.Env], count: int, what: str) -> None:
    """Refuse an agent that cannot go on from a prefix, or only in one way where several are asked for.

    `count` and `what` are asked for: 20, "completions of a prefix". Raises ValueError, with the reason.
    """
    why = None
    greedy = (isinstance(agent, LMAgent) and agent.sampling.temperature == 0) or (
        isinstance(agent, ChoiceAgent) and agent.temperature == 0
    )
    same = f"all {count} {what} would be the same" if count > 1 else None
    if isinstance(agent, ReplayAgent):
        why = "a log holds its own episodes only"
    elif greedy:
        why = same
    elif isinstance(agent, ExpertAgent):
        env = make()
        if isinstance(env.unwrapped, ProblemEnv):
            why = "the expert writes its worked solution, whatever was written before"
        elif not (agent.noise or agent.forget or agent.order == "random"):
            why = same
        env.close()
    if why:
        raise ValueError(f"{agent.name} cannot sample {what.split()[0]}: {why}; give a language model, with a temperature")


def _print_counts(found: Sequence[Trajectory]) -> None:
    failed = [t for t in found if not t.success and t.end is not End.ERROR]
    good = [sum(step.info[SCORE] > 0 for step in t.steps) for t in failed]
    steps, solved = sum(len(t.steps) for t in failed), sum(t.success for t in found)
    errors = len(found) - len(failed) - solved
    console.print(
        f"{len(found)} episodes: {solved} solved, {errors} ended by an error, {len(failed)} failed; of these "
        f"{sum(map(bool, good))} have good steps ({sum(good)} of {steps} steps)",
        highlight=False,
    )


@dataclass(frozen=True)
class Args:
    """Score the steps of logged episodes by completing their prefixes."""

    log: tyro.conf.Positional[Path]
    """the log; its header names the environment"""
    agent: str
    """who completes: a run's folder, a checkpoint, a GGUF file, a hub id, random or expert"""
    out: Path
    """the log with scores; an unfinished one is gone on with"""
    agent_args: tuple[str, ...] = ()
    """arguments of a scripted agent, as KEY=VALUE (see agents/scripted.py)"""
    env_args: tuple[str, ...] = ()
    """arguments of the environment that are other than the log says (where its files lie now), as KEY=VALUE"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    parallel: int = 64
    """completions played at once"""


def main(args: Args) -> None:
    """The command line."""
    agent, header = resolve_agent(args.agent, args.sampling, args.base, parse_pairs(args.agent_args, "--agent-args"))
    env_args = parse_pairs(args.env_args, "--env-args")
    _print_counts(score_log(args.log, args.out, agent, header, args.settings, env_args, args.parallel))


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
