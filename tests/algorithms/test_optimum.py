"""The learners on token MDPs whose soft-optimal policy and value are computed exactly (tests/algorithms/mdp.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from algorithms import dqo, dro, dvo, oreo, value
from algorithms.batch import Batch
from algorithms.dqo import trajectory_weight
from tests.algorithms.mdp import Loss, TokenMDP, fit, outputs_of, total_variation

MDPS = {
    "tree": TokenMDP(),
    "multi-turn": TokenMDP(multi_turn=True, seed=1),
    "discounted, dense": TokenMDP(gamma=0.9, step_reward=lambda prefix: 0.1 * (prefix[-1] == 1), seed=2),
}
EXACT: list[tuple[str, Loss, Any]] = [
    ("oreo token", oreo.loss, oreo.Config(kl=0.0)),
    ("oreo step", oreo.loss, oreo.Config(level="step", kl=0.0)),
    ("dqo lam 1", dqo.loss, dqo.Config()),
    ("dqo lam 0.95", dqo.loss, dqo.Config(lam=0.95)),
    ("dqo lam 0.5", dqo.loss, dqo.Config(lam=0.5)),
    ("dqo lam 0", dqo.loss, dqo.Config(lam=0.0)),
    ("dqo unweighted", dqo.loss, dqo.Config(weight_value=False, weight_policy=False)),
]


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize(("loss", "config"), [pytest.param(loss, config, id=label) for label, loss, config in EXACT])
def test_the_soft_optimum_is_reached(name: str, loss: Loss, config: Any) -> None:
    """With full coverage and no KL term: policy within 1e-4 total variation and value within 1e-4 at every state."""
    mdp = MDPS[name]
    best_value, best_policy = mdp.optimum()
    found_value, policy = fit(mdp, loss, replace(config, beta=mdp.beta, gamma=mdp.gamma))
    assert total_variation(policy, best_policy) < 1e-4
    assert float((found_value - best_value).abs().max()) < 1e-4


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize(("loss", "config"), [pytest.param(loss, config, id=label) for label, loss, config in EXACT])
def test_the_exact_optimum_has_no_residual(name: str, loss: Loss, config: Any) -> None:
    mdp = MDPS[name]
    best_value, best_policy = mdp.optimum()
    batch, state, action = mdp.batch()
    outputs = outputs_of(mdp, best_policy.log(), best_value, state, action)
    total, _ = loss(outputs, batch, replace(config, beta=mdp.beta, gamma=mdp.gamma))
    assert total.item() == pytest.approx(0.0, abs=1e-20)


def credits(mdp: TokenMDP, batch: Batch) -> Batch:
    """The batch with the exact credits r + gamma V*(s') - V*(s)."""
    best_value, _ = mdp.optimum()
    _, state, _ = mdp.batch()
    here = best_value[state] * batch.mask
    after = torch.nn.functional.pad(here[:, 1:], (0, 1))
    return replace(batch, target=(batch.reward + mdp.gamma * after - here) * batch.mask)


@pytest.mark.parametrize("name", MDPS)
def test_dvo_reaches_the_optimum_given_exact_values(name: str) -> None:
    mdp = MDPS[name]
    _, best_policy = mdp.optimum()
    nothing = torch.zeros(len(mdp.index), dtype=torch.float64)
    _, policy = fit(mdp, dvo.loss, dvo.Config(beta=mdp.beta), value=nothing, change=lambda batch: credits(mdp, batch))
    assert total_variation(policy, best_policy) < 1e-3


def test_the_kl_term_pulls_to_the_reference() -> None:
    """The known bias of alpha > 0: the further it rises, the closer the policy stays to the reference."""
    mdp = MDPS["tree"]
    _, best_policy = mdp.optimum()
    ref = mdp.ref_logits.softmax(-1)
    policies = [fit(mdp, oreo.loss, oreo.Config(beta=mdp.beta, kl=kl))[1] for kl in (0.0, 0.03, 0.3)]
    from_best = [total_variation(policy, best_policy) for policy in policies]
    from_ref = [total_variation(policy, ref) for policy in policies]
    assert from_best[0] < 1e-3 < from_best[1] < from_best[2]
    assert from_ref[0] > from_ref[1] > from_ref[2]


def test_response_level_fixes_whole_episodes_and_not_their_tokens() -> None:
    """OREO's Eq. 10 with V free reaches the optimal probability of every episode, since all episodes are there."""
    mdp = MDPS["tree"]
    _, best_policy = mdp.optimum()
    _, policy = fit(mdp, oreo.loss, oreo.Config(level="response", beta=mdp.beta, kl=0.0), steps=1500)
    batch, state, action = mdp.batch()

    def episodes(table: torch.Tensor) -> torch.Tensor:
        chosen = table[state].gather(-1, action[..., None])[..., 0]
        return torch.where(batch.mask, chosen, torch.ones_like(chosen)).prod(1)

    torch.testing.assert_close(episodes(policy), episodes(best_policy), atol=1e-3, rtol=0)


def test_dro_learns_the_value_of_the_prompt_and_the_probabilities_of_responses() -> None:
    """One decision an episode: V(x) is V* of the root, and pi(y | x) = ref(y | x) exp((r - V(x)) / beta)."""
    mdp = MDPS["tree"]
    best_value, _ = mdp.optimum()
    batch, state, action = mdp.batch()
    logits = mdp.ref_logits.clone().requires_grad_()
    root = torch.zeros((), dtype=torch.float64, requires_grad=True)
    one = Batch(batch.tokens, batch.decision, batch.start[:, :1], batch.mask[:, :1], batch.reward.sum(1, keepdim=True))
    optimizer = torch.optim.Adam([logits, root], lr=0.05)
    for _ in range(1500):
        outputs = outputs_of(mdp, logits, torch.zeros(len(mdp.index), dtype=torch.float64), state, action)
        whole = replace(
            outputs,
            logp=(outputs.logp * batch.mask).sum(1, keepdim=True),
            ref_logp=(outputs.ref_logp * batch.mask).sum(1, keepdim=True),  # type: ignore[operator]
            value=root.expand(len(mdp.episodes), 1),
        )
        total, _ = dro.loss(whole, one, dro.Config(beta=mdp.beta))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert root.item() == pytest.approx(best_value[mdp.index[()]].item(), abs=1e-3)


def test_the_monte_carlo_value_is_the_mean_return_of_the_log() -> None:
    """Every episode once: V(s) is the plain mean of the returns of the episodes through s, and no soft value."""
    mdp = MDPS["tree"]
    found, policy = fit(mdp, value.loss, value.Config(), steps=1200)
    lengths = {e: len(e) for e in mdp.episodes}
    for state, i in mdp.index.items():
        # Each row's mean over its own decisions weighs short episodes more.
        through = [e for e in mdp.episodes if e[: len(state)] == state]
        weights = [1 / lengths[e] for e in through]
        mean = sum(w * mdp.reward(e) for w, e in zip(weights, through, strict=True)) / sum(weights)
        assert found[i].item() == pytest.approx(mean, abs=1e-3)
    torch.testing.assert_close(policy, mdp.ref_logits.softmax(-1))


def test_an_uneven_log_changes_the_weights_and_not_the_optimum() -> None:
    """The behaviour policy's log-probabilities enter DQO's weights: with mu = pi at the start every weight is 1."""
    mdp = MDPS["tree"]
    batch, state, action = mdp.batch()
    outputs = outputs_of(mdp, mdp.ref_logits, torch.zeros(len(mdp.index), dtype=torch.float64), state, action)
    assert trajectory_weight(outputs, batch, cap=2.0).tolist() == pytest.approx([1.0] * len(mdp.episodes))
    behaviour = replace(batch, old_logp=outputs.logp - 0.25)
    weights = trajectory_weight(outputs, behaviour, cap=2.0)
    expected = torch.exp(0.25 * batch.mask.sum(1).double()).clamp(max=2.0)
    torch.testing.assert_close(weights, expected, atol=1e-12, rtol=0)
