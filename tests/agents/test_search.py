"""Searches on responses whose every step and value is written down here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agents.agent import Action, Agent, History, Turn, message
from agents.search import Beam, BestOf, Planner, SearchAgent, TreeSearch, Vote
from agents.values import Value
from agents.worlds import Fate, TextWorld

END = 0
"""The token that closes a response."""

STEPS = {"": ["a\n", "b\n", "a\n"], "a\n": ["c\n", "#1"], "b\n": ["d\n", "#2"], "a\nc\n": ["#3"], "b\nd\n": ["#4"]}
"""What the agent says after what it has said, sample after sample; an answer closes the response."""

V = {"a\n": 0.6, "b\n": 0.5, "a\nc\n": 0.2, "a\n#1": 0.4, "b\nd\n": 0.7, "b\n#2": 0.1, "a\nc\n#3": 0.3, "b\nd\n#4": 0.9}


class Says(Agent):
    """Says what `STEPS` has next, one token a character, and remembers who asked how often."""

    name = "says"

    def __init__(self, steps: dict[str, list[str]] = STEPS, whole: bool = False) -> None:
        self.steps, self.whole, self.asked = steps, whole, 0

    def act(self, histories: Sequence[History]) -> list[Action]:
        self.asked += len(histories)
        counts: dict[str, int] = {}
        found = []
        for history in histories:
            before = message(history)
            number = counts[before] = counts.get(before, -1) + 1
            found.append(self.said(before, number))
        return found

    def said(self, before: str, number: int) -> Action:
        text = self.steps[before][number % len(self.steps[before])]
        over = text.startswith("#")
        return Action(text, (*map(ord, text), *([END] if over else [])), (-0.5,) * (len(text) + over))


class Written(Value):
    """V as it is written down; what was judged is kept."""

    def __init__(self, values: dict[str, float] = V) -> None:
        self.values, self.judged = values, list[str]()

    def __call__(self, histories: Sequence[History]) -> list[float]:
        self.judged += map(message, histories)
        return [self.values[message(history)] for history in histories]


def segment(text: str) -> list[str]:
    *whole, rest = text.split("\n")
    return [step + "\n" for step in whole] + [rest]


def world(steps: int = 20) -> TextWorld:
    return TextWorld(segment, lambda steps: False, END, steps)


def respond(agent: SearchAgent, history: History | None = None) -> list[Action]:
    """All that an agent says to a problem."""
    history = history or History("task", 0, [Turn("problem")])
    found: list[Action] = []
    while not found or found[-1].tokens[-1:] != (END,):
        (action,) = agent.act([history])
        history.turns[-1].action = action
        history.turns.append(Turn(""))
        found.append(action)
    return found


def texts(actions: Sequence[Action]) -> list[str]:
    return [action.text for action in actions]


def test_best_of_takes_the_step_of_the_largest_value() -> None:
    """a (0.6) before b (0.5); then of c (0.2) and #1 (0.4) the second, which closes the response."""
    said = respond(BestOf(Says(), Written(), 2))
    assert texts(said) == ["a\n", "#1"]
    assert said[0].info["search"]["candidates"] == [{"action": "a\n", "value": 0.6}, {"action": "b\n", "value": 0.5}]


def test_a_wider_beam_finds_what_a_greedy_one_has_left() -> None:
    """Width 1 keeps a, then its end #1 (0.4), better than c. Width 2 keeps a and b, then d (0.7) and #1, then #4 (0.9)."""
    assert texts(respond(Beam(Says(), Written(), 1, world(), breadth=2))) == ["a\n", "#1"]
    assert texts(respond(Beam(Says(), Written(), 2, world()))) == ["b\n", "d\n", "#4"]


def test_ends_compete_with_what_goes_on() -> None:
    """The end #1 (0.4) holds its place against c (0.2), and loses it where something else is better."""
    values = V | {"b\nd\n": 0.3, "b\nd\n#4": 0.39}
    assert texts(respond(Beam(Says(), Written(values), 2, world()))) == ["a\n", "#1"]


def test_the_same_text_is_judged_once() -> None:
    """Three samples of the first step, two of them a."""
    value = Written()
    respond(Beam(Says(), value, 3, world()))
    assert len(value.judged) == len(set(value.judged))


def test_what_a_limit_cut_off_is_no_end() -> None:
    """At two steps b d is cut off, at a value above all; the end is #1."""
    assert texts(respond(Beam(Says(), Written(), 2, world(steps=2)))) == ["a\n", "#1"]


def test_a_response_that_is_not_closed_is_tried_only_where_all_are() -> None:
    class Cut(Says):
        def said(self, before: str, number: int) -> Action:
            action = super().said(before, number)
            return Action("b", (98,), (-0.5,), closed=False) if action.text == "b\n" else action

    assert texts(BestOf(Cut(), Written(V | {"b": 9.0}), 2).act([History("task", 0, [Turn("problem")])])) == ["a\n"]


def test_tree_search_takes_the_best_end_that_it_found() -> None:
    """All nine nodes of the tree are expanded: b d #4 has 0.9."""
    assert texts(respond(TreeSearch(Says(), Written(), 2, world(), iterations=20))) == ["b\n", "d\n", "#4"]


def test_tree_search_without_an_end_goes_on_from_the_most_visited_leaf() -> None:
    """After one expansion there are a (0.6) and b (0.5), one visit each; from a another search."""
    assert texts(respond(TreeSearch(Says(), Written(), 2, world(), iterations=1))) == ["a\n", "#1"]


def test_when_the_budget_is_spent_it_goes_on_with_one_sample_at_a_time() -> None:
    """The first step samples a and b, four tokens; then one step at a time: c, and #3."""
    agent = Says()
    said = respond(BestOf(agent, Written(), 2, budget=4))
    assert texts(said) == ["a\n", "c\n", "#3"]
    assert agent.asked == 2 + 1 + 1
    assert said[-1].info["search"]["tokens"] == 4 + 2 + 3


@pytest.mark.parametrize("search", [Beam, TreeSearch])
def test_a_spent_budget_ends_the_widening(search: type[Planner]) -> None:
    agent = Says()
    assert texts(respond(search(agent, Written(), 2, world(), budget=4)))[0] == "a\n"
    assert agent.asked <= 2 + 1 + 1


RESPONSES = {"": ["1", "2", "2", "?"]}
WORTH = {"1": 0.9, "2": 0.4, "?": 5.0}


class Whole(Says):
    """Answers in one response."""

    def said(self, before: str, number: int) -> Action:
        return Action(RESPONSES[before][number], (number, END), (-0.5, -0.5))


def votes(task: str, responses: Sequence[str]) -> list[int | None]:
    return [None if text == "?" else int(text) for text in responses]


def test_a_vote_counts_answers_and_a_value_vote_weighs_them() -> None:
    """2 has two votes of four samples; by V, 1 has 0.9 and 2 has 0.8. What has no answer has no vote, whatever its V."""
    history = History("task", 0, [Turn("problem")])
    assert texts(Vote(Whole(), None, 4, votes).act([history])) == ["2"]
    assert texts(Vote(Whole(), Written(WORTH), 4, votes).act([History("task", 0, [Turn("problem")])])) == ["1"]


def test_a_vote_says_no_value_of_what_it_considered() -> None:
    (said,) = Vote(Whole(), None, 4, votes).act([History("task", 0, [Turn("problem")])])
    assert {each["value"] for each in said.info["search"]["candidates"]} == {None}


def test_without_any_answer_the_first_response_is_given() -> None:
    agent = Vote(Whole(), None, 2, lambda task, responses: [None] * len(responses))
    assert texts(agent.act([History("task", 0, [Turn("problem")])])) == ["1"]


def test_best_response_is_best_of_whole_responses() -> None:
    assert texts(BestOf(Whole(), Written(WORTH), 3).act([History("task", 0, [Turn("problem")])])) == ["1"]


def test_a_plan_is_dropped_where_the_environment_says_something_else() -> None:
    agent, history = Beam(Says(), Written(), 2, world()), History("task", 0, [Turn("problem")])
    (first,) = agent.act([history])
    history.turns[-1].action = first
    history.turns.append(Turn("something else"))
    asked = agent.agent.asked  # type: ignore[attr-defined]
    agent.act([history])
    assert agent.agent.asked > asked  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("tokens", "closed", "text", "fate"),
    [
        ((1, END), True, "a\n", Fate.OVER),
        ((1, 2), True, "a\n", Fate.OPEN),
        ((1,), False, "a", Fate.CUT),
        (None, True, "a", Fate.OVER),
        (None, True, "a\n", Fate.OPEN),
    ],
)
def test_what_comes_after_a_step(tokens: tuple[int, ...] | None, closed: bool, text: str, fate: Fate) -> None:
    before = History("task", 0, [Turn("problem")])
    after = History("task", 0, [Turn("problem", action=Action(text, tokens, closed=closed))])
    assert world().follow(before, after) is fate
    assert (after.turns[-1].action is None) == (fate is Fate.OPEN)


@pytest.mark.parametrize(("width", "budget"), [(0, None), (2, 0)])
def test_numbers_that_make_no_sense(width: int, budget: int | None) -> None:
    with pytest.raises(ValueError, match="wanted at least 1"):
        BestOf(Says(), Written(), width, budget)
