"""Agents that search, from names on a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import msgspec

from agents import checkpoint
from agents.agent import Agent, segment_of
from agents.lm import LMAgent
from agents.model import ActorCritic
from agents.prompt import Prompt
from agents.sampling import Sampling
from agents.search import Beam, BestOf, SearchAgent, TreeSearch, Vote
from agents.values import CriticValue, ImplicitValue, LikelihoodValue, Value
from agents.worlds import TextWorld, World
from rollouts.credit import learnt_by_token
from rollouts.resolve import resolve_agent
from rollouts.runs import run_checkpoint
from rollouts.simulate import SimulatedWorld
from rollouts.trajectory import Header

Kind = Literal["none", "best-action", "best-response", "vote", "value-vote", "beam", "tree"]
OWN, IMPLICIT, LIKELIHOOD = "own", "implicit", "likelihood"


@dataclass(frozen=True)
class SearchArgs:
    """How an agent searches before it acts."""

    search: Kind = "none"
    """the best of --width actions or steps (best-action) or whole responses (best-response), a vote of --width responses (vote,
    value-vote), a beam of --width, or a tree with --width steps at each node"""
    width: int = 4
    """samples (best-action, best-response, votes), ways on that a beam keeps, or next steps at a node of a tree"""
    breadth: int | None = None
    """beam: next steps sampled after each way on; default: --width"""
    iterations: int = 16
    """tree: expansions before an action is chosen"""
    value: str = OWN
    """whose V: own (the agent's critic), another checkpoint (RUN/value), implicit (the agent's log-ratio to its reference), or
    likelihood (how probable the agent itself finds what it says, per token; no critic is needed)"""
    reference: str | None = None
    """implicit: the model that the agent's training started from (RUN/sft)"""
    budget: int | None = None
    """tokens that an episode may sample before it goes on without search"""
    simulator: bool = False
    """look ahead in a copy of the environment (AlfWorld, for beam and tree); the log says so"""

    def __post_init__(self) -> None:
        """Raises ValueError for settings that do not go together."""
        if self.simulator and self.search not in ("beam", "tree"):
            raise ValueError(f"--simulator is for --search beam and tree, not {self.search}")
        if self.reference and self.value != IMPLICIT:
            raise ValueError("--reference is what --value implicit compares with")


def searching_agent(
    name: str, sampling: Sampling, search: SearchArgs, make: Callable[[], gym.Env], base: str | None = None
) -> tuple[Agent, Header]:
    """An agent by name with a search around it, and the header (without environment) for its log.

    Raises:
        ValueError: the agent does not sample, V cannot be read where this search reads it, or the environment cannot be looked
            ahead in.
        FileNotFoundError: as `resolve_agent`.
    """
    agent, header = resolve_agent(name, sampling, base)
    if not isinstance(agent, LMAgent):
        raise ValueError(f"--search {search.search} tries what a language model samples, and {name} is {agent.name}")
    if sampling.temperature == 0:
        raise ValueError(
            f"--search {search.search} at temperature 0 would try the same text {search.width} times: give --temperature 1"
        )
    env = make()
    segment = segment_of(env)
    steps = segment is not None and search.search in ("best-action", "beam", "tree")
    sampled = agent.stopping(lambda text: len(segment(text)) > 1) if steps and segment else agent
    assert isinstance(sampled, LMAgent)
    sampled, value = _valued(name, sampled, search, base)
    found = _search(sampled, value, search, make, env)
    env.close()
    described = {key: value for key, value in asdict(search).items() if value is not None}
    return found, msgspec.structs.replace(header, agent=found.name, sampling=header.sampling | described)


def _search(agent: LMAgent, value: Value | None, search: SearchArgs, make: Callable[[], gym.Env], env: gym.Env) -> SearchAgent:
    kind, width, budget = search.search, search.width, search.budget
    if kind in ("best-action", "best-response"):
        return BestOf(agent, value, width, budget)
    if kind in ("vote", "value-vote"):
        votes = getattr(env.unwrapped, "votes", None)
        if votes is None:
            raise ValueError(f"--search {kind} counts answers, and {env.spec and env.spec.id} has none: take best-action or beam")
        return Vote(agent, value, width, votes, budget)
    world = _world(agent, search, make, env)
    assert value is not None
    if kind == "beam":
        return Beam(agent, value, width, world, search.breadth, budget)
    return TreeSearch(agent, value, width, world, search.iterations, budget=budget)


def _world(agent: LMAgent, search: SearchArgs, make: Callable[[], gym.Env], env: gym.Env) -> World:
    if search.simulator:
        return SimulatedWorld(make)
    segment, finished = segment_of(env), getattr(env.unwrapped, "finished", None)
    if segment is None or finished is None:
        raise ValueError(
            f"--search {search.search} must know what comes after an action, and in {env.spec and env.spec.id} the environment "
            "says that: give --simulator to look ahead in a copy of it, or --search best-action"
        )
    return TextWorld(segment, finished, agent.prompt.closer, getattr(env.unwrapped, "max_steps", 20))


def _valued(name: str, agent: LMAgent, search: SearchArgs, base: str | None) -> tuple[LMAgent, Value | None]:
    """The agent, and who judges what it samples: where its own critic does, both are one model."""
    if search.search == "vote":
        return agent, None
    own = run_checkpoint(name)
    if search.value == LIKELIHOOD:
        return agent, LikelihoodValue()
    if search.value == IMPLICIT:
        return agent, _implicit(own, agent, search, base)
    source = own if search.value == OWN else run_checkpoint(search.value)
    if not checkpoint.is_checkpoint(source):
        raise ValueError(
            f"--search {search.search} needs a critic, and {source} is a model without: give --value RUN/oreo (or RUN/value)"
        )
    check_searchable(checkpoint.read_config(source), str(source))
    model, tokenizer = checkpoint.load(source, base)
    model.to(agent.sampler.model.lm.device)
    if search.value == OWN:
        stop = agent.stop
        agent = LMAgent(model, tokenizer, agent.sampling, agent.name, stop)
    return agent, CriticValue(model, Prompt(tokenizer), agent.sampler)


def check_searchable(meta: Mapping[str, Any], source: str) -> None:
    """Raise ValueError where a critic did not learn V wherever a search reads it (`unsearchable`)."""
    if reason := unsearchable(meta):
        raise ValueError(f"{source} ({meta.get('method', 'a model without training')}) {reason}")


def unsearchable(meta: Mapping[str, Any]) -> str:
    """Why a search cannot read V of a checkpoint, by its `config.json`; "" where V was learnt at every token of the agent."""
    if not meta.get("critic"):
        return "has no value head: give a checkpoint that was trained with a critic, such as oreo's"
    if not learnt_by_token(meta):
        level = meta.get("settings", {}).get("level") or "response"
        return f"learnt V before each {level} only, and a search reads it behind one: train the critic with --level token"
    return ""


def _implicit(own: Path, agent: LMAgent, search: SearchArgs, base: str | None) -> ImplicitValue:
    if search.reference is None:
        raise ValueError("--value implicit is a ratio to the model that training started from: give --reference (such as RUN/sft)")
    beta = checkpoint.read_config(own).get("settings", {}).get("beta") if checkpoint.is_checkpoint(own) else None
    if not beta:
        raise ValueError(
            f"--value implicit needs the beta that {own} was trained with, and it has none: give an agent of OREO or DQO"
        )
    reference = checkpoint.load_policy(run_checkpoint(search.reference), base).lm
    model = ActorCritic(agent.sampler.model.lm, reference=reference)
    return ImplicitValue(model, agent.prompt, float(beta))
