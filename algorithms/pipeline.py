"""The main job: expert demonstrations -> SFT -> rollouts -> the learner -> evaluation, in one run directory.

config.json           what was asked for; `checkpoint` names the final model
demos.jsonl           expert episodes (never counted as the agent's)
init/                 the model that SFT starts from
sft/, oreo/, ...      checkpoints; beside them their metrics (jsonl) and tracker files
rollouts.jsonl        the SFT agent's own episodes
evaluation/           a log for each model and split
results.json          the last table
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from agents import checkpoint, tiny
from agents.checkpoint import Base, Loaded
from agents.generate import Sampling
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.tiny import TinyConfig
from algorithms.batch import Row
from algorithms.examples import encode_rows
from algorithms.learner import Learner, Training
from algorithms.method import Method
from algorithms.presets import Work
from rollouts.collect import collect_log
from rollouts.evaluate import write_json
from rollouts.progress import console
from rollouts.resolve import env_maker, resolve_agent, run_checkpoint
from rollouts.stats import Summary, paired_difference, print_summary, summarize
from rollouts.trajectory import Trajectory, read


def texts_of(trajectories: Sequence[Trajectory]) -> list[str]:
    """Everything that was said in a log, for training a tokenizer."""
    return [text for t in trajectories for s in t.steps for text in (s.observation, s.action)]


def scratch(trajectories: Sequence[Trajectory], seed: int, size: TinyConfig) -> Loaded:
    """The tiny preset's model, with a tokenizer trained on the log's text."""
    tokenizer = tiny.train_tokenizer(texts_of(trajectories), size.vocab)
    lm = tiny.build(tokenizer, size, seed)
    return Loaded(lm, tokenizer, Base("tiny", checkpoint.fingerprint(lm)))


def start_of(model: str, trajectories: Sequence[Trajectory], seed: int, folder: Path, size: TinyConfig) -> Path:
    """What a run starts from: a stored model, or the tiny preset from scratch, made and stored in `folder` if it is not there."""
    if model != "tiny":
        return run_checkpoint(model)
    if not checkpoint.is_checkpoint(folder):
        made = scratch(trajectories, seed, size)
        checkpoint.save(folder, ActorCritic(made.lm), made.tokenizer, made.base)
    return folder


def train(
    method: Method,
    config: Any,
    training: Training,
    trajectories: Sequence[Trajectory],
    start: Loaded,
    out: Path,
    seed: int,
) -> Path:
    """Encode a log and train on it; returns the checkpoint's folder."""
    rows = list(encode_rows(trajectories, Prompt(start.tokenizer), training.max_length))
    console.print(_describe(rows, len(trajectories)))
    return Learner(method, config, training, rows, start, out, seed).run()


def train_on_log(
    method: Method,
    config: Any,
    training: Training,
    data: Path,
    model: str,
    out: Path,
    seed: int,
    base: str | None = None,
    size: TinyConfig = TinyConfig(),
) -> Path:
    """The learner alone: read a log, train, say where the checkpoint is."""
    if checkpoint.is_checkpoint(out):
        console.print(f"{out} is there already; give another --out to train again")
        return out
    trajectories = read(data).trajectories
    if model == "tiny" and training.rank:
        raise ValueError("--rank trains adapters on a stored model, and tiny is made from scratch: give --model, or --rank 0")
    start = scratch(trajectories, seed, size) if model == "tiny" else checkpoint.load_policy(run_checkpoint(model), base)
    train(method, config, training, trajectories, start, out, seed)
    console.print(f"checkpoint: {out}\nevaluate it: python -m rollouts.evaluate {out} --env ENV --split SPLIT")
    return out


def claim(out: Path, asked: dict[str, Any]) -> None:
    """Write a run's config.json, or make sure that the one there asks for the same.

    Raises:
        ValueError: the run directory holds another run.
    """
    config = {"format": "reasoning-run", "version": 1} | asked
    file = out / "config.json"
    if file.is_file():
        there = json.loads(file.read_text())
        if differs := [key for key in config if there.get(key) != json.loads(json.dumps(config[key]))]:
            raise ValueError(f"{out} holds a run with other settings ({', '.join(differs)}): give another --out")
    write_json(file, config)


def _describe(rows: Sequence[Row], episodes: int) -> str:
    if not rows:
        return f"{episodes} episodes, none of which can be learnt from"
    lengths = sorted(len(row) for row in rows)
    solved = sum(row.solved for row in rows)
    return (
        f"{len(rows)} of {episodes} episodes can be learnt from, {solved} of them solved; "
        f"tokens: median {lengths[len(lengths) // 2]}, longest {lengths[-1]}, all {sum(lengths)}"
    )


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

    def run(self) -> dict[str, Any]:
        """All stages; returns (and writes to results.json) success with intervals.

        Raises:
            ValueError: the run directory holds another run, or several processes were started.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError("the pipeline plays episodes in one process; to train in several, give each stage its log with --data")
        self._claim()
        stages = [self.method] if self.method.after is None else [self.method.after, self.method]
        self._say("demonstrations", f"the expert plays {self.work.demos} training tasks")
        demos = self._collect("expert", "demos.jsonl", self._train_args, self.work.demos)
        print_summary(demos, "expert demonstrations")
        model = self._start(demos)
        names, data = ["init"], demos
        for index, method in enumerate(stages):
            if index:
                data = self._rollouts(model, demos)
            self._say(method.name, f"trains {names[-1]} on {'its own episodes' if index else 'the demonstrations'}")
            model = self._train(method, data, model)
            names.append(method.name)
        return self._evaluate(names)

    @property
    def _train_args(self) -> dict[str, Any]:
        return {"split": "train"} | self.work.env_args if self.work.held_out else self.work.env_args

    def _say(self, stage: str, what: str) -> None:
        console.rule(f"{stage}: {what}", align="left")

    def _claim(self) -> None:
        config = {
            "checkpoint": self.method.name, "env": self.env, "model": self.model,
            "seed": self.seed, "settings": asdict(self.config), "work": asdict(self.work),
            "training": {name: asdict(training) for name, training in self.trainings.items()},
        }  # fmt: skip
        claim(self.out, config)

    def _collect(
        self, agent: str, log: str, env_args: dict[str, Any], tasks: int, samples: int = 1, temperature: float = 1.0
    ) -> list[Trajectory]:
        sampling = Sampling(temperature=temperature, max_new_tokens=self.work.action_tokens)
        player, header = resolve_agent(agent, sampling, self.base, self.work.expert_args if agent == "expert" else None)
        return collect_log(
            self.env, env_args, player, header, self.out / log, tasks * samples, samples, self.seed, self.work.parallel
        )

    def _start(self, demos: Sequence[Trajectory]) -> Path:
        folder = start_of(self.model, demos, self.seed, self.out / "init", self.work.tiny)
        start = checkpoint.load_policy(folder, self.base)
        size = sum(p.numel() for p in start.lm.parameters())
        console.print(f"model: {self.model}, {size / 1e6:.1f} million parameters, {len(start.tokenizer)} tokens")
        return folder

    def _train(self, method: Method, data: Sequence[Trajectory], start: Path) -> Path:
        folder = self.out / method.name
        if checkpoint.is_checkpoint(folder):
            console.print("done before")
        else:
            config = self.config if method is self.method else method.config()
            train(
                method,
                config,
                self.trainings[method.name],
                data,
                checkpoint.load_policy(start, self.base),
                folder,
                self.seed,
            )
        return folder

    def _rollouts(self, model: Path, demos: list[Trajectory]) -> list[Trajectory]:
        self._say("rollouts", f"{model.name} plays {self.work.tasks} training tasks {self.work.samples} times")
        found = self._collect(str(model), "rollouts.jsonl", self._train_args, self.work.tasks, self.work.samples)
        if print_summary(found, f"rollouts of {model.name}").solved:
            return found
        console.print(f"no rollout was solved; {self.method.name} learns from the rollouts and the demonstrations together")
        return found + demos

    def _disjoint(self, held_out: dict[str, Any]) -> bool:
        """Whether another split really has other tasks (a file given as the problems is the same for every split)."""
        train, other = (env_maker(self.env, args)().unwrapped.tasks for args in (self._train_args, held_out))  # type: ignore[attr-defined]
        return not set(train) & set(other)

    def _rows(self) -> dict[str, tuple[dict[str, Any], float]]:
        """What is evaluated on, by the row's name: the environment's arguments and the temperature."""
        splits = {split: self._train_args | {"split": split} for split in self.work.held_out}
        splits = {split: args for split, args in splits.items() if self._disjoint(args)}
        if not splits:
            console.print("no split is held out from training here: only training tasks are played")
        # Where training rooms have a held-out split of their own, that one says more than the training tasks.
        rows = {"train": (self._train_args, 0.0)} if len(splits) < 2 else {}
        named = {"held out" if len(splits) == 1 else split: args for split, args in splits.items()}
        rows |= {name: (args, 0.0) for name, args in named.items()}
        return rows | {f"{name}, sampled": (args, 1.0) for name, args in named.items()}

    def _evaluate(self, names: Sequence[str]) -> dict[str, Any]:
        """Every model on training and held-out tasks: greedily, and on the held-out ones sampled as the rollouts were.

        Learners here raise the success of the sampled policy; greedy success is what most people report.
        """
        self._say("evaluation", f"{', '.join(names)} play {self.work.eval_tasks} tasks of each split")
        rows = self._rows()
        # The untrained model is a floor, not a contestant: one row of it is enough.
        floor = [row for row, (_, temperature) in rows.items() if temperature == 0][-1]
        wanted = [(name, row) for row in rows for name in names if name != names[0] or row == floor]
        played = {(name, row): self._play(name, row, *rows[row]) for name, row in wanted}
        summaries = {key: summarize(trajectories) for key, trajectories in played.items()}
        console.print(results_table(f"{self.env}, seed {self.seed}", summaries))
        results: dict[str, Any] = {"env": self.env, "seed": self.seed}
        results["rows"] = [{"model": name, "split": row} | found.to_json() for (name, row), found in summaries.items()]
        if len(names) > 2:
            gains = {row: paired_difference(played[names[-2], row], played[names[-1], row]) for row in rows}
            for row, gain in gains.items():
                console.print(f"{names[-1]} minus {names[-2]} on the same tasks, {row}: {gain}")
            results["gains"] = {row: asdict(gain) for row, gain in gains.items()}
        write_json(self.out / "results.json", results)
        return results

    def _play(self, name: str, row: str, env_args: dict[str, Any], temperature: float) -> list[Trajectory]:
        model = self.out / name
        log = f"evaluation/{name}-{row.replace(', ', '-').replace(' ', '-')}.jsonl"
        agent = str(model) if model.exists() else self.model
        return self._collect(agent, log, env_args, self.work.eval_tasks, temperature=temperature)


def results_table(title: str, rows: dict[tuple[str, str], Summary]) -> Table:
    """A line for each (model, split)."""
    table = Table("split", "model", "success", "95% interval", "solved", "mean steps", title=title)
    for (name, split), row in rows.items():
        interval, solved = f"{row.low:.1%} - {row.high:.1%}", f"{row.solved} of {row.episodes}"
        table.add_row(split, name, f"{row.success:.1%}", interval, solved, f"{row.mean_steps:.1f}")
    return table
