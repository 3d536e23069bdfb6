"""How much of OREO's policy gradient is signal? Measured at the start of training on a finished run of the main job.

    python benchmarks/gradient_noise.py out/oreo-math-0 [--batches 16] [--rows 128]

The gradient of `--batches` disjoint batches is taken at the SFT model, without the KL term, V held at the log's success rate. What
two batches' gradients share is signal: the mean of g_i . g_j over i != j estimates the squared norm of the expected gradient S. The
mean of g_i . g_i is S + N, N the power of the noise of one batch. Printed is S / N.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from agents import checkpoint
from agents.model import ActorCritic
from agents.prompt import Prompt
from algorithms import oreo
from algorithms.batch import Outputs, collate, gather_decisions
from algorithms.examples import encode_rows
from rollouts.trajectory import read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--rows", type=int, default=128)
    arguments = parser.parse_args()
    start = checkpoint.load_policy(arguments.run / "sft")
    rows = list(encode_rows(read(arguments.run / "rollouts.jsonl").trajectories, Prompt(start.tokenizer), 2048))
    success = sum(row.solved for row in rows) / len(rows)
    model = ActorCritic(start.lm).eval()
    order = np.random.default_rng(0).permutation(len(rows))
    found = []
    for index in range(arguments.batches):
        chosen = order[index * arguments.rows : (index + 1) * arguments.rows]
        batch = collate([rows[i] for i in chosen], "token")
        logp = gather_decisions(model(batch.tokens, batch.decision >= 0, batch.start).logp, batch)
        outputs = Outputs(logp, logp.detach(), batch.mask * success)
        model.zero_grad()
        oreo.loss(outputs, batch, oreo.Config(kl=0.0))[0].backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    gradients = torch.stack(found)
    products = gradients @ gradients.T
    own = products.diagonal().mean()
    shared = (products.sum() - products.diagonal().sum()) / (len(found) * (len(found) - 1))
    print(f"{len(rows)} rollouts, {success:.1%} solved; {arguments.batches} batches of {arguments.rows} rows")
    print(f"signal / noise power of one batch: {(shared / (own - shared)).item():.3f}")


if __name__ == "__main__":
    main()
