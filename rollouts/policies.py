"""Agents of loaded models: one that writes, or one that picks among what an environment lists or a model proposes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agents import checkpoint
from agents.agent import Agent
from agents.checkpoint import Loaded
from agents.choices import ChoiceAgent, ChoiceEncoder, Offer, Proposals, View, listed
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.sampling import Sampling
from envs.problem_env import segment
from rollouts.runs import run_checkpoint


@dataclass(frozen=True)
class Proposer:
    """The frozen model that proposed while a choice policy learnt: it must propose when that policy plays, too."""

    model: str
    """where it lies"""
    fingerprint: str
    segment: str | None = None
    """the environment's rule that cuts its responses into steps"""


def proposer_of(model: str, lm: PreTrainedModel, segment: str | None = None) -> Proposer:
    """The proposer that `model` names and `lm` is. A folder is kept whole, to be found from anywhere; a hub id stays one."""
    path = run_checkpoint(model)
    return Proposer(str(path.resolve()) if path.exists() else str(path), checkpoint.fingerprint(lm), segment)


def offering(view: View, proposer: Proposer | None = None, base: str | None = None) -> Offer:
    """What a choice policy's states offer: what the environment lists, or a model's proposals.

    `base` is where the base model of LoRA checkpoints lies now: the proposer's base, or the proposer itself.

    Raises:
        FileNotFoundError: the proposing model is gone.
        ValueError: another model lies in its place, or there is none though the view has proposals.
    """
    if not view.proposals:
        return listed
    if proposer is None:
        raise ValueError(f"proposals={view.proposals} need a model that proposes, and none is known")
    try:
        loaded = checkpoint.load_policy(proposer.model, base)
    except FileNotFoundError:
        if base is None:
            raise
        loaded = checkpoint.load_policy(base)
    if (found := checkpoint.fingerprint(loaded.lm)) != proposer.fingerprint:
        raise ValueError(
            f"the policy learnt to choose among proposals of a model with fingerprint {proposer.fingerprint}, "
            f"but {proposer.model} has {found}: put the very model back"
        )
    agent = LMAgent(placed(loaded.lm), loaded.tokenizer, Sampling(max_new_tokens=view.choice_tokens))
    return Proposals(agent, view.proposals, partial(segment, rule=proposer.segment) if proposer.segment else None)


def choice_agent(
    model: ActorCritic, tokenizer: PreTrainedTokenizerBase, view: View, offer: Offer, sampling: Sampling, name: str
) -> ChoiceAgent:
    """A model that picks among what is offered. Raises ValueError for sampling settings that a choice has no use for."""
    if sampling.top_p < 1 or sampling.top_k:
        raise ValueError(f"{name} picks among whole texts: only --temperature applies, got {sampling}")
    return ChoiceAgent(model, ChoiceEncoder(tokenizer, view), offer, sampling.temperature, name)


def placed(lm: PreTrainedModel) -> ActorCritic:
    """A model to act with, on the GPU where there is one."""
    model = ActorCritic(lm)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def policy_agent(loaded: Loaded, name: str, sampling: Sampling, choosing: bool = False, base: str | None = None) -> Agent:
    """The agent of a loaded model. It picks among what the environment lists where it learnt to, or where `choosing` says so.

    Raises:
        FileNotFoundError, ValueError: as `offering` and `choice_agent`.
    """
    model = placed(loaded.lm)
    if not choosing and "view" not in loaded.meta:
        return LMAgent(model, loaded.tokenizer, sampling, name=name)
    view, proposer = View(**loaded.meta.get("view", {})), loaded.meta.get("proposer")
    offer = offering(view, Proposer(**proposer) if proposer else None, base)
    return choice_agent(model, loaded.tokenizer, view, offer, sampling, name)
