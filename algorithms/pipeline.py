"""The main job: expert demonstrations -> SFT -> rollouts -> the learner -> evaluation, in one run directory.

config.json           what was asked for; `checkpoint` names the final model
demos.jsonl           expert episodes (never counted as the agent's)
init/                 the model that SFT starts from
sft/, oreo/, ...      checkpoints; beside them their metrics (jsonl) and tracker files
rollouts.jsonl        the SFT agent's own episodes, or tree.jsonl: paths of its searches, for learners that need credits of steps
rollouts-2.jsonl      those of the model of the first round, from which oreo-2/ is trained; and so on
evaluation/           a log for each model and split
results.json          the last table
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from agents import checkpoint
from agents.sampling import Sampling
from algorithms.evaluation import evaluation_log, evaluation_rows, report, search_rows
from algorithms.method import Method
from algorithms.presets import Work
from algorithms.train import Start, held_out_tasks, start_of, train, train_args
from algorithms.training import Training
from algorithms.validation import Validation
from rollouts.collect import collect_log
from rollouts.json_file import write_json
from rollouts.progress import console
from rollouts.resolve import env_maker, resolve_agent
from rollouts.searching import SearchArgs, searching_agent, unsearchable
from rollouts.stats import Tally, print_summary
from rollouts.trajectory import Log, Trajectory, read
from rollouts.tree import grow_log, tree_table

APART = 1000
"""between the seeds of a run's rounds"""


@dataclass
class Pipeline:
    """One run of the main job. Every stage leaves its result in `out` and is skipped where that is there."""

    method: Method
    config: Any
    trainings: dict[str, Training]
    env: str
    work: Work
    model: str
    out: Path
    seed: int = 0
    base: str | None = None
    rounds: int = 1
    keep_reference: bool = False
    valid: Validation = field(default_factory=Validation)

    def run(self) -> dict[str, Any]:
        """All stages; returns (and writes to results.json) success with intervals, or nothing where no task is evaluated on.

        Raises:
            ValueError: the run directory holds another run, several processes were started, or rounds of what has none.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError("the pipeline plays episodes in one process; to train in several, give each stage its log with --data")
        if self.rounds < 1 or (self.rounds > 1 and self.method.after is None):
            raise ValueError(f"--rounds must be at least 1, and 1 for {self.method.name} on demonstrations: got {self.rounds}")
        self._claim()
        self._say("demonstrations", f"the expert plays {self.work.demos} training tasks")
        demos = self._collect("expert", "demos.jsonl", train_args(self.work), self.work.demos)
        print_summary(Tally(demos), "expert demonstrations")
        names = ["init"]
        first = self.method.after or self.method
        self._say(first.name, "trains init on the demonstrations")
        self._train(first, self._log("demos.jsonl", demos), Start(str(self._start(demos)), self.base), first.name)
        names.append(first.name)
        for number in range(1, self.rounds + 1) if self.method.after else ():
            names.append(self._round(number, names[-1], demos))
        return self._evaluate(names) if self.work.eval_tasks else {}

    def _round(self, number: int, before: str, demos: list[Trajectory]) -> str:
        """Collect with the last model and train on what it did; the new model's name.

        The critic goes on from the last round's where it can: V of a policy a little better is a little higher.
        """
        data, name = self._data(number, before, demos), _numbered(self.method.name, number)
        self._say(name, f"trains {before} on its own episodes")
        assert self.method.after is not None
        later = number > 1
        start = Start(
            str(self.out / before),
            self.base,
            reference=str(self.out / self.method.after.name) if later and self.keep_reference and self.method.reference else None,
            critic=str(self.out / before) if later and self._critic_goes_on else None,
        )
        self._train(self.method, data, start, name)
        write_json(self.out / "config.json", json.loads((self.out / "config.json").read_text()) | {"checkpoint": name})
        return name

    @property
    def _critic_goes_on(self) -> bool:
        """Not an adapter: the next round's base has the last policy merged in, and V of it would be another."""
        return self.method.value and self.trainings[self.method.name].critic != "lora"

    def _say(self, stage: str, what: str) -> None:
        console.rule(f"{stage}: {what}", align="left")

    def _claim(self) -> None:
        config = {
            "env": self.env, "model": self.model,
            "seed": self.seed, "settings": asdict(self.config), "work": asdict(self.work),
            "training": {name: asdict(training) for name, training in self.trainings.items()},
            "keep_reference": self.keep_reference, "valid": asdict(self.valid),
        }  # fmt: skip
        # More rounds of the same run are no other run.
        defaults = {
            "settings": asdict(self.method.config()),
            "training": {name: asdict(Training()) for name in self.trainings},
            "work": {"decide": asdict(self.work.decide)},
        }
        claim(self.out, config, {"rounds": self.rounds, "checkpoint": self.method.name}, defaults)

    def _collect(
        self,
        agent: str,
        log: str,
        env_args: dict[str, Any],
        tasks: int,
        samples: int = 1,
        temperature: float = 1.0,
        number: int = 1,
        search: SearchArgs | None = None,
    ) -> list[Trajectory]:
        sampling = Sampling(temperature=temperature, max_new_tokens=self.work.action_tokens)
        if search is None:
            player, header = resolve_agent(agent, sampling, self.base, self.work.expert_args if agent == "expert" else None)
        else:
            player, header = searching_agent(agent, sampling, search, env_maker(self.env, env_args), self.base)
        seed, parallel = self._stream(number), self.work.parallel
        return list(collect_log(self.env, env_args, player, header, self.out / log, tasks * samples, samples, seed, parallel))

    def _stream(self, number: int) -> int:
        """The seed of a round's samples: by the same one, a model that has hardly changed would repeat the round before."""
        return self.seed + (number - 1) * APART

    def _start(self, demos: Sequence[Trajectory]) -> Path:
        folder = start_of(self.model, demos, self.seed, self.out / "init", self.work.tiny)
        start = checkpoint.load_policy(folder, self.base)
        size = sum(p.numel() for p in start.lm.parameters())
        console.print(f"model: {self.model}, {size / 1e6:.1f} million parameters, {len(start.tokenizer)} tokens")
        return folder

    def _train(self, method: Method, data: Log, start: Start, name: str) -> None:
        folder = self.out / name
        if checkpoint.is_checkpoint(folder):
            console.print("done before")
            return
        own = method is self.method
        config, valid = (self.config, self.valid) if own else (method.config(), Validation())
        shown = [data, read(self.out / "demos.jsonl")] if valid.every else []
        held_out = held_out_tasks(valid, self.env, self.work, self.seed, {t.task for log in shown for t in log.trajectories})
        policy = checkpoint.load_policy(start.model, self.base)
        train(method, config, self.trainings[method.name], data, policy, start, folder, self.seed, held_out)

    def _log(self, file: str, trajectories: list[Trajectory]) -> Log:
        """Some of a log's episodes, with its headers."""
        return Log(read(self.out / file).headers, trajectories)

    def _data(self, number: int, name: str, demos: list[Trajectory]) -> Log:
        """What a model does on the training tasks: its episodes, or the paths of its trees."""
        return self._trees(number, name) if self.method.trees else self._rollouts(number, name, demos)

    def _rollouts(self, number: int, name: str, demos: list[Trajectory]) -> Log:
        log = _numbered("rollouts", number)
        self._say(log, f"{name} plays {self.work.tasks} training tasks {self.work.samples} times")
        model, args = str(self.out / name), train_args(self.work)
        found = self._collect(model, f"{log}.jsonl", args, self.work.tasks, self.work.samples, number=number)
        played = self._log(f"{log}.jsonl", found)
        if print_summary(Tally(found), f"rollouts of {name}").solved:
            return played
        console.print(f"no rollout was solved; {self.method.name} learns from the rollouts and the demonstrations together")
        shown = self._log("demos.jsonl", demos)
        return Log(played.headers + shown.headers, found + demos)

    def _trees(self, number: int, name: str) -> Log:
        log, work = _numbered("tree", number), self.work
        self._say(log, f"{name} searches {work.tree_tasks} training tasks")
        player, header = resolve_agent(str(self.out / name), Sampling(max_new_tokens=work.action_tokens), self.base)
        search, file = replace(work.search, seed=self._stream(number)), self.out / f"{log}.jsonl"
        records, paths = grow_log(self.env, train_args(work), player, header, file, work.tree_tasks, search)
        console.print(tree_table(records, paths, f"trees of {name}"))
        return self._log(f"{log}.jsonl", paths)

    def _evaluate(self, names: Sequence[str]) -> dict[str, Any]:
        """Every model on training and held-out tasks: greedily, and on the held-out ones sampled as the rollouts were.

        Learners here raise the success of the sampled policy; greedy success is what most people report. The last model, where it
        has a critic that says what is worth trying, also searches.
        """
        self._say("evaluation", f"{', '.join(names)} play {self.work.eval_tasks} tasks of each split")
        rows = evaluation_rows(self.env, self.work)
        # The untrained model is a floor, not a contestant: one row of it is enough.
        floor = [row for row, (_, temperature) in rows.items() if temperature == 0][-1]
        wanted = [(name, row) for row in rows for name in names if name != names[0] or row == floor]
        played = {(name, row): self._play(name, row, *rows[row]) for name, row in wanted}
        played |= {(names[-1], row): found for row, found in self._searched(names[-1], search_rows(rows, self.work.decide))}
        compared = (names[1], names[-1]) if len(names) > 2 else None
        return report(self.out, f"{self.env}, seed {self.seed}", {"env": self.env, "seed": self.seed}, played, compared)

    def _searched(self, name: str, rows: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, list[Trajectory]]]:
        """What a model does by searching, where it has a critic."""
        folder, tasks = self.out / name, self.work.eval_tasks
        if not self.method.value or not checkpoint.is_checkpoint(folder):
            return
        if reason := unsearchable(checkpoint.read_config(folder)):
            console.print(f"{name} does not search: its critic {reason}", highlight=False)
            return
        for row, args in rows.items():
            yield row, self._collect(str(folder), evaluation_log(name, row), args, tasks, search=self.work.decide)

    def _play(self, name: str, row: str, env_args: dict[str, Any], temperature: float) -> list[Trajectory]:
        model = self.out / name
        agent = str(model) if model.exists() else self.model
        return self._collect(agent, evaluation_log(name, row), env_args, self.work.eval_tasks, temperature=temperature)


def claim(out: Path, asked: dict[str, Any], free: dict[str, Any], defaults: dict[str, Any] | None = None) -> None:
    """Write a run's config.json, or make sure that the one there asks for the same; what is `free` may change.

    A setting that an older version did not have yet has its value in `defaults`.

    Raises:
        ValueError: the run directory holds another run.
    """
    config = {"format": "reasoning-run", "version": 1} | asked
    file = out / "config.json"
    if file.is_file():
        there = _filled(json.loads(file.read_text()), defaults or {})
        if differs := _differences(json.loads(json.dumps(config)), there):
            raise ValueError(f"{out} holds a run with other settings ({'; '.join(differs[:4])}): give another --out")
    write_json(file, config | free)


def _filled(there: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Settings, with the defaults of those that are not there."""
    deeper = {key: _filled(there[key], value) for key, value in defaults.items() if isinstance(value, dict) and key in there}
    return defaults | there | deeper


def _differences(asked: dict[str, Any], there: dict[str, Any], above: str = "") -> list[str]:
    """Which settings a run directory has otherwise, with both values."""
    found = []
    for key, value in asked.items():
        other = there.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            found += _differences(value, other, f"{above}{key}.")
        elif value != other:
            found.append(f"{above}{key} {other!r} there, {value!r} asked for")
    return found


def _numbered(name: str, number: int) -> str:
    """The name of a round's log or model; the first has no number."""
    return name if number == 1 else f"{name}-{number}"
