"""One token for each of many rows of logits, and its log-probability, in few passes over a large vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.sampling import Sampling

BLOCK = 256
"""Tokens that are summed together, so that only one such sum of a row is looked into."""

CACHED = 2**19
"""Most logits that are worked on at once by a CPU: so many float32 stay in its cache from one pass to the next."""


def draw(logits: Tensor, sampling: Sampling, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one token a row.

    Args:
        logits: [n, V] of any float type.
        sampling: how.
        uniform: a number in [0, 1) for each row, double [n]; not looked at where the most likely token is taken.

    Returns:
        tokens, long [n], and their log-probabilities by the logits themselves, float [n].
    """
    count = max(1, CACHED // logits.shape[-1]) if logits.device.type == "cpu" else len(logits)
    parts = [_draw(*part, sampling) for part in zip(logits.split(count), uniform.split(count), strict=True)]
    picked, logp = (torch.cat(side) for side in zip(*parts, strict=True))
    return picked, logp


def _draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    logits = logits.float()
    probs = logits.softmax(-1)
    if sampling.temperature == 0:
        picked = logits.argmax(-1)
    elif sampling.temperature == 1 and not sampling.top_k and sampling.top_p == 1:
        picked = inverse_cdf(probs, uniform)
    else:
        picked = inverse_cdf(filtered(logits, sampling), uniform)
    total = logits.amax(-1) - probs.amax(-1).log()  # logsumexp, without another pass of exponentials
    return picked, logits.gather(-1, picked[:, None])[:, 0] - total


def filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """The probabilities [n, V] that tokens are drawn from: temperature, then top-k, then top-p."""
    logits = logits / sampling.temperature
    if sampling.top_k:
        kept = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < kept, -torch.inf)
    probs = logits.softmax(-1)
    if sampling.top_p < 1:
        ordered, index = probs.sort(descending=True)
        # The first token whose predecessors already hold top_p is the first one dropped.
        dropped = ordered.cumsum(-1) - ordered >= sampling.top_p
        probs = probs.masked_fill(torch.zeros_like(dropped).scatter(-1, index, dropped), 0.0)
    return probs


def inverse_cdf(weights: Tensor, uniform: Tensor) -> Tensor:
    """Draw one index a row, never of weight 0: weights [n, V] (of any sum), uniform double [n] in [0, 1) -> long [n].

    The block of `BLOCK` indices is found first, by the blocks' sums, and the index within it then.
    """
    sums = _sums(weights)
    total = sums.cumsum(-1)
    aim = uniform[:, None] * total[:, -1:]
    block = _found(total, aim, sums)
    index = block * BLOCK + torch.arange(BLOCK, device=weights.device)
    inner = weights.gather(-1, index.clamp(max=weights.shape[-1] - 1)) * (index < weights.shape[-1])
    before = total.gather(-1, block) - sums.gather(-1, block)
    place = _found(inner.double().cumsum(-1), aim - before, inner)
    return (block * BLOCK + place)[:, 0]


def _sums(weights: Tensor) -> Tensor:
    """Of each block, double [n, blocks]."""
    blocks = weights.shape[-1] // BLOCK
    whole, rest = weights.split([blocks * BLOCK, weights.shape[-1] - blocks * BLOCK], dim=-1)
    sums = whole.unflatten(-1, (blocks, BLOCK)).sum(-1, dtype=torch.float64)
    return torch.cat([sums, rest.sum(-1, keepdim=True, dtype=torch.float64)], dim=-1)


def _found(total: Tensor, aim: Tensor, parts: Tensor) -> Tensor:
    """The first place [n, 1] whose running sum [n, k] is above `aim` [n, 1], or the last one with a part of the sum."""
    found = torch.searchsorted(total, aim.contiguous(), right=True)
    last = parts.shape[-1] - 1 - (parts > 0).flip(-1).long().argmax(-1, keepdim=True)
    return torch.minimum(found, last)
