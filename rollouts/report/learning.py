"""Learning curves of a run's trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from rollouts.report.chart import Chart, Line, Panel
from rollouts.report.inputs import Stage
from rollouts.report.section import Section, Table, number

SMOOTH = 25
"""A curve is smoothed over one part in so many of its length."""
GROUPS = (
    ("Losses", "loss", ("nll", "policy_loss", "value_loss", "train/policy_gradient_loss", "train/value_loss", "loss")),
    ("KL divergence and log-ratio", "nats", ("kl", "log_ratio", "log_ratio/good", "log_ratio/bad", "train/approx_kl")),
    ("Entropy", "nats", ("entropy", "train/entropy_loss")),
    ("Log-ratio by outcome", "nats", ("log_ratio/solved", "log_ratio/failed", "z")),
    ("Value and return", "reward", ("value", "return", "target")),
    ("Margins of pairs", "reward", ("reward/chosen", "reward/rejected", "margin")),
    ("Accuracy and weights", "share, or weight", ("accuracy", "weight", "capped")),
    ("Played while training", "success, or reward", ("held_out", "rollout/ep_rew_mean", "rollout/success_rate")),
    ("Gradient norm of the policy", "norm before clipping", ("grad_norm/policy",)),
    ("Gradient norm of the critic", "norm before clipping", ("grad_norm/critic",)),
)
"""What belongs into one picture: title, unit, metrics."""


def learning(stages: Sequence[Stage]) -> Section:
    """The section."""
    found = Section("learning", "Learning curves")
    stages = [stage for stage in stages if stage.lines]
    if not stages:
        return Section(found.id, found.title, missing="Give a run's folder: its *-metrics.jsonl say how training went.")
    names = dict.fromkeys(stage.name for stage in stages)
    charts = []
    for name in names:
        own = [stage for stage in stages if stage.name == name]
        charts.append(Chart(_CAPTION.format(name=name), list(panels(own))))
    return Section(found.id, found.title, _LEAD, charts, [_table(stages)])


_LEAD = (
    "One point is one optimiser step on its own rows, drawn faintly; the strong line is the mean of the steps around it. KL and "
    "log-ratio are to the model that training started from; both begin at 0."
)
_CAPTION = (
    "{name}: a loss that falls and then stays level has learnt what it can; a KL that shoots up says that the policy runs away."
)


def panels(stages: Sequence[Stage]) -> list[Panel]:
    """The pictures of a training that one or several runs have: where there are several, a colour is a run."""
    found = []
    for title, unit, metrics in GROUPS:
        there = [metric for metric in metrics if any(stage.column(metric)[0] for stage in stages)]
        if metrics[0] == "nll" and len(there) > 1:
            there.remove("loss")  # the sum of the others
        if not there:
            continue
        if len(stages) > 1:
            found += [_panel(stages, [metric], f"{stages[0].name}: {metric}", unit) for metric in there]
        else:
            found.append(_panel(stages, there, f"{stages[0].name}: {title}", unit))
    return found


def _panel(stages: Sequence[Stage], metrics: Sequence[str], title: str, unit: str) -> Panel:
    marks = []
    for stage in stages:
        for metric in metrics:
            steps, values = stage.column(metric)
            label = stage.run if len(stages) > 1 else metric
            if len(values) > SMOOTH:
                marks.append(Line("", steps, values, len({mark.label for mark in marks} - {""}), faint=True))
            marks.append(Line(label, steps, smooth(values), len({mark.label for mark in marks} - {""})))
    name = "-".join(["learning", stages[0].name, *(metrics[:1] if len(stages) > 1 else [title.partition(": ")[2]])])
    return Panel(_file_name(name), title, "optimiser step", unit, marks)


def smooth(values: Sequence[float]) -> list[float]:
    """The mean of the values around each; fewer where the curve begins and ends, as many on both sides."""
    half = len(values) // SMOOTH // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    reach = [min(half, i, len(values) - 1 - i) for i in range(len(values))]
    return [float(sums[i + r + 1] - sums[i - r]) / (2 * r + 1) for i, r in enumerate(reach)]


def _table(stages: Sequence[Stage]) -> Table:
    rows = []
    for stage in stages:
        last = stage.lines[-1]
        tokens = sum(line.get("tokens", 0.0) for line in stage.lines)
        speed = [line["tokens_per_second"] for line in stage.lines if "tokens_per_second" in line]
        held_out = [value for value in stage.column("held_out")[1] if math.isfinite(value)]
        rows.append(
            [
                stage.run,
                stage.name,
                f"{last['step']:,.0f}",
                f"{tokens:,.0f}" if tokens else "–",
                f"{median(speed):,.0f}" if speed else "–",
                *(number(_late(stage, metric), 4) for metric in ("nll", "policy_loss", "value_loss", "kl")),
                f"{max(held_out):.1%}" if held_out else "–",
            ]
        )
    columns = [
        "run",
        "training",
        "steps",
        "tokens",
        "tokens/s, median",
        "nll",
        "policy loss",
        "value loss",
        "KL, nats",
        "best held-out",
    ]
    return Table("At the end (means of the last twenty-fifth of the steps; nll in nats a token)", columns, rows)


def _late(stage: Stage, metric: str) -> float | None:
    values = stage.column(metric)[1]
    last = values[-max(1, len(values) // SMOOTH) :]
    return sum(last) / len(last) if last else None


def _file_name(text: str) -> str:
    return "-".join("".join(c if c.isalnum() and c.isascii() else " " for c in text.lower()).split())
