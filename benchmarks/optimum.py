"""How near each learner comes to the exact soft optimum of small token MDPs (tests/algorithms/mdp.py): a table.

    python -m benchmarks.optimum                                    # policy and critic are tables of numbers
    python -m benchmarks.optimum --model --mdp "stochastic lengths" # a small Llama and a critic, by the loop that trains everything

Every episode is in the log, there is no KL term. `policy` is the largest total variation distance from pi* over all states, `value`
the largest |V - V*| over the states that the learner reads V at. In the last two MDPs the environment draws what matters after the
agent has acted: there whole responses, weights and means over rows of unequal lengths are biased, and the table shows by how much.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from agents import tiny
from agents.checkpoint import Base, Loaded
from agents.model import ActorCritic
from algorithms import dqo, dro, dvo, oreo
from algorithms.batch import Row
from algorithms.learner import Learner, Models
from algorithms.method import Method
from algorithms.training import Training
from tests.algorithms.mdp import ACTIONS, MDPS, NOISY, PROMPT, TokenMDP, announced, fit, silent, total_variation, with_credits

LEARNERS: dict[str, tuple[Method, Any]] = {
    "oreo token": (oreo.METHOD, oreo.Config(kl=0.0)),
    "oreo step": (oreo.METHOD, oreo.Config(level="step", kl=0.0)),
    "oreo response": (oreo.METHOD, oreo.Config(level="response", kl=0.0)),
    "dqo lam 1": (dqo.METHOD, dqo.Config()),
    "dqo lam 0.95": (dqo.METHOD, dqo.Config(lam=0.95)),
    "dqo lam 0.5": (dqo.METHOD, dqo.Config(lam=0.5)),
    "dqo lam 0": (dqo.METHOD, dqo.Config(lam=0.0)),
    "dqo lam 0 unweighted": (dqo.METHOD, dqo.Config(lam=0.0, weight_value=False, weight_policy=False)),
    "dvo, exact V": (dvo.METHOD, dvo.Config()),
    "dro": (dro.METHOD, dro.Config()),
}


@dataclass(frozen=True)
class Found:
    """What was learnt."""

    mdp: str
    learner: str
    policy: float
    value: float | None
    steps: int
    seconds: float


def settings(mdp: TokenMDP, config: Any) -> Any:
    return replace(config, beta=mdp.beta, **({"gamma": mdp.gamma} if hasattr(config, "gamma") else {}))


def log_of(name: str, mdp: TokenMDP) -> dict[tuple[int, ...], int]:
    """Every episode once, or as often as it is likely where the environment draws what matters."""
    return mdp.counts() if name in NOISY else dict.fromkeys(mdp.episodes, 1)


def distances(mdp: TokenMDP, method: Method, config: Any, value: Tensor, policy: Tensor) -> tuple[float, float | None]:
    best_value, best_policy = mdp.optimum()
    batch, state = mdp.batch(method.level(config))
    read = mdp.read(batch, state)[batch.mask].unique()
    return total_variation(policy, best_policy), float((value - best_value)[read].abs().max()) if method.value else None


def tabular(steps: int, names: list[str], labels: list[str]) -> Iterator[Found]:
    for name, mdp in ((name, (MDPS | NOISY)[name]) for name in names):
        for label, (method, given) in ((label, LEARNERS[label]) for label in labels):
            config = settings(mdp, given)
            fair = mdp if hasattr(config, "gamma") or method is dvo.METHOD else replace(mdp, gamma=1.0)  # DRO knows no discount
            began = time.perf_counter()
            value, policy = fit(fair, method.loss, config, method.level(config), steps, episodes=log_of(name, mdp))
            took = time.perf_counter() - began
            yield Found(name, label, *distances(fair, method, config, value, policy), steps, took)


def llama(seed: int, width: int = 64) -> LlamaForCausalLM:
    """A random Llama over the MDPs' tokens that gives the agent's three all of the probability."""
    config = LlamaConfig(
        vocab_size=PROMPT + 1,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(seed)
    lm = LlamaForCausalLM(config)
    weights = lm.lm_head.weight.data
    lm.lm_head = nn.Linear(width, PROMPT + 1)
    lm.lm_head.weight.data = weights
    lm.lm_head.bias.data = torch.where(torch.arange(PROMPT + 1) < ACTIONS, 0.0, -1e4)
    return lm.eval()


def of_models(name: str) -> TokenMDP:
    """An MDP as a model meets it: it would not know that words of no consequence have none, so they are left unsaid."""
    if name == "stochastic lengths":
        return replace(MDPS[name], words=lambda history: silent(history) if history else announced(history))
    return replace((MDPS | NOISY)[name])


def states_of(mdp: TokenMDP) -> tuple[Tensor, Tensor]:
    """All states as right-padded tokens [states, T], and the place of the last token of each."""
    last = torch.tensor([len(state) for state in mdp.index])
    tokens = torch.zeros(len(last), int(last.max()) + 1, dtype=torch.long)
    for i, state in enumerate(mdp.index):
        tokens[i, : len(state) + 1] = torch.tensor((PROMPT, *state))
    return tokens, last


def read_out(mdp: TokenMDP, model: ActorCritic) -> tuple[Tensor, Tensor]:
    """V [states] and the logits of the agent's tokens [states, 3]."""
    tokens, last = states_of(mdp)
    rows = torch.arange(len(last))
    with torch.no_grad():
        hidden = model.hidden("policy", tokens)[rows, last]
        value = model.values(tokens)[rows, last] if model.value_head is not None else torch.zeros(len(last))
        return value.double(), model.logits(hidden)[:, :ACTIONS].double()


def rows_of(mdp: TokenMDP, name: str, method: Method, config: Any) -> list[Row]:
    """The log; with exact credits of the steps where the learner is DVO."""
    episodes = [e for e, n in log_of(name, mdp).items() for _ in range(n)]
    rows = [mdp.row(episode) for episode in episodes]
    if method is not dvo.METHOD:
        return rows
    batch, state = mdp.batch("step", log_of(name, mdp))
    target = with_credits(mdp, batch, state).target
    assert target is not None
    return [replace(row, target=tuple(t[: len(row.reward)].tolist())) for row, t in zip(rows, target, strict=True)]


def trained(steps: int, lr: float, names: list[str], labels: list[str]) -> Iterator[Found]:
    disable_progress_bar()
    tokenizer = tiny.train_tokenizer([""], 260)  # the loop asks for one; these MDPs' tokens are no text
    for name in names:
        for label, (method, given) in ((label, LEARNERS[label]) for label in labels):
            lm = llama(seed=0)
            mdp = of_models(name)
            if method is dro.METHOD:
                mdp.gamma = 1.0
            mdp.ref_logits = read_out(mdp, ActorCritic(lm))[1]  # the model at its start is the reference
            config = settings(mdp, given)
            rows = rows_of(mdp, name, method, config)
            training = Training(
                lr=lr, critic_lr=lr, epochs=steps, batch=len(rows), micro_tokens=10**6, save_every=10**9, tracker="none"
            )
            with tempfile.TemporaryDirectory() as folder:
                learner = Learner(
                    method, config, training, rows, Models(Loaded(lm, tokenizer, Base("random", ""))), Path(folder, "model")
                )
                began = time.perf_counter()
                learner.run()
                took = time.perf_counter() - began
            value, logits = read_out(mdp, learner.accelerator.unwrap_model(learner.model))
            yield Found(name, label, *distances(mdp, method, config, value, logits.softmax(-1)), steps, took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="store_true", help="train a small Llama by the loop, and not a table")
    parser.add_argument("--steps", type=int, default=600, help="optimiser steps")
    parser.add_argument("--lr", type=float, default=3e-3, help="of the model and its critic")
    parser.add_argument("--mdp", nargs="*", default=[*MDPS, *NOISY], choices=[*MDPS, *NOISY])
    parser.add_argument("--learner", nargs="*", default=[*LEARNERS], choices=[*LEARNERS])
    args = parser.parse_args()
    chosen = args.mdp, args.learner
    table = Table("MDP", "learner", "policy", "value", "steps", "seconds")
    console = Console()
    for found in trained(args.steps, args.lr, *chosen) if args.model else tabular(args.steps, *chosen):
        value = "-" if found.value is None else f"{found.value:.1e}"
        console.print(f"{found.mdp}, {found.learner}: policy {found.policy:.1e}, value {value}", highlight=False)
        table.add_row(found.mdp, found.learner, f"{found.policy:.1e}", value, str(found.steps), f"{found.seconds:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
