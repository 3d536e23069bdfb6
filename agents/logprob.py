"""Log-probabilities and exact KL of chosen tokens without a `[B, T, V]` tensor.

Only the positions that an agent acted at meet the vocabulary, a chunk at a time; the backward pass computes each chunk's logits
again instead of keeping them (memory: three float tensors of `chunk x V`, whatever the sequence length).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK, LOGITS = 1024, 2**24
"""Most positions of a chunk, and most logits of one (64 MiB in float32) as long as it has 64 positions."""

Project = Callable[[Tensor], Tensor]
"""Final hidden states [N, D] -> logits [N, V]."""


def token_log_probs(hidden: Tensor, targets: Tensor, project: Project, chunk: int | None = None) -> Tensor:
    """Log pi(target | state) at N positions, `chunk` at a time: hidden [N, D], targets [N] -> float [N]."""

    def of_chunk(h: Tensor, y: Tensor) -> tuple[Tensor]:
        logits = _upcast(project(h))
        return (logits.gather(-1, y[:, None])[:, 0] - logits.logsumexp(-1),)

    (logp,) = _chunked(of_chunk, chunk or _fitting(hidden, project), hidden, targets)
    return logp


def token_log_probs_and_kl(
    hidden: Tensor, ref_hidden: Tensor, targets: Tensor, project: Project, ref_project: Project, chunk: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Policy and reference log-probabilities of the targets, and the exact KL(pi || ref) at each position.

    KL = sum_v pi(v) (log pi(v) - log ref(v)) over the full vocabulary. hidden, ref_hidden [N, D], targets [N]; returns three
    float tensors [N]. No gradient flows into the reference.
    """

    def of_chunk(h: Tensor, r: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logp = _upcast(project(h)).log_softmax(-1)
        with torch.no_grad():
            ref = _upcast(ref_project(r)).log_softmax(-1)
        kl = (logp.exp() * (logp - ref)).sum(-1)
        return logp.gather(-1, y[:, None])[:, 0], ref.gather(-1, y[:, None])[:, 0], kl

    logp, ref_logp, kl = _chunked(of_chunk, chunk or _fitting(hidden, project), hidden, ref_hidden, targets)
    return logp, ref_logp.detach(), kl


def _upcast(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _fitting(hidden: Tensor, project: Project) -> int:
    """How many positions are taken at once: few of a large vocabulary."""
    with torch.no_grad():
        vocabulary = project(hidden[:0]).shape[-1]
    return min(CHUNK, max(64, LOGITS // vocabulary))


def _chunked(function: Callable[..., tuple[Tensor, ...]], chunk: int, *inputs: Tensor) -> Iterator[Tensor]:
    pieces = zip(*(x.split(chunk) for x in inputs), strict=True)
    grad = torch.is_grad_enabled()
    found = [checkpoint(function, *piece, use_reentrant=False) if grad else function(*piece) for piece in pieces]
    return map(torch.cat, zip(*found, strict=True))
