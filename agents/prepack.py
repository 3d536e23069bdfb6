"""Weights in the order in which oneDNN multiplies by them, for the many small products of sampling on a CPU in bfloat16.

A product with weights as torch keeps them brings them into that order each time: for one row or ten, most of its work. The
numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Prepacked:
    """The linear layers of a model, which multiply by a second copy of their weights while `applied`.

    Nothing is done, and nothing copied, where the device or the type is another one or the processor has no such arithmetic.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layers = [layer for layer in module.modules() if type(layer) is nn.Linear] if _supported() else []
        self._products: dict[nn.Linear, _Product] = {}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """For as long as a call lasts, without gradients; weights that have changed since the last time are copied again."""
        changed = [layer for layer in self.layers if _fits(layer)]
        for layer in changed:
            product = self._products.get(layer)
            if product is None or product.version != _version(layer.weight):
                product = self._products[layer] = _Product(layer)
            vars(layer)["forward"] = product  # past the module's own bookkeeping, which takes as long as a small product
        try:
            yield
        finally:
            for layer in changed:
                del vars(layer)["forward"]


class _Product:
    """What a linear layer does to its input [..., in] -> [..., out]."""

    def __init__(self, layer: nn.Linear) -> None:
        self.usual, self.version, self.bias = layer.forward, _version(layer.weight), layer.bias
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype != torch.bfloat16 or torch.is_grad_enabled():
            return self.usual(x)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


def _fits(layer: nn.Linear) -> bool:
    """Whether nobody else has changed the layer, and its weights are of the type and on the device."""
    return layer.weight.dtype == torch.bfloat16 and layer.weight.device.type == "cpu" and "forward" not in vars(layer)


def _version(weight: Tensor) -> tuple[int, int]:
    """Changes with the weights: where they lie, and how often they were written to."""
    return weight.data_ptr(), weight._version


def _supported() -> bool:
    """Whether this torch has the operations, which are those of its own compiler, and the processor the arithmetic."""
    operations: Any = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    return all(hasattr(operations, name) for name in names) and operations._is_mkldnn_bf16_supported()
