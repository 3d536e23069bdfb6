"""The one training loop: rows in, checkpoint out, whatever the learner.

Every optimiser step draws a fixed number of rows at random (length goes with reward, so lengths must not choose the rows), sorts
them by length and cuts them to a token budget only inside the step; each micro-batch weighs by its share of the whole step, so
that accumulation is exact. Devices, processes, mixed precision and trackers are accelerate's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.progress import Progress
from torch import Tensor

from agents import checkpoint
from agents.checkpoint import Loaded
from agents.model import ActorCritic, CriticKind, Scores
from algorithms.batch import Batch, Outputs, Row, collate, gather_decisions, row_mean
from algorithms.method import Method
from rollouts.progress import bar_columns, console


@dataclass(frozen=True)
class Training:
    """Model, data, optimiser and schedule: what every learner shares. The defaults are OREO's (appendix A.3)."""

    lr: float = 5e-6
    """peak learning rate of the policy"""
    critic_lr: float = 5e-6
    """peak learning rate of the critic"""
    epochs: float = 1
    """passes over the rows"""
    min_steps: int = 0
    """at least so many optimiser steps: a small log is passed over more often"""
    batch: int = 128
    """rows per optimiser step"""
    micro_tokens: int = 16384
    """most tokens (padding included) of one forward pass"""
    max_length: int = 2048
    """longest row; longer ones keep their first whole steps"""
    warmup: float = 0.03
    """share of the steps over which the learning rate rises; then it falls to 0 by a cosine"""
    critic_start: float = 0.0
    """share of the steps in which the critic learns alone; until V is near the returns, the policy's steps are mostly noise"""
    clip: float = 1.0
    """largest gradient norm, for the policy and for the critic apart"""
    weight_decay: float = 0.0
    """AdamW's, decoupled"""
    critic: CriticKind = "separate"
    """separate (a trunk of its own), lora (an adapter on the frozen base), shared (the policy's trunk)"""
    trunk_gradient: float = 0.1
    """shared critic: the share of its gradient that reaches the trunk"""
    rank: int = 0
    """LoRA rank of policy and lora critic; 0 trains all weights"""
    precision: str = "no"
    """mixed precision: no, bf16"""
    save_every: int = 100
    """optimiser steps between the states that a killed run goes on from"""
    tracker: str = "tensorboard"
    """any tracker that accelerate knows, or none"""


class TrainingFault(RuntimeError):
    """The loss, or its gradient, is not a finite number any more."""


def compute_outputs(model: torch.nn.Module, batch: Batch, method: Method, config: Any) -> Outputs:
    """One forward pass: what the learner's loss needs of a batch."""
    kind = method.kl(config)
    exact = kind == "exact"
    scores: Scores = model(batch.tokens, batch.decision >= 0, batch.start, reference=method.reference, kl=exact, value=method.value)
    kl = scores.kl
    if kind == "k3":
        assert scores.ref_logp is not None  # a learner with a KL has a reference
        kl = k3(scores.logp - scores.ref_logp)
    return Outputs(
        logp=gather_decisions(scores.logp, batch),
        ref_logp=None if scores.ref_logp is None else gather_decisions(scores.ref_logp, batch),
        value=None if scores.value is None else scores.value * batch.mask,
        kl=None if kl is None else row_mean(kl, batch),
    )


def k3(log_ratio: Tensor) -> Tensor:
    """Schulman's estimate of KL(pi || ref) at each token, exp(-log_ratio) + log_ratio - 1: never negative.

    Unbiased only where the tokens were sampled from pi; on a log it holds back the tokens that are there and no others.
    """
    return torch.exp(-log_ratio) + log_ratio - 1


def step_rows(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """The rows of one optimiser step: a fixed number out of one fresh permutation after another; long [min(batch, count)]."""
    batch = min(batch, count)
    places = np.arange(step * batch, (step + 1) * batch)
    epochs = {epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in set((places // count).tolist())}
    return np.array([epochs[place // count][place % count] for place in places.tolist()])


def cut(groups: Sequence[Sequence[Row]], budget: int) -> list[list[Row]]:
    """Sort by length and cut into micro-batches of at most `budget` tokens with padding; a group stays whole and adjacent.

    A group that is larger than the budget goes alone.
    """
    found: list[list[Row]] = []
    for group in sorted(groups, key=lambda group: max(map(len, group))):
        if found and (len(found[-1]) + len(group)) * max(map(len, group)) <= budget:
            found[-1].extend(group)
        else:
            found.append(list(group))
    return found


class Learner:
    """Trains one model by one learner, and can go on where a killed process stopped.

    Args:
        method, config: the learner and its settings.
        training: the shared settings.
        rows: the examples.
        start: the model that training starts from; it is the reference too.
        out: folder of the checkpoint; beside it `out-metrics.jsonl` and, until training ends, `out-state` (to go on after a kill).
        seed: of the order of rows.
    """

    def __init__(
        self,
        method: Method,
        config: Any,
        training: Training,
        rows: Sequence[Row],
        start: Loaded,
        out: Path,
        seed: int = 0,
    ) -> None:
        self.method, self.config, self.training, self.out, self.seed = method, config, training, out, seed
        self.rows = method.rows(rows, config, random.Random(seed))
        self.groups = [self.rows[i : i + method.group] for i in range(0, len(self.rows), method.group)]
        self.start = start
        if not training.rank:
            start.lm.float()  # steps of 1e-6 are lost in bfloat16 weights; `precision` chooses what the arithmetic is done in
        set_seed(seed)
        # Without a GPU, accelerate takes several processes for as many single ones unless it is told.
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        self.accelerator = Accelerator(
            cpu=several and not torch.cuda.is_available(),
            mixed_precision=training.precision,
            log_with=None if training.tracker == "none" else training.tracker,
            project_dir=str(out.parent / "tracker"),
        )
        model = ActorCritic(
            start.lm,
            training.critic if method.value else None,
            method.reference,
            training.rank,
            trunk_gradient=training.trunk_gradient,
        )
        self.pad = int(cast(int, start.tokenizer.pad_token_id or 0))
        rates = {"policy": training.lr, "critic": training.critic_lr}
        groups = [{"params": params, "lr": rates[name], "name": name} for name, params in model.groups().items()]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=training.weight_decay)
        self.steps = max(1, training.min_steps, round(training.epochs * len(self.groups) / min(training.batch, len(self.groups))))
        delay = {"policy": round(training.critic_start * self.steps) if method.value else 0, "critic": 0}
        rates_of = [lambda step, wait=delay[group["name"]]: self._rate(step, wait) for group in groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rates_of)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.schedule = schedule
        self.step = 0

    def run(self) -> Path:
        """Train to the end and write the checkpoint; returns its folder.

        Raises:
            TrainingFault: loss or gradient became infinite or NaN; the last saved state stays.
        """
        # Not `train()`: dropout would make log pi of the same tokens differ between policy, reference and sampler.
        self.model.eval()
        self._resume()
        self._track_start()
        columns = bar_columns(self.method.name, "{task.fields[shown]}")
        bar = Progress(*columns, console=console, disable=not self.accelerator.is_main_process)
        with bar:
            task = bar.add_task(self.method.name, total=self.steps, completed=self.step, shown="")
            while self.step < self.steps:
                metrics = self.train_step()
                self.step += 1
                self._log(metrics)
                bar.update(task, completed=self.step, shown=_shown(metrics))
                if self.step % self.training.save_every == 0 and self.step < self.steps:
                    self._save_state()
        self._finish()
        return self.out

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its metrics, averaged over the step by weight."""
        began = time.perf_counter()
        chosen = step_rows(len(self.groups), self.training.batch, self.step, self.seed)
        mine = [self.groups[i] for i in chosen[self.accelerator.process_index :: self.accelerator.num_processes]]
        micros = self._micro_batches(mine)
        point = self._reference_point(mine)
        weights = torch.stack([self.method.weight(micro) for micro in micros]).float()
        shares = weights / self._sum(weights.sum())
        totals: dict[str, Tensor] = {}
        for index, (micro, share) in enumerate(zip(micros, shares, strict=True)):
            last = index + 1 == len(micros)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                with self.accelerator.autocast():
                    outputs = compute_outputs(self.model, micro, self.method, self.config)
                    outputs.reference_point = point
                loss, metrics = self.method.loss(outputs, micro, self.config)
                # DDP averages over processes what is meant as a sum of shares.
                self.accelerator.backward(loss * share * self.accelerator.num_processes)
            for name, metric in {"loss": loss.detach(), **metrics}.items():
                totals[name] = totals.get(name, torch.zeros((), device=share.device)) + metric * share
        found = {name: self._sum(total).item() for name, total in totals.items()}
        for group in self.optimizer.param_groups:
            norm = cast(Tensor, self.accelerator.clip_grad_norm_(group["params"], self.training.clip))
            found[f"grad_norm/{group['name']}"] = norm.item()
            found[f"lr/{group['name']}"] = group["lr"]
        self._check(found, chosen)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        tokens = sum(len(row) for i in chosen for row in self.groups[i])
        return found | {"tokens_per_second": tokens / (time.perf_counter() - began)}

    def _micro_batches(self, groups: Sequence[Sequence[Row]]) -> list[Batch]:
        level = self.method.level(self.config)
        return [collate(rows, level, self.pad).to(self.accelerator.device) for rows in cut(groups, self.training.micro_tokens)]

    def _reference_point(self, groups: Sequence[Sequence[Row]]) -> Tensor | None:
        """The mean log-ratio of the mismatched rows of the whole optimiser step, at least 0, where the learner asks for it."""
        if self.method.mismatched is None:
            return None
        rows = self.method.mismatched([row for group in groups for row in group])
        total = torch.zeros(2, device=self.accelerator.device)  # the sum, and over how many
        with torch.no_grad(), self.accelerator.autocast():
            for micro in self._micro_batches([[row] for row in rows]):
                outputs = compute_outputs(self.model, micro, self.method, self.config)
                assert outputs.ref_logp is not None
                ratio = ((outputs.logp - outputs.ref_logp) * micro.mask).sum()
                total += torch.stack([ratio.float(), micro.mask.any(1).sum().float()])
        found = self._sum(total)
        return (found[0] / found[1].clamp(min=1)).clamp(min=0)

    def _sum(self, x: Tensor) -> Tensor:
        """Over all processes."""
        return cast(Tensor, self.accelerator.reduce(x, "sum"))

    def _rate(self, step: int, wait: int) -> float:
        """The share of the peak learning rate at a step: 0 for `wait` steps, up over the warm-up, down by a cosine."""
        total, step = self.steps - wait, step - wait
        warm = max(1, round(self.training.warmup * total))
        if step < warm:
            return max(0, step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

    def _check(self, metrics: dict[str, float], chosen: np.ndarray) -> None:
        """Before the weights take the step: one that is not finite would spoil all of them."""
        if faults := [name for name, value in metrics.items() if not math.isfinite(value)]:
            kept = f"the last good state is in {self._state}" if self._state.exists() else "no state had been saved yet"
            raise TrainingFault(
                f"{self.method.name}: {faults[0]} is {metrics[faults[0]]} at step {self.step} on examples "
                f"{chosen[:8].tolist()}...; {kept}; lower --lr or --critic-lr, or look at these rows"
            )

    @property
    def _settings(self) -> dict[str, Any]:
        """What makes this run what it is: a state of other settings is not gone on with."""
        described = {
            "method": self.method.name,
            "seed": self.seed,
            "rows": _digest(self.rows),
            "start": self.start.base.fingerprint,
        }
        return asdict(self.training) | asdict(self.config) | described

    def _track_start(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if self._metrics.exists():
            # What was logged after the state that this run goes on from will be logged again.
            kept = self._metrics.read_text().splitlines(keepends=True)[: self.step]
            self._metrics.write_text("".join(kept))
        flat = {k: v for k, v in self._settings.items() if isinstance(v, int | float | str | bool)}
        self.accelerator.init_trackers(self.out.name, config=flat)

    def _log(self, metrics: dict[str, float]) -> None:
        self.accelerator.log(metrics, step=self.step)
        if self.accelerator.is_main_process:
            with open(self._metrics, "a") as file:
                file.write(json.dumps({"step": self.step} | metrics) + "\n")

    @property
    def _metrics(self) -> Path:
        return self.out.with_name(self.out.name + "-metrics.jsonl")

    @property
    def _state(self) -> Path:
        return self.out.with_name(self.out.name + "-state")

    def _save_state(self) -> None:
        """Write the trained weights and the optimiser aside, then swap them in whole."""
        if not self.accelerator.is_main_process:
            return
        aside = self._state.with_suffix(".part")
        model = self.accelerator.unwrap_model(self.model)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        torch.save(
            {
                "step": self.step,
                "settings": json.dumps(self._settings),
                "model": trained,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
            },
            aside,
        )
        os.replace(aside, self._state)

    def _resume(self) -> None:
        if not self._state.exists():
            return
        state = torch.load(self._state, map_location=self.accelerator.device, weights_only=True)
        if state["settings"] != json.dumps(self._settings):
            raise ValueError(
                f"{self._state} was left by a run with other settings, data or model: "
                "repeat that command to go on with it, or give another --out"
            )
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
        console.print(f"{self.method.name}: going on at step {self.step} of {self.steps}")

    def _finish(self) -> None:
        for tracker in self.accelerator.trackers:  # not end_training(): the process group serves the next learner too
            tracker.finish()
        if self.accelerator.is_main_process:
            self._save_checkpoint()
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self) -> None:
        meta = {
            "method": self.method.name,
            "settings": asdict(self.config),
            "training": asdict(self.training),
            "seed": self.seed,
            "started_from": self.start.base.name,
        }
        model = self.accelerator.unwrap_model(self.model)
        checkpoint.save(self.out, model.eval(), self.start.tokenizer, self.start.base, meta)
        self._state.unlink(missing_ok=True)


def _digest(rows: Sequence[Row]) -> str:
    """Names the examples."""
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(repr((row.tokens, row.step, row.reward, row.target, row.process_score, row.sign)).encode())
    return digest.hexdigest()


def _shown(metrics: dict[str, float]) -> str:
    names = [n for n in ("nll", "value_loss", "policy_loss", "kl") if n in metrics] or ["loss"]
    return " ".join(f"{name} {metrics[name]:.4f}" for name in names)
