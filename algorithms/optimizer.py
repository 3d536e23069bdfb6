"""The optimisers of policy and critic, each with its own rate, and how the rates go."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from algorithms.training import Training


def optimizer_of(
    model: nn.Module, groups: Mapping[str, list[nn.Parameter]], training: Training, steps: int, alone: int
) -> tuple[Optimizer, LambdaLR]:
    """The optimiser of the parameters of `policy` and `critic`, and its schedule: the policy waits for the first `alone` steps."""
    rates, waits = {"policy": training.lr, "critic": training.critic_lr}, {"policy": alone, "critic": 0}
    owned: list[dict[str, Any]] = [{"params": params, "lr": rates[name], "name": name} for name, params in groups.items()]
    if training.optimizer == "muon":
        inner = hidden_matrices(model)
        for group in owned:
            group["matrices"] = [id(parameter) in inner for parameter in group["params"]]
    kind = Muon if training.optimizer == "muon" else AdamW
    optimizer = kind(owned, betas=(0.9, 0.95), weight_decay=training.weight_decay, fused=True)
    shares = [lambda step, wait=waits[name]: rate(step - wait, steps - wait, training.warmup) for name in groups]
    return optimizer, LambdaLR(optimizer, shares)


def hidden_matrices(model: nn.Module) -> Collection[int]:
    """The `id`s of the weights between hidden states: of linear layers, but for heads and what is tied to an embedding."""
    outer = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    linear = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    heads = {id(module.weight) for name, module in model.named_modules() if isinstance(module, nn.Linear) and name.endswith("head")}
    return {id(weight) for weight in linear if min(weight.shape) > 1} - outer - heads


class Muon(AdamW):
    """AdamW, but the weights between hidden states take steps whose singular values are all about 1 (Jordan et al. 2024).

    Groups say in `matrices` which of their parameters those are. Their steps have the root mean square that Moonlight gives them
    to go with AdamW's rates (Liu et al. 2025, https://arxiv.org/abs/2502.16982, section 2.2), twice as large: for models from
    scratch, whose weights are larger than a pretrained one's.
    """

    MOMENTUM = 0.95
    SCALE = 0.4

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step. Gradients stay as they are."""
        gradients: list[tuple[nn.Parameter, Tensor]] = []
        for group in self.param_groups:
            for parameter, matrix in zip(group["params"], group["matrices"], strict=True):
                if matrix and parameter.grad is not None:
                    gradients.append((parameter, parameter.grad))
                    self._turn(parameter, group["lr"], group["weight_decay"])
                    parameter.grad = None  # AdamW's step leaves it out
        loss = super().step(closure)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        return loss

    def _turn(self, parameter: nn.Parameter, lr: float, weight_decay: float) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(parameter)}  # the names that AdamW looks for on loading
        state["step"] += 1
        momentum = state["exp_avg"].mul_(self.MOMENTUM).add_(parameter.grad)
        direction = orthogonal(parameter.grad + self.MOMENTUM * momentum)  # Nesterov's
        parameter.mul_(1 - lr * weight_decay).add_(direction, alpha=-lr * self.SCALE * max(parameter.shape) ** 0.5)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """A matrix [M, N] with its singular values brought near 1 (0.7 to 1.2), by Newton and Schulz's iteration of fifth order.

    The coefficients are Jordan's, which rise fastest from small values and do not converge.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    found = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        square = found @ found.T
        found = 3.4445 * found + (-4.7750 * square + 2.0315 * square @ square) @ found
    return found if wide is matrix else found.T


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
