"""The one training loop: rows in, checkpoint out, whatever the learner.

Every optimiser step draws a fixed number of rows at random: length goes with reward, so lengths must not choose the rows. Devices,
processes, mixed precision and trackers are accelerate's.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, set_seed
from rich.progress import Progress
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from agents import checkpoint
from agents.checkpoint import Loaded
from agents.model import ActorCritic
from agents.packing import packs
from algorithms.accumulator import Accumulator
from algorithms.batch import Row
from algorithms.faults import Faults, TrainingFault
from algorithms.method import Method
from algorithms.minibatch import Draws, families, join
from algorithms.optimizer import forget_direction, optimizer_of
from algorithms.reference import ReferenceCache, needed, repeated
from algorithms.runfiles import RunFiles
from algorithms.selection import balanced
from algorithms.sharding import asked, load_whole, unseen, whole
from algorithms.training import Training
from algorithms.validation import HeldOut, Stopping
from rollouts.progress import bar_columns, console


@dataclass
class Models:
    """What training starts from."""

    policy: Loaded
    reference: Loaded | None = None
    """the frozen reference; None: the policy as it is at the start"""
    critic: ActorCritic | None = None
    """a model whose critic this one's starts from; None: V = 0"""


class Learner:
    """Trains one model by one learner, and can go on where a killed process stopped.

    Args:
        method, config: the learner and its settings.
        training: the shared settings.
        rows: the examples.
        start: the models that training starts from; the policy is changed in place.
        out: folder of the checkpoint; beside it `out-metrics.jsonl` and, until training ends, `out-state` (to go on after a kill)
            and `out-best` (the best checkpoint so far, where held-out tasks are played). After a fault, `out-last-good`.
        seed: of the order of rows.
        held_out: tasks that decide which checkpoint is kept and when training stops.

    Raises:
        ValueError: the rows lack what the learner needs, the critics do not fit, or what the launcher says of sharding does not.
        FileExistsError: `out` is there and is no checkpoint.
    """

    def __init__(
        self,
        method: Method,
        config: Any,
        training: Training,
        rows: Sequence[Row],
        start: Models,
        out: Path,
        seed: int = 0,
        held_out: HeldOut | None = None,
    ) -> None:
        self.method, self.config, self.training, self.out, self.seed = method, config, training, out, seed
        checkpoint.check_place(out)
        rng = random.Random(seed)
        self.rows = method.rows(balanced(rows, training.balance, rng) if training.balance else rows, config, rng)
        self.groups = [self.rows[i : i + method.group] for i in range(0, len(self.rows), method.group)]
        self.start, self.held_out = start.policy, held_out
        self.reference = start.reference if method.reference else None
        self.files = RunFiles(out, self._describe(start.critic))
        if not training.rank:
            # Steps of 1e-6 are lost in bfloat16 weights; `precision` chooses what the arithmetic is done in.
            for loaded in (start.policy, start.reference):
                if loaded is not None:
                    loaded.lm.float()
        set_seed(seed)
        self.accelerator = self._accelerator()
        self.draws = Draws(families(self.groups, training.by_task), training.batch, seed)
        if -(-self.draws.batch // training.by_task) < (count := self.accelerator.num_processes):
            what = "pairs" if method.group == 2 else "rows"
            raise ValueError(
                f"a step of {self.draws.batch} {what}, {training.by_task} of a task together, leaves some of {count} processes "
                "without any: give a larger --batch, or fewer processes"
            )
        model = self._model(start.critic)
        packed = all(packs(lm) for lm in (model.lm, model.reference) if lm is not None)
        self.steps = max(1, training.min_steps, round(training.epochs * self.draws.count / self.draws.batch))
        self.alone = round(training.critic_start * self.steps) if method.value else 0  # steps in which the policy stays
        if self.sharding:
            if training.optimizer == "muon":
                raise ValueError("--optimizer muon wants whole matrices, and several processes share them out: take adamw")
            self.sharding.shard(model, self.accelerator)
        optimizer, self.schedule = optimizer_of(model, model.groups(), training, self.steps, self.alone)
        self.model, self.optimizer = (model, optimizer) if self.sharding else self.accelerator.prepare(model, optimizer)
        self.step = 0
        pad = int(cast(int, self.start.tokenizer.pad_token_id or 0))
        self.accumulator = Accumulator(method, config, training, self.model, self.accelerator, pad, packed)
        self.faults = Faults(training.explode)
        self.stopping = Stopping(held_out.settings, self.steps, self.alone) if held_out else None

    def _accelerator(self) -> Accelerator:
        # Without a GPU, accelerate takes several processes for as many single ones unless it is told.
        cpu = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()
        self.sharding = asked(cpu)
        with unseen():
            return Accelerator(
                cpu=cpu,
                mixed_precision=self.training.precision,
                log_with=None if self.training.tracker == "none" else self.training.tracker,
                project_dir=str(self.out.parent / "tracker"),
                # What autocast keeps of the weights for a whole pass would be whole layers.
                kwargs_handlers=[AutocastKwargs(cache_enabled=False)] if self.sharding else None,
            )

    def _model(self, critic: ActorCritic | None) -> ActorCritic:
        """Policy, reference and critic as they are before training."""
        model = ActorCritic(
            self.start.lm,
            self.training.critic if self.method.value else None,
            self.reference.lm if self.reference else self.method.reference,
            self.training.rank,
            trunk_gradient=self.training.trunk_gradient,
        )
        if model.critic is not None:
            model.critic.float()
        if critic is not None:
            model.take_critic(critic)
        if not self.method.policy:
            for parameter in model.groups()["policy"]:
                parameter.requires_grad_(False)
        if self.training.gradient_checkpointing != "none":
            model.checkpoint_layers(keep=self.training.gradient_checkpointing == "selective")
        return model

    def run(self) -> Path:
        """Train to the end, or until held-out success stops rising, and write the checkpoint; returns its folder.

        Raises:
            TrainingFault: loss or gradient became infinite or NaN, or the loss exploded; the last saved state becomes a checkpoint.
        """
        self.prepare()
        self._track_start()
        columns = bar_columns(self.method.name, "{task.fields[shown]}")
        bar = Progress(*columns, console=console, disable=not self.accelerator.is_main_process)
        with bar:
            task = bar.add_task(self.method.name, total=self.steps, completed=self.step, shown="")
            if self.stopping and not self.step:
                console.print(f"{self.method.name}: held-out success before training {self._validate():.1%}")
            while self.step < self.steps and not (self.stopping and self.stopping.stale(self.step)):
                try:
                    metrics = self.train_step()
                except TrainingFault as fault:
                    self._forget_reference()
                    where = f"{self.method.name}, step {self.step}"
                    raise TrainingFault(f"{where}: {fault}; {self._keep_last_good()}") from None
                self.step += 1
                if self.stopping and self.stopping.due(self.step):
                    metrics["held_out"] = self._validate()
                self._log(metrics)
                bar.update(task, completed=self.step, shown=_shown(metrics))
        self._finish()
        return self.out

    def prepare(self) -> None:
        """Go on from where a killed process stopped, and ask the reference where the same rows are met again and again."""
        # Not `train()`: dropout would make log pi of the same tokens differ between policy, reference and sampler.
        self.model.eval()
        self._resume()
        if self.step:
            console.print(f"{self.method.name}: going on at step {self.step} of {self.steps}")
        kind = needed(self.method, self.config)
        if kind and repeated(self.rows, self.steps * self.draws.batch * self.method.group):
            accumulator, model = self.accumulator, self.accelerator.unwrap_model(self.model)
            weights = str(self.files.settings["reference"] or self.files.settings["start"])
            dtype = str((model.reference or model.lm).dtype).removeprefix("torch.")
            name = f"{kind}-{self.training.precision}-{dtype}" + (f"-{self.out.name}" if kind == "states" else "")
            folder = self.out.parent / "reference" / weights / name
            with self._gathered():
                accumulator.known = ReferenceCache(
                    folder, kind, model, self.rows, self.training, accumulator.pad, accumulator.packed, self.accelerator
                )

    def _gathered(self, *trunks: nn.Module) -> AbstractContextManager[None]:
        """Where the model is sharded, what lies outside of layers and these trunks are whole in every process while this lasts."""
        return self.sharding.gathered(self.model, *trunks) if self.sharding else nullcontext()

    def _forget_reference(self) -> None:
        if self.accumulator.known and self.accelerator.is_main_process:
            self.accumulator.known.close()

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its metrics, averaged over the step by weight.

        Raises:
            TrainingFault: loss or gradient is infinite or NaN, or the loss exploded; the weights are as they were.
        """
        began = time.perf_counter()
        drawn = [[self.groups[i] for i in family] for family in self.draws.step(self.step)]
        found = self._gradient([group for family in drawn for group in join(family, self.training.micro_tokens)])
        if self.step and self.step % self._save_every == 0:
            self._save_state()  # only now: a state is good when the loss of its own weights has been seen to be
        if self.step == self.alone:
            forget_direction(self.optimizer, "policy")
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        tokens = sum(len(row) for family in drawn for group in family for row in group)
        return found | {"tokens": tokens, "tokens_per_second": tokens / (time.perf_counter() - began)}

    def _gradient(self, groups: Sequence[Sequence[Row]]) -> dict[str, float]:
        """Leave the clipped gradient of the loss of some examples, seen to be sound, in the parameters; its metrics."""
        found, losses, parts = self.accumulator.accumulate(groups)
        for group in self.optimizer.param_groups:
            norm = cast(Tensor, self.accelerator.clip_grad_norm_(group["params"], self.training.clip or math.inf))
            found[f"grad_norm/{group['name']}"] = (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()
            found[f"lr/{group['name']}"] = group["lr"]
        self.faults.check(found, losses, parts)
        return found

    def _validate(self) -> float:
        """Play the held-out tasks, and keep the model where it is the best so far; its success."""
        assert self.held_out is not None and self.stopping is not None
        success = torch.zeros((), device=self.accelerator.device, dtype=torch.float64)
        model = self.accelerator.unwrap_model(self.model)
        with self._gathered(model.policy):
            if self.accelerator.is_main_process:
                success += self.held_out.success(model, self.start.tokenizer)
            found = cast(Tensor, self.accelerator.reduce(success, "sum")).item()  # the other processes add 0
        if self.stopping.better(found, self.step):
            self._save_checkpoint(self.files.best, found)
        return found

    @property
    def _save_every(self) -> int:
        return min(self.training.save_every, max(1, self.steps // 10))

    def _keep_last_good(self) -> str:
        """Make the last saved state a checkpoint, for a run that cannot go on; says where it is."""
        best = f"; the best one so far is in {self.files.best}" if self.stopping else ""
        if not self.files.state.exists():
            return f"no state had been saved yet{best}"
        self._resume()
        self.accelerator.wait_for_everyone()
        self._save_checkpoint(self.files.last_good)
        if self.accelerator.is_main_process:
            self.files.state.unlink()
        return f"the model of step {self.step} is kept in {self.files.last_good}{best}"

    def _describe(self, critic: ActorCritic | None) -> dict[str, Any]:
        """What makes this run what it is."""
        return {
            "training": asdict(self.training),
            "settings": asdict(self.config),
            "method": self.method.name,
            "seed": self.seed,
            "rows": _digest(self.rows),
            "start": checkpoint.fingerprint(self.start.lm),
            "reference": checkpoint.fingerprint(self.reference.lm) if self.reference else "",
            "critic": checkpoint.fingerprint(critic) if critic else "",
            "held_out": self.held_out.described() if self.held_out else None,
        }

    def _track_start(self) -> None:
        if self.accelerator.is_main_process:
            self.files.start_metrics(self.step)
        settings = self.files.settings | asdict(self.config) | asdict(self.training)
        flat = {k: v for k, v in settings.items() if isinstance(v, int | float | str | bool)}
        self.accelerator.init_trackers(self.out.name, config=flat)

    def _log(self, metrics: dict[str, float]) -> None:
        self.accelerator.log(metrics, step=self.step)
        if self.accelerator.is_main_process:
            self.files.append_metrics({"step": self.step} | metrics)

    def _save_state(self) -> None:
        """The trained weights and the optimiser, whole: any number of processes can go on with them."""
        model = self.accelerator.unwrap_model(self.model)
        state = {
            "step": self.step,
            "early": self.faults.early,
            "model": {name: p for name, p in model.named_parameters() if p.requires_grad},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        main = self.accelerator.is_main_process
        state = whole(state, kept=main)
        if main:
            self.files.save_state(state)

    def _resume(self) -> None:
        state = self.files.load_state(torch.device("cpu") if self.sharding else self.accelerator.device)
        if state is None:
            return
        load_whole(self.accelerator.unwrap_model(self.model), self.optimizer, state["model"], state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
        self.faults.early = state["early"][: self.step]  # the loss of the step to come was seen before the state was written
        if self.stopping:  # the best checkpoint may be newer than the state
            best = checkpoint.read_config(self.files.best)
            self.stopping.better(best["held_out_success"], best["step"])

    def _finish(self) -> None:
        for tracker in self.accelerator.trackers:  # not end_training(): the process group serves the next learner too
            tracker.finish()
        if not self.stopping:
            self._save_checkpoint(self.out)
        if self.accelerator.is_main_process:
            if self.stopping:
                shutil.rmtree(self.out, ignore_errors=True)
                os.replace(self.files.best, self.out)
                console.print(f"{self.method.name}: kept the model of {self.stopping}")
            self.files.state.unlink(missing_ok=True)
        self._forget_reference()
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self, folder: Path, success: float | None = None) -> None:
        meta = {
            "method": self.method.name,
            "settings": asdict(self.config),
            "training": asdict(self.training),
            "seed": self.seed,
            "started_from": self.start.base.name,
            "start": self.files.settings["start"],
            "reference": self.reference.base.name if self.reference else self.start.base.name,
            "step": self.step,
            "held_out_success": success,
        }
        model, main = self.accelerator.unwrap_model(self.model), self.accelerator.is_main_process
        weights = whole(checkpoint.stored(model), kept=main) if self.sharding else None
        if main:
            checkpoint.save(folder, model.eval(), self.start.tokenizer, self.start.base, meta, weights)


def _digest(rows: Sequence[Row]) -> str:
    """Names the examples."""
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def _shown(metrics: dict[str, float]) -> str:
    names = [n for n in ("nll", "value_loss", "policy_loss", "kl", "held_out") if n in metrics] or ["loss"]
    return " ".join(f"{name} {metrics[name]:.4f}" for name in names)
