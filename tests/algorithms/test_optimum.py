"""The learners on token MDPs whose soft-optimal policy and value are computed exactly (tests/algorithms/mdp.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from algorithms import dqo, dro, dvo, oreo, value
from algorithms.batch import Level
from algorithms.dqo import trajectory_weight
from tests.algorithms.mdp import MDPS, NOISY, Loss, State, TokenMDP, coin, fit, outputs_of, own, total_variation, with_credits

UNWEIGHTED = {"weight_value": False, "weight_policy": False}
EXACT: list[tuple[str, Loss, Any]] = [
    ("oreo token", oreo.loss, oreo.Config(kl=0.0)),
    ("oreo response", oreo.loss, oreo.Config(level="response", kl=0.0)),
    ("dqo lam 1", dqo.loss, dqo.Config()),
    ("dqo lam 0.95", dqo.loss, dqo.Config(lam=0.95)),
    ("dqo lam 0.5", dqo.loss, dqo.Config(lam=0.5)),
    ("dqo lam 0", dqo.loss, dqo.Config(lam=0.0)),
]
"""Learners whose decisions are tokens: all states have a value. (DQO without weights at lam 1 is OREO: test_identities.py.)"""
STEPS: list[tuple[str, Loss, Any]] = [
    ("oreo step", oreo.loss, oreo.Config(level="step", kl=0.0)),
    ("dqo step", dqo.loss, dqo.Config(level="step", lam=0.5)),
]


def cases(learners: list[tuple[str, Loss, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("loss", "config"), [pytest.param(loss, config, id=label) for label, loss, config in learners])


def read_states(mdp: TokenMDP, level: Level) -> torch.Tensor:
    """The states at which decisions of a level are made."""
    batch, state = mdp.batch(level)
    return mdp.read(batch, state)[batch.mask].unique()


@pytest.mark.parametrize("name", MDPS)
@cases(EXACT)
def test_the_soft_optimum_is_reached(name: str, loss: Loss, config: Any) -> None:
    """With full coverage and no KL term: policy within 1e-4 total variation and value within 1e-4 at every state."""
    mdp = MDPS[name]
    best_value, best_policy = mdp.optimum()
    found_value, policy = fit(mdp, loss, replace(config, beta=mdp.beta, gamma=mdp.gamma))
    assert total_variation(policy, best_policy) < 1e-4
    assert float((found_value - best_value).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["steps of two"])
@cases(STEPS)
def test_steps_of_several_tokens_reach_the_optimum_of_tokens(name: str, loss: Loss, config: Any) -> None:
    """A step's probability is the product of its tokens', so that all steps' fix all tokens'. V is learnt before steps only."""
    mdp = MDPS[name]
    best_value, best_policy = mdp.optimum()
    found_value, policy = fit(mdp, loss, replace(config, beta=mdp.beta), "step")
    assert total_variation(policy, best_policy) < 1e-4
    starts = read_states(mdp, "step")
    assert float((found_value - best_value)[starts].abs().max()) < 1e-4
    within = [i for i in range(len(best_value)) if i not in starts.tolist()]
    assert within and found_value[within].tolist() == [0.0] * len(within)


@pytest.mark.parametrize("level", ["token", "step", "response"])
@pytest.mark.parametrize("name", MDPS)
def test_the_exact_optimum_has_no_residual(name: str, level: Level) -> None:
    """Neither in OREO nor in DQO nor, given the credits of V*, in DVO; one decision (DRO) knows no discount."""
    mdp = replace(MDPS[name], gamma=1.0) if level == "response" or MDPS[name].span > 1 else MDPS[name]
    best_value, best_policy = mdp.optimum()
    batch, state = mdp.batch(level)
    batch = with_credits(mdp, batch, state)
    outputs = outputs_of(mdp, best_policy.log(), best_value, batch, state)
    learners: list[tuple[str, Loss, Any]] = [*EXACT, *STEPS] if level != "response" else [("dro", dro.loss, dro.Config())]
    for label, loss, config in learners:
        settings = {"beta": mdp.beta} | ({"gamma": mdp.gamma} if hasattr(config, "gamma") else {})
        assert loss(outputs, batch, replace(config, **settings))[0].item() == pytest.approx(0.0, abs=1e-20), label
    assert dvo.loss(outputs, batch, dvo.Config(beta=mdp.beta))[0].item() == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize("level", ["token", "step"])
@pytest.mark.parametrize("name", MDPS)
def test_dvo_reaches_the_optimum_given_exact_values(name: str, level: Level) -> None:
    mdp = MDPS[name]
    found, policy = fit(mdp, dvo.loss, dvo.Config(beta=mdp.beta), level, steps=200)
    assert total_variation(policy, mdp.optimum()[1]) < 1e-4
    assert found.abs().max() == 0.0  # it has no critic


@pytest.mark.parametrize("name", MDPS)
def test_dro_reaches_the_optimum_of_one_decision_and_the_value_of_the_prompt_only(name: str) -> None:
    """All episodes' probabilities fix all tokens'; V is learnt before the first token and nowhere else; there is no discount."""
    mdp = replace(MDPS[name], gamma=1.0)
    best_value, best_policy = mdp.optimum()
    found, policy = fit(mdp, dro.loss, dro.Config(beta=mdp.beta), "response")
    assert total_variation(policy, best_policy) < 1e-4
    first = read_states(mdp, "response")
    assert float((found - best_value)[first].abs().max()) < 1e-4
    later = [i for i in range(len(found)) if i not in first.tolist()]
    assert found[later].tolist() == [0.0] * len(later)


def covered(mdp: TokenMDP) -> dict[tuple[int, ...], int]:
    """A log without every third episode."""
    return {episode: 1 for number, episode in enumerate(mdp.episodes) if number % 3 != 2}


@pytest.mark.parametrize(
    ("loss", "config", "level"),
    [
        pytest.param(oreo.loss, oreo.Config(kl=0.0), "token", id="oreo token"),
        pytest.param(oreo.loss, oreo.Config(level="response", kl=0.0), "token", id="oreo response"),
        pytest.param(dro.loss, dro.Config(), "response", id="dro"),
    ],
)
def test_what_is_not_in_the_log_is_not_determined(loss: Loss, config: Any, level: Level) -> None:
    """Without every third episode: beta log_ratio = R - V(root) holds on the log for the V that is found, which is not V*.

    Which V it is hangs on where training starts: another start, another V and another policy, and no residual in either.
    """
    mdp = TokenMDP(depth=2)
    best_value, best_policy = mdp.optimum()
    other = mdp.ref_logits + torch.randn(mdp.ref_logits.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    roots, policies = [], []
    for start in (mdp.ref_logits, other):
        found, policy = fit(mdp, loss, replace(config, beta=mdp.beta), level, 500, episodes=covered(mdp), start=start)
        batch, state = mdp.batch("response", covered(mdp))
        outputs = outputs_of(mdp, policy.log(), found, batch, state)
        assert outputs.ref_logp is not None
        soft = batch.reward - mdp.beta * (outputs.logp - outputs.ref_logp)
        torch.testing.assert_close(soft[:, 0], found[0].expand(len(soft)), atol=1e-4, rtol=0)
        roots.append(found[0].item())
        policies.append(policy)
    assert abs(roots[0] - roots[1]) > 0.01 and abs(roots[0] - best_value[0].item()) > 0.01
    assert total_variation(*policies) > 0.01 and total_variation(policies[0], best_policy) > 0.01


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


BY_CHANCE: list[tuple[str, Loss, Any]] = [
    ("oreo token", oreo.loss, oreo.Config(kl=0.0)),
    ("dqo lam 1 unweighted", dqo.loss, dqo.Config(**UNWEIGHTED)),
    ("dqo lam 0 unweighted", dqo.loss, dqo.Config(lam=0.0, **UNWEIGHTED)),
]


@cases(BY_CHANCE)
def test_a_stochastic_environment_is_no_bias_where_no_gradient_enters_the_target(loss: Loss, config: Any) -> None:
    """A coin decides what is rewarded; episodes are as frequent as they are likely, and all as long.

    The residuals do not vanish, but their targets carry no gradient: the fit is a regression onto their mean, Q*.
    """
    mdp = NOISY["coin"]
    best_value, best_policy = mdp.optimum()
    found, policy = fit(mdp, loss, replace(config, beta=mdp.beta), episodes=mdp.counts())
    assert total_variation(policy, best_policy) < 1e-4
    assert float((found - best_value).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("loss", "config", "level"),
    [
        pytest.param(oreo.loss, oreo.Config(level="response", kl=0.0), "token", id="oreo response"),
        pytest.param(dro.loss, dro.Config(), "response", id="dro"),
        pytest.param(dqo.loss, dqo.Config(), "token", id="dqo weighted"),
    ],
)
def test_a_stochastic_environment_biases_whole_responses_and_weights(loss: Loss, config: Any, level: Level) -> None:
    """One residual for an episode holds its policy to account for the coin; a weight of what came after it favours one side."""
    mdp = NOISY["coin"]
    _, policy = fit(mdp, loss, replace(config, beta=mdp.beta), level, episodes=mdp.counts())
    assert total_variation(policy, mdp.optimum()[1]) > 0.01


def test_an_environment_that_ends_episodes_at_random_is_seen_as_doing_so_more_often() -> None:
    """The known bias of Eq. 8 and 9: a mean over each row's decisions gives the only decision of a short episode twice the weight
    of the first of two. A coin that ends the episode then looks like 2/3 against 1/3: that optimum is reached, not the true one.
    """
    mdp = NOISY["hazard"]
    seen = replace(mdp, words=lambda history: {(3,): 1 / 3, (4,): 2 / 3} if history else coin(history))
    found, policy = fit(mdp, oreo.loss, oreo.Config(beta=mdp.beta, kl=0.0), episodes=mdp.counts())
    for wanted, near in ((seen.optimum(), True), (mdp.optimum(), False)):
        assert (float((found - wanted[0]).abs().max()) < 1e-4) == near
        assert (total_variation(policy, wanted[1]) < 1e-4) == near
    assert total_variation(policy, mdp.optimum()[1]) > 0.02


@pytest.mark.parametrize(
    ("average", "counts"), [("decisions", lambda episode: 1), ("episodes", lambda episode: 1 / len(own(episode)))]
)
def test_the_monte_carlo_value_is_the_mean_return_of_the_log(average: Any, counts: Callable[[State], float]) -> None:
    """Every episode once: V(s) is the mean of the returns of the episodes through s, and no soft value.

    Where the loss is a mean over episodes, each counts for one over its decisions.
    """
    mdp = MDPS["tree"]
    found, policy = fit(mdp, value.loss, value.Config(average=average))
    for state, i in mdp.index.items():
        through = [e for e in mdp.episodes if e[: len(state)] == state]
        weights = [counts(e) for e in through]
        mean = sum(w * mdp.reward(e) for w, e in zip(weights, through, strict=True)) / sum(weights)
        assert found[i].item() == pytest.approx(mean, abs=1e-3)
    torch.testing.assert_close(policy, mdp.ref_logits.softmax(-1))


def test_an_uneven_log_changes_the_weights_and_not_the_optimum() -> None:
    """The behaviour policy's log-probabilities enter DQO's weights: with mu = pi at the start every weight is 1."""
    mdp = MDPS["tree"]
    batch, state = mdp.batch()
    outputs = outputs_of(mdp, mdp.ref_logits, torch.zeros(len(mdp.index), dtype=torch.float64), batch, state)
    assert trajectory_weight(outputs, batch, cap=2.0).tolist() == pytest.approx([1.0] * len(mdp.episodes))
    behaviour = replace(batch, old_logp=outputs.logp - 0.25)
    weights = trajectory_weight(outputs, behaviour, cap=2.0)
    expected = torch.exp(0.25 * batch.mask.sum(1).double()).clamp(max=2.0)
    torch.testing.assert_close(weights, expected, atol=1e-12, rtol=0)
    some = {episode: 1 + number % 4 for number, episode in enumerate(mdp.episodes)}
    found, policy = fit(mdp, dqo.loss, dqo.Config(beta=mdp.beta), episodes=some)
    best_value, best_policy = mdp.optimum()
    assert total_variation(policy, best_policy) < 1e-4 and float((found - best_value).abs().max()) < 1e-4
