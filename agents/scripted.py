"""Agents without a model: random commands, logged actions replayed, and an expert.

They draw from a private stream named by the episode's (task, seed) and the turn, so that an episode repeats whatever
else is in its batch, and on resuming half-way too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from random import Random

from agents.agent import Action, Agent, History, Turn
from agents.alfworld_expert import LIKELY, Move, Order, plan
from agents.alfworld_world import World, kind


def stream(history: History, name: str, turn: int | None = None) -> Random:
    """The private random stream of a turn (by default the one now open) of an episode, for the use `name`."""
    return Random(f"{name}|{history.task}|{history.seed}|{len(history.turns) if turn is None else turn}")


class RandomAgent(Agent):
    """Draws a command from `info["admissible_commands"]`, each with the same probability."""

    def __init__(self, seed: int = 0) -> None:
        """`seed` names another family of streams: two agents with different seeds play the same episode differently."""
        self.name = "random" if seed == 0 else f"random(seed={seed})"
        self.seed = seed

    def act(self, histories: Sequence[History]) -> list[Action]:
        """Draw one command each. Raises ValueError where an environment lists no commands."""
        return [Action(stream(one, f"random{self.seed}").choice(_commands(one))) for one in histories]


class ReplayAgent(Agent):
    """Repeats logged actions, with their token ids and log-probabilities.

    Logged actions are cut already, by the environment's own rule, and are not cut again.
    """

    name = "replay"

    def __init__(self, episodes: Mapping[tuple[str, int], Sequence[Turn]]) -> None:
        """`episodes[task, seed]` are the turns of that episode, looked up once whenever it is played.

        From where an episode's observations are others (another prompt), its token ids stay and its log-probabilities are left
        out: they are those of the actions after what was seen then.
        """
        self.episodes = episodes

    def act(self, histories: Sequence[History]) -> list[Action]:
        """Give each episode its next action. Raises LookupError for one that is not logged or has no action left."""
        return [self._next(history) for history in histories]

    def cut(self, action: Action, pieces: Sequence[str]) -> list[Action]:
        """Leave the action whole."""
        return [action]

    def _next(self, history: History) -> Action:
        logged = history.memory.get("replay")
        if logged is None:
            logged = history.memory["replay"] = self._logged(history.task, history.seed)
        turn = len(history.turns)
        action = logged[turn - 1].action if turn <= len(logged) else None
        if action is None:
            raise LookupError(
                f"Task {history.task!r}, seed {history.seed}: the log has {len(logged)} actions, but the episode goes on to "
                f"turn {turn}. Is it the same version of the environment?"
            )
        same = all(now.observation == then.observation for now, then in zip(history.turns, logged, strict=False))
        return action if same else replace(action, logps=None)

    def _logged(self, task: str, seed: int) -> Sequence[Turn]:
        try:
            return self.episodes[task, seed]
        except KeyError:
            seeds = sorted(logged for name, logged in self.episodes if name == task)
            close = get_close_matches(task, [name for name, _ in self.episodes], n=1)
            hint = f"; this task has seeds {seeds}" if seeds else f"; the nearest task is {close[0]!r}" if close else ""
            raise LookupError(f"No logged episode of task {task!r} with seed {seed} among {len(self.episodes)}{hint}.") from None


class ExpertAgent(Agent):
    """Solves the task: writes the worked solution where `info["solution"]` gives one, else plays ALFWorld by reading.

    The worked solution is one whole response. The ALFWorld player reads observation texts only. The dials make it worse
    on purpose, because offline learners need logs of uneven quality:

    - `noise`: the probability, at each turn, of a random other move.
    - `disturb`: the same, but the move is marked as a disturbance (`Step.disturbed`): what follows shows how to go on after a
      mistake, and no learner takes the mistake for an example (DART, Laskey et al. 2017, with noise of moves).
    - `order`: the search goes by what is "likely", or in a "random" order.
    - `forget`: the probability, at each turn, of forgetting what one receptacle holds.

    With `thoughts` the ALFWorld player says why, in the form of ReAct: "Thought: ...", and on the next line "Action: ..."
    (the environment's `form="react"` takes it).
    """

    def __init__(
        self,
        noise: float = 0.0,
        order: str = "likely",
        forget: float = 0.0,
        seed: int = 0,
        thoughts: bool = False,
        disturb: float = 0.0,
    ) -> None:
        """Set the dials. Raises ValueError for a probability outside [0, 1], an unknown order, thoughts that are not a bool."""
        for dial, value in (("noise", noise), ("forget", forget), ("disturb", disturb)):
            if not 0 <= value <= 1:
                raise ValueError(f"{dial}={value}: wanted a probability from 0 to 1.")
        if noise + disturb > 1:
            raise ValueError(f"noise={noise} and disturb={disturb}: wanted probabilities whose sum is at most 1.")
        if order not in ("likely", "random"):
            raise ValueError(f"order={order!r}: wanted 'likely' or 'random'.")
        if not isinstance(thoughts, bool):
            raise ValueError(f"thoughts={thoughts!r}: wanted true or false.")
        dials = {"noise": noise, "disturb": disturb, "order": order, "forget": forget, "seed": seed, "thoughts": thoughts}
        turned = [f"{name}={value}" for name, value in dials.items() if value not in (0, "likely")]
        self.name = f"expert({', '.join(turned)})" if turned else "expert"
        self.noise, self.disturb, self.forget = noise, disturb, forget
        self.order, self.seed, self.thoughts = order, seed, thoughts

    def act(self, histories: Sequence[History]) -> list[Action]:
        """Choose one action each. Raises ValueError for an episode with neither a solution nor ALFWorld's text."""
        return [self._act(history) for history in histories]

    def _act(self, history: History) -> Action:
        solution = history.turns[0].info.get("solution")
        if solution is not None:
            return Action(str(solution))
        move, disturbance = self._play(history)
        text = f"Thought: {move.why}\nAction: {move.command}" if self.thoughts else move.command
        return Action(text, info={"disturbance": True} if disturbance else {})

    def _play(self, history: History) -> tuple[Move, bool]:
        """The move, and whether it is a disturbance."""
        world = _read(history)
        order = LIKELY if self.order == "likely" else self._shuffled(history)
        if not self.noise and not self.forget and not self.disturb:  # a stream takes as long to make as a plan
            return plan(world, order), False
        random = stream(history, f"expert{self.seed}")
        if random.random() < self.forget and world.contents:
            del world.contents[random.choice(sorted(world.contents))]
        move = plan(world, order)
        drawn = random.random()
        if drawn < self.noise + self.disturb:
            other = random.choice([other for other in possible(world) if other != move.command])
            return Move(other, "I leave my plan for a moment. This is a move at random."), drawn >= self.noise
        return move, False

    def _shuffled(self, history: History) -> Order:
        """A random order of search, fixed for the episode."""
        drawn: dict[str, float] = history.memory.setdefault(f"order{self.seed}", {})

        def rank(world: World, receptacle: str, things: Sequence[str]) -> float:
            if receptacle not in drawn:
                drawn[receptacle] = stream(history, f"order{self.seed}|{receptacle}", turn=0).random()
            return drawn[receptacle]

        return Order(rank, lambda receptacle, things: f"I search the places in a random order, and {receptacle} is next.")


def possible(world: World) -> list[str]:
    """The commands that a player can think of where it stands: those that a random move is drawn from."""
    here = [name for name in world.receptacles if world.at(name)]
    commands = ["look", "inventory", *(f"go to {name}" for name in world.receptacles if not world.at(name))]
    for place in here:
        commands.append(f"examine {place}")
        if place in world.closed:
            commands.append(f"open {place}")
        elif world.held and place in world.contents:
            commands.append(world.put(world.held, place))
        elif not world.held:
            commands += [f"take {thing} from {place}" for thing in world.contents.get(place, ()) if "lamp" not in kind(thing)]
    return commands


def _read(history: History) -> World:
    """Bring the episode's map up to date with the turns not read yet."""
    world: World | None = history.memory.get("alfworld")
    if world is None:
        world = history.memory["alfworld"] = World.first(history.turns[0].observation)
    for before, after in zip(history.turns[world.turns_read :], history.turns[world.turns_read + 1 :], strict=False):
        if before.action is None:
            raise ValueError(f"Task {history.task!r}: turn {world.turns_read + 1} has no action but is not the last one.")
        world.read(before.action.text, after.observation)
        world.turns_read += 1
    return world


def _commands(history: History) -> list[str]:
    info = history.turns[-1].info
    if commands := info.get("admissible_commands"):
        return list(commands)
    why = "it gives a worked solution instead: use the expert" if "solution" in history.turns[0].info else "it lists none"
    raise ValueError(f"The random agent draws from info['admissible_commands'], and task {history.task!r} has none ({why}).")


SCRIPTED: dict[str, Callable[..., Agent]] = {"random": RandomAgent, "expert": ExpertAgent}
