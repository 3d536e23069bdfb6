"""What is offered, how it is scored, and how it is picked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents.agent import Action, Agent, History, Turn
from agents.choices import NONE, ChoiceAgent, ChoiceEncoder, Proposals, View, listed, score_choices
from agents.model import ActorCritic


def history(*texts: str, **info: object) -> History:
    """An episode in which the environment said the even texts and the agent the odd ones."""
    turns = [Turn(text, info) for text in texts[::2]]
    for turn, said in zip(turns, texts[1::2], strict=False):
        turn.action = Action(said)
    return History("task", 0, turns)


def tensors(*encoded: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    tokens, choices = zip(*encoded, strict=True)
    return torch.from_numpy(np.stack(tokens)).long(), torch.from_numpy(np.stack(choices)).long()


def test_scores_are_the_log_probabilities_of_each_text_alone(
    tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM
) -> None:
    """One packed pass over two states of unlike length equals one plain pass for each text behind its state."""
    encoder = ChoiceEncoder(tokenizer, View(max_tokens=64, max_choices=5, choice_tokens=16))
    offers = [[Action("go"), Action("go on to 12")], [Action("stop"), Action("a"), Action("4 * 2 = 8")]]
    encoded = [
        encoder.encode(*pair) for pair in zip([history("Where?"), history("How many eggs?", "4", "No.")], offers, strict=True)
    ]
    scores, _ = score_choices(ActorCritic(small_lm), *tensors(*encoded))
    for row, (state, choices) in enumerate(encoded):
        state = state[state != NONE].tolist()
        for column, choice in enumerate(choices):
            if not len(choice := choice[choice != NONE].tolist()):
                assert scores[row, column] == -torch.inf
                continue
            with torch.no_grad():
                logp = small_lm(torch.tensor([state + choice])).logits.log_softmax(-1)[0]
            alone = sum(logp[len(state) - 1 + place, token] for place, token in enumerate(choice))
            torch.testing.assert_close(scores[row, column], alone, rtol=1e-5, atol=1e-5)


def test_a_score_per_token_is_the_sum_over_the_number_of_tokens(
    tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM
) -> None:
    encoded = ChoiceEncoder(tokenizer).encode(history("Where?"), [Action("go on to 12"), Action("")])
    model, inputs = ActorCritic(small_lm), tensors(encoded)
    lengths = torch.tensor([(row != NONE).sum() for row in encoded[1][:2]])
    assert lengths[1] == 1  # the closing token alone
    total, mean = (score_choices(model, *inputs, per_token=each)[0][0, :2] for each in (False, True))
    torch.testing.assert_close(mean, total / lengths)


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_the_value_is_that_of_the_last_token_of_the_state(
    tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM, critic
) -> None:
    encoder, model = ChoiceEncoder(tokenizer), ActorCritic(small_lm, critic)
    assert model.value_head is not None
    torch.nn.init.ones_(model.value_head.weight)
    encoded = [encoder.encode(one, [Action("go")]) for one in (history("Where?"), history("How many eggs?", "4", "No."))]
    _, value = score_choices(model, *tensors(*encoded))
    states = [torch.from_numpy(state[state != NONE]).long() for state, _ in encoded]
    torch.testing.assert_close(value, torch.stack([model.values(state[None])[0, -1] for state in states]))


def test_a_state_that_is_too_long_keeps_the_task_and_the_last_turns(tokenizer: PreTrainedTokenizerFast) -> None:
    long = history("task", "one", "first answer", "two", "second answer", "three", "third answer")
    pieces = ChoiceEncoder(tokenizer).prompt.pieces(long.turns)
    wanted = [token for piece in (pieces[0], *pieces[5:]) for token in piece.tokens]
    state, _ = ChoiceEncoder(tokenizer, View(max_tokens=len(wanted) + 1)).encode(long, [])
    assert state[state != NONE].tolist() == wanted


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(max_tokens=3), "max_tokens of at least"),
        (View(max_choices=1), "max_choices of at least 2, got 1: give --view.max-choices more"),
        (View(choice_tokens=2), "choice_tokens of at least"),
    ],
)
def test_what_does_not_fit_is_refused(tokenizer: PreTrainedTokenizerFast, view: View, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChoiceEncoder(tokenizer, view).encode(history("Where shall we go?"), [Action("to the left"), Action("to the right")])


def test_commands_and_letters_are_listed() -> None:
    assert [action.text for action in listed([history("x", admissible_commands=["look", "go"])])[0]] == ["look", "go"]
    assert [action.text for action in listed([history("x", choices=("red", "blue"))])[0]] == [
        "So the answer is A.",
        "So the answer is B.",
    ]


def test_a_state_without_choices_is_refused() -> None:
    with pytest.raises(ValueError, match="offers no choices: wanted info\\['admissible_commands'\\]"):
        listed([history("How many?", answer="4")])


class Says(Agent):
    """Says the next of its texts, and ends its turn where a text has no line break."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.seeds = iter(texts), list[int]()

    def act(self, histories):
        self.seeds += [one.seed for one in histories]
        return [Action(text, closed=not text.endswith("...")) for text in (next(self.texts) for _ in histories)]


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True) if not text.endswith("\n") else [*text.splitlines(keepends=True), ""]


def test_proposals_are_the_different_first_steps_that_are_whole() -> None:
    agent = Says("b\nc\n", "a\n", "b\n", "cut ...")
    offered = Proposals(agent, 4, lines)([history("x")])
    assert [action.text for action in offered[0]] == ["b\n", "a\n"]
    assert len(set(agent.seeds)) == 4


@pytest.mark.parametrize(("temperature", "share"), [(0.0, 1.0), (1.0, 0.75), (0.5, 0.9)])
def test_a_choice_is_drawn_from_the_tempered_scores(
    tokenizer: PreTrainedTokenizerFast,
    small_lm: LlamaForCausalLM,
    monkeypatch: pytest.MonkeyPatch,
    temperature: float,
    share: float,
) -> None:
    """Scores log 3 and 0: 3 / 4 at temperature 1, 9 / 10 at 1 / 2."""
    fixed = torch.tensor([[np.log(3.0), 0.0]])
    monkeypatch.setattr("agents.choices.score_choices", lambda model, tokens, *_: (fixed.expand(len(tokens), 2), None))
    agent = ChoiceAgent(ActorCritic(small_lm), ChoiceEncoder(tokenizer), temperature=temperature)
    episodes = [History("t", seed, [Turn("x", {"admissible_commands": ["first", "second"]})]) for seed in range(2000)]
    picked = [action.text for action in agent.act(episodes)]
    assert picked.count("first") / 2000 == pytest.approx(share, abs=0.03)
    assert [action.text for action in agent.act(episodes[:50])] == picked[:50]


def test_a_proposers_log_probabilities_are_not_logged_as_the_policys(
    tokenizer: PreTrainedTokenizerFast, small_lm: LlamaForCausalLM
) -> None:
    offered = [[Action("go", (4, 5), (-1.0, -2.0))]]
    agent = ChoiceAgent(ActorCritic(small_lm), ChoiceEncoder(tokenizer), lambda _: offered)
    assert agent.act([history("Where?")]) == [Action("go", (4, 5), None)]
