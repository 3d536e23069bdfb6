"""Attention of this project's own kinds inside a transformers model, for as long as a call lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@contextmanager
def attending(trunk: nn.Module, name: str) -> Iterator[None]:
    """Let every layer of a transformer attend by what is registered as `name`."""
    config: Any = trunk.config
    usual, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = usual


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """What is visible, bool [B, Q, K], as the float [B, 1, Q, K] that is added to attention scores."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, torch.finfo(dtype).min)[:, None]


def windowed(lm: PreTrainedModel) -> bool:
    """Whether some layer of a model sees only a part of what stands before a token."""
    sizes = lm.config.to_dict()
    windows = any("window" in name and name != "max_window_layers" and size for name, size in sizes.items())
    return windows or bool(set(getattr(lm.config, "layer_types", None) or ()) - {"full_attention"})


def alike(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two computations of the same states differ by rounding alone."""
    tolerance = max(1e-3, 6 * torch.finfo(theirs.dtype).eps)
    return bool((ours.float() - theirs.float()).norm() < tolerance * theirs.float().norm())


def check_arguments(module: nn.Module, given: Mapping[str, Any], *refused: str) -> None:
    """Raise ValueError where a layer wants something of its attention that is not there: one of `refused`, sinks or biases."""
    for name in ("s_aux", "position_bias", *refused):
        if given.get(name) is not None:
            raise ValueError(f"{type(module).__name__} takes {name}")
