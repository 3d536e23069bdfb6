"""Small token MDPs with an exact soft optimum, and a tabular learner for any of the losses.

The agent's tokens are 0, 1, 2, the environment's 3 and more. A history is every token since the reset, so that the environment's
words are state and no decision. The optimum by dynamic programming, where c is what the environment says after action a:

    Q*(s, a) = r + gamma E_c V*(s a c),   V*(s) = beta log sum_a ref(a|s) exp(Q*(s, a) / beta),
    pi*(a|s) = ref(a|s) exp((Q*(s, a) - V*(s)) / beta)

Every episode is in the batch. Rows are collated, and the table's log-probabilities gathered, by the code that trains models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from algorithms.batch import Batch, Level, Outputs, Row, collate, gather_decisions, row_mean

ACTIONS = 3
END = 2
"""the agent's token that ends an episode, where the MDP has one"""
PROMPT = 9
State = tuple[int, ...]
"""all tokens since the reset, the agent's and the environment's"""
Words = Mapping[State, float]
"""what the environment may say, with probabilities"""


def own(history: State) -> State:
    """The agent's tokens of a history."""
    return tuple(token for token in history if token < ACTIONS)


def silent(history: State) -> Words:
    """An environment that says nothing."""
    return {(): 1.0}


@dataclass
class TokenMDP:
    """A token MDP, enumerated; without arguments a tree of the agent's tokens, three deep."""

    depth: int = 3
    """the agent's tokens in the longest episode"""
    span: int = 1
    """tokens of a whole step; an episode that ends within a step cuts it short"""
    gamma: float = 1.0
    beta: float = 0.5
    reward: Callable[[State], float] = lambda history: float(sum(own(history)) % 3 == 2)
    """earned at the end"""
    step_reward: Callable[[State], float] = lambda history: 0.0
    """earned by each of the agent's tokens, the last of the history"""
    words: Callable[[State], Words] = silent
    """after each token of the agent that does not end the episode, and at the reset"""
    over: Callable[[State], bool] = lambda history: history[-1] == END
    """whether a history, be it the agent's turn or the environment's, ends the episode before its depth"""
    alike: Callable[[State], State] = lambda state: state
    """states for which this is equal have the same reference"""
    seed: int = 0
    index: dict[State, int] = field(init=False)
    """the states at which the agent acts"""
    episodes: dict[State, float] = field(init=False)
    """all of them, with their probabilities under an agent that acts uniformly"""
    ref_logits: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.episodes, states = {}, []
        open_ = [(words, p) for words, p in self.words(()).items()]
        for history, p in open_:
            states.append(history)
            for action in range(ACTIONS):
                for child, chance in self.after((*history, action)):
                    if self.ends(child):
                        self.episodes[child] = p * chance / ACTIONS
                    else:
                        open_.append((child, p * chance / ACTIONS))
        self.index = {state: i for i, state in enumerate(sorted(states, key=len))}
        kinds = {kind: i for i, kind in enumerate(dict.fromkeys(map(self.alike, self.index)))}
        drawn = torch.randn(len(kinds), ACTIONS, dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed))
        self.ref_logits = drawn[[kinds[self.alike(state)] for state in self.index]]

    def ends(self, history: State) -> bool:
        """Whether the episode is over."""
        return len(own(history)) == self.depth or self.over(history)

    def after(self, history: State) -> Iterator[tuple[State, float]]:
        """What a history that ends with the agent's token becomes, with probabilities."""
        if self.ends(history):
            yield history, 1.0
            return
        for words, chance in self.words(history).items():
            yield (*history, *words), chance

    def optimum(self) -> tuple[Tensor, Tensor]:
        """V* [states] and pi* [states, 3], by dynamic programming, deepest states first."""
        ref = self.ref_logits.softmax(-1)
        value, policy = torch.zeros(len(self.index), dtype=torch.float64), torch.zeros_like(ref)
        for state, i in reversed(self.index.items()):
            q = []
            for action in range(ACTIONS):
                future = sum(
                    chance * (self.reward(s) if self.ends(s) else self.gamma * value[self.index[s]].item())
                    for s, chance in self.after((*state, action))
                )
                q.append(self.step_reward((*state, action)) + future)
            value[i] = self.beta * math.log(sum(p * math.exp(x / self.beta) for p, x in zip(ref[i].tolist(), q, strict=True)))
            policy[i] = ref[i] * ((torch.tensor(q, dtype=torch.float64) - value[i]) / self.beta).exp()
        return value, policy

    def row(self, episode: State) -> Row:
        """An episode as the learners get it: a prompt token, then all up to the agent's last."""
        last = max(p for p, token in enumerate(episode) if token < ACTIONS)
        step, reward, done = [-1], [], 0
        for p, token in enumerate(episode[: last + 1]):
            if token >= ACTIONS:
                step.append(-1)
                continue
            step.append(done // self.span)
            reward += [0.0] * (step[-1] + 1 - len(reward))
            reward[-1] += self.step_reward(episode[: p + 1])
            done += 1
        reward[-1] += self.reward(episode)
        return Row((PROMPT, *episode[: last + 1]), tuple(step), tuple(reward), solved=self.reward(episode) > 0)

    def counts(self) -> dict[State, int]:
        """How often each episode must be in a log for it to be as likely as under the agent that acts uniformly."""
        least = min(self.episodes.values())
        return {episode: round(p / least) for episode, p in self.episodes.items()}

    def batch(self, level: Level = "token", episodes: Mapping[State, int] | None = None) -> tuple[Batch, Tensor]:
        """Episodes so many times (every one once), and the state before each token of the agent, long [B, T] (0 elsewhere)."""
        chosen = [e for e, n in (episodes or dict.fromkeys(self.episodes, 1)).items() for _ in range(n)]
        batch = collate([self.row(e) for e in chosen], level)
        state = torch.zeros_like(batch.tokens)
        for b, t in (batch.decision >= 0).nonzero().tolist():
            state[b, t] = self.index[chosen[b][: t - 1]]
        return replace(batch, reward=batch.reward.double()), state

    def read(self, batch: Batch, state: Tensor) -> Tensor:
        """The states at which the decisions are made, long [B, S] (0 where there is none)."""
        return state.gather(1, (batch.start + 1) * batch.mask) * batch.mask


def answer(history: State) -> Words:
    """An environment that answers each of the agent's tokens by what follows from it."""
    return {(history[-1] + 3,): 1.0} if history else {(): 1.0}


def answer_steps(history: State) -> Words:
    """An environment that answers each whole step of two tokens."""
    return answer(history) if len(own(history)) % 2 == 0 else {(): 1.0}


def announced(history: State) -> Words:
    """An environment that draws at the reset how many tokens there are to write, and says it: 5 + that number.

    After a token it is silent or says 3, at random: seen, and of no consequence.
    """
    return {(): 0.5, (3,): 0.5} if history else {(6,): 0.25, (7,): 0.25, (8,): 0.5}


def coin(history: State) -> Words:
    """An environment that says 3 or 4 at random after a token."""
    return {(3,): 0.5, (4,): 0.5} if history else {(): 1.0}


MDPS = {
    "tree": TokenMDP(),
    "multi-turn": TokenMDP(words=answer, seed=1),
    "discounted, dense": TokenMDP(gamma=0.9, step_reward=lambda history: 0.125 * (history[-1] == 1), seed=2),
    "stochastic lengths": TokenMDP(
        words=announced,
        over=lambda history: history[-1] == END or len(own(history)) == history[0] - 5,
        alike=lambda state: tuple(token for token in state if token != 3),
        seed=3,
    ),
    "steps of two": TokenMDP(depth=4, span=2, words=answer_steps, seed=4),
}
"""Whatever the environment draws after the agent has acted has no consequence: the soft Bellman equation holds along each episode,
and not only in the mean over episodes. (The agent's own END makes lengths random in all of them.)"""

NOISY = {
    "coin": TokenMDP(
        depth=2, words=coin, over=lambda history: False, reward=lambda h: float((sum(own(h)) + (4 in h)) % 3 == 2), seed=5
    ),
    "hazard": TokenMDP(
        depth=2,
        words=coin,
        over=lambda history: history[-1] == 4,
        reward=lambda history: float(history[0] == 0 if history[-1] == 4 else history[-1] == 1),
        seed=6,
    ),
}
"""Here it has: after the first token a coin decides what is rewarded, or whether the episode is over."""


Loss = Callable[[Outputs, Batch, Any], tuple[Tensor, dict[str, Tensor]]]


def outputs_of(mdp: TokenMDP, logits: Tensor, value: Tensor, batch: Batch, state: Tensor) -> Outputs:
    """What a tabular policy and critic say of the batch; the KL is exact."""
    logp, ref = logits.log_softmax(-1), mdp.ref_logits.log_softmax(-1)
    agent = batch.decision >= 0
    states, tokens = state[agent], batch.tokens[agent]
    return Outputs(
        logp=gather_decisions(logp[states, tokens], batch),
        ref_logp=gather_decisions(ref[states, tokens], batch),
        value=value[mdp.read(batch, state)] * batch.mask,
        kl=row_mean((logp.exp() * (logp - ref)).sum(-1)[states], batch),
    )


def with_credits(mdp: TokenMDP, batch: Batch, state: Tensor) -> Batch:
    """The batch with the exact credits r + gamma V*(s') - V*(s)."""
    here = mdp.optimum()[0][mdp.read(batch, state)] * batch.mask
    after = torch.nn.functional.pad(here[:, 1:], (0, 1))
    return replace(batch, target=(batch.reward + mdp.gamma * after - here) * batch.mask)


def fit(
    mdp: TokenMDP,
    loss: Loss,
    config: Any,
    level: Level = "token",
    steps: int = 300,
    lr: float = 0.2,
    episodes: Mapping[State, int] | None = None,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Train table and critic from the reference (or the logits `start`) and V = 0; returns (V, pi)."""
    batch, state = mdp.batch(level, episodes)
    batch = with_credits(mdp, batch, state)
    logits = (mdp.ref_logits if start is None else start).clone().requires_grad_()
    table = torch.zeros(len(mdp.index), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits, table], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        total, _ = loss(outputs_of(mdp, logits, table, batch, state), batch, config)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    return table.detach(), logits.detach().softmax(-1)


def total_variation(p: Tensor, q: Tensor) -> float:
    """The largest total variation distance over the states."""
    return float(0.5 * (p - q).abs().sum(-1).max())
