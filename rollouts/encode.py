"""Logged episodes as tokens: what a model reads of them, whose each token is, and what each step earned.

Learners and whatever reads a critic along a log encode by this, so that V is read where it was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Literal, TypeVar

from agents.agent import Action, Turn
from agents.prompt import Piece, Prompt
from rollouts.trajectory import End, Trajectory

T = TypeVar("T")

Truncated = Literal["zero", "keep", "drop", "bootstrap"]
"""What an episode earned that a limit cut off: nothing, what it was given until then, that and the value of the state at the cut
("bootstrap"), or it is left out ("drop")."""


@dataclass(frozen=True)
class Encoded:
    """The first whole steps of an episode: all of them, unless they are too long."""

    tokens: tuple[int, ...]
    """ids, length T; the last one is the agent's, unless the episode was `cut`"""
    step: tuple[int, ...]
    """the step that each token belongs to, -1 for the environment's; length T"""
    kept: int
    """how many steps, counted up to the last that has tokens (all before the first left out, where the episode was `cut`)"""
    reward: tuple[float, ...]
    """one a kept step; the last has the rewards of all that follow too, unless V stands for them"""
    cut: bool = False
    """V of the state after the last token stands for what was lost to the limit, and for the steps that were not kept"""

    @property
    def starts(self) -> dict[int, int]:
        """The position before each step's first token, by step: its state. A step without tokens has none."""
        found: dict[int, int] = {}
        for position, step in enumerate(self.step):
            if step >= 0:
                found.setdefault(step, position - 1)
        return found

    def by_step(self, values: Sequence[float]) -> list[float]:
        """V at every position, length T -> V of each kept step's state. A step without tokens has the V of the one after it."""
        found = {step: values[position] for step, position in self.starts.items()}
        for step in reversed(range(self.kept)):
            found.setdefault(step, found.get(step + 1, 0.0))
        return [found[step] for step in range(self.kept)]


def encode(trajectory: Trajectory, prompt: Prompt, max_length: int, truncated: Truncated = "zero") -> Encoded | None:
    """An episode as tokens: sampled ids stay as they are, other text is encoded piece by piece.

    A step marked as a disturbance (`Step.disturbed`) is what befell the agent, and its tokens are the environment's. None if
    nothing fits, or for a truncated episode that is to be dropped.

    Raises:
        ValueError: the sampled ids do not say what the actions say: they are another tokenizer's.
    """
    cut_off = trajectory.end is not End.TERMINATED
    if cut_off and truncated == "drop":
        return None
    for read, text in misread(trajectory, prompt):
        raise ValueError(
            f"{trajectory.task}, seed {trajectory.seed}: this model reads the logged tokens as {read[:60]!r}, but the action "
            f"was {text[:60]!r}; give the model that sampled this log, or one that was trained from it"
        )
    turns = logged_turns(trajectory)
    cut = cut_off and truncated == "bootstrap"
    if cut:
        turns.append(Turn(trajectory.final, {}))  # the state at the cut is that of an action that never came
    disturbed = {number for number, step in enumerate(trajectory.steps) if step.disturbed}
    pieces = [replace(piece, turn=None) if piece.turn in disturbed else piece for piece in prompt.pieces(turns)]
    fitting = list(_beginning(pieces, max_length))
    if cut and fitting and fitting[-1].tokens[-1] == prompt.closer:
        fitting.pop()  # no V is learnt behind a closing token: that of the state before the action stands for it too
    while fitting and fitting[-1].turn is None and not cut:
        fitting.pop()  # no decision comes after it
    own = [piece.turn for piece in fitting if piece.turn is not None]
    if not own:
        return None
    lost = cut_off and truncated == "zero"
    earned = [0.0 if lost else s.reward for s in trajectory.steps]
    tokens = tuple(token for piece in fitting for token in piece.tokens)
    step = tuple(-1 if piece.turn is None else piece.turn for piece in fitting for _ in piece.tokens)
    if not cut:
        kept = own[-1] + 1
        return Encoded(tokens, step, kept, first_steps(earned, kept))
    kept = next((piece.turn for piece in pieces[len(fitting) :] if piece.turn is not None), len(earned))
    return Encoded(tokens, step, kept, tuple(earned[:kept]), cut)


def _beginning(pieces: Sequence[Piece], max_length: int) -> Iterator[Piece]:
    """The first pieces, as long as they fit."""
    length = 0
    for piece in pieces:
        length += len(piece.tokens)
        if length > max_length:
            return
        yield piece


def first_steps(per_step: Sequence[float], kept: int) -> tuple[float, ...]:
    """What the first `kept` steps have; the last of them has that of the steps after it too."""
    return (*per_step[: kept - 1], sum(per_step[kept - 1 :]))


def logged_turns(trajectory: Trajectory) -> list[Turn]:
    """What an agent saw and did, with the sampled ids."""
    return [Turn(s.observation, {}, Action(s.action, s.tokens, s.logps)) for s in trajectory.steps]


def misread(trajectory: Trajectory, prompt: Prompt) -> Iterator[tuple[str, str]]:
    """What a tokenizer makes of the sampled ids, and the text, of each message where the two differ.

    Message by message, since a character's bytes may lie in two steps of one message.
    """
    ids: list[int] = []
    text, sampled = "", True
    for index, step in enumerate(trajectory.steps):
        text, sampled = text + step.action, sampled and step.tokens is not None
        ids += [token for token in step.tokens or () if token != prompt.closer]
        ends = index + 1 == len(trajectory.steps) or trajectory.steps[index + 1].observation != ""
        if not ends:
            continue
        read = str(prompt.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        if sampled and read != text:
            yield read, text
        ids, text, sampled = [], "", True


def cut_by_length(groups: Iterable[Sequence[T]], budget: int, length: Callable[[T], int]) -> list[list[T]]:
    """Sort by length and cut into batches of at most `budget` tokens with padding; a group stays whole and adjacent.

    A group that is larger than the budget goes alone.
    """
    found: list[list[T]] = []
    for longest, group in sorted(((max(map(length, group)), group) for group in groups), key=itemgetter(0)):
        if found and (len(found[-1]) + len(group)) * longest <= budget:
            found[-1].extend(group)
        else:
            found.append(list(group))
    return found
