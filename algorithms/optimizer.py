"""AdamW over policy and critic, each with its own rate, and how the rates go."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from algorithms.training import Training


def adamw(groups: Mapping[str, list[nn.Parameter]], training: Training, steps: int, alone: int) -> tuple[AdamW, LambdaLR]:
    """The optimiser of the parameters of `policy` and `critic`, and its schedule: the policy waits for the first `alone` steps."""
    rates, waits = {"policy": training.lr, "critic": training.critic_lr}, {"policy": alone, "critic": 0}
    owned = [{"params": params, "lr": rates[name], "name": name} for name, params in groups.items()]
    optimizer = AdamW(owned, betas=(0.9, 0.95), weight_decay=training.weight_decay, fused=True)
    shares = [lambda step, wait=waits[name]: rate(step - wait, steps - wait, training.warmup) for name in groups]
    return optimizer, LambdaLR(optimizer, shares)


def rate(step: int, steps: int, warmup: float) -> float:
    """The share of the peak learning rate at a step: 0 before the first, up over the warm-up, down by a cosine."""
    warm = max(1, round(warmup * steps))
    if step < warm:
        return max(0, step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def forget_direction(optimizer: Optimizer, name: str) -> None:
    """Start Adam's first moments of a group anew; the second, how large gradients are, stay.

    For a policy whose rate was 0 while the critic learnt alone: an untrained V asked for what is in the first moments, and without
    the second the first steps would be as long as the rate for every weight, whatever its gradient.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["name"] == name else ():
            if moments := optimizer.state.get(parameter):
                moments["exp_avg"].zero_()
