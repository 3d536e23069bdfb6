"""What a person looks at, and what each command changes of it. No terminal is needed: `rollouts.replay.console` has one.

Commands raise ValueError, LookupError and OSError, which are said on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from rollouts.index import LogIndex
from rollouts.replay.line import Line
from rollouts.replay.listing import Listing, after
from rollouts.replay.shown import Shown, first_difference
from rollouts.replay.source import Source
from rollouts.replay.tries import Tries
from rollouts.replay.verify import divergence, environment
from rollouts.trajectory import End

SCROLLED = 5
"""Lines of a page of text."""


class Screen(StrEnum):
    """What is on the screen."""

    LIST = "episodes"
    EPISODE = "episode"
    SIDE = "side by side"


class Heat(StrEnum):
    """How the values of tokens are shown."""

    COLOUR = "colours"
    DIGITS = "digits"
    OFF = "off"


@dataclass
class Session:
    """The state of the console."""

    source: Source
    listing: Listing
    tries: Tries
    against: LogIndex | None = None
    """another log for episodes beside these"""
    refresh: Callable[[], None] = lambda: None
    """called while a command goes on, to show what has changed"""
    screen: Screen = Screen.LIST
    heat: Heat = Heat.COLOUR
    about: bool = False
    """whether what the environment knows of the state is shown"""
    help: bool = False
    over: bool = False
    step: int = 0
    scroll: int = 0
    """lines of the text below the steps that are above the screen"""
    page: int = 10
    """rows of a page of the list, as the screen has them"""
    asking: Line | None = None
    message: str = ""
    shown: Shown | None = None
    beside: Shown | None = None
    _others: Iterator[Shown] | None = None

    @property
    def episode(self) -> Shown:
        """The episode on the screen."""
        assert self.shown, "a command of an episode, on the list"
        return self.shown

    # Moving

    def move(self, count: int) -> None:
        """So many episodes or steps on."""
        if self.screen is Screen.LIST:
            self.listing.move(count)
        else:
            self._to_step(self.step + count)

    def turn(self, pages: int) -> None:
        """So many pages on; of an episode, in the text below the steps."""
        if self.screen is Screen.LIST:
            self.listing.move(pages * self.page)
        else:
            self.scroll = max(0, self.scroll + pages * SCROLLED)

    def _to_step(self, step: int) -> None:
        sides = [self.episode, self.beside] if self.screen is Screen.SIDE else [self.episode]
        last = max(each.positions for each in sides if each) - 1
        self.step, self.scroll = max(0, min(last, step)), 0

    def back(self) -> None:
        """To where one came from; from the list, away."""
        if self.screen is Screen.LIST:
            self.over = True
        elif self.screen is Screen.SIDE:
            self.screen = Screen.EPISODE
            self._to_step(self.step)
        else:
            self.screen, self.shown = Screen.LIST, None

    def enter(self) -> None:
        """Open the episode under the list's cursor."""
        if len(self.listing):
            self.show(self.opened(int(self.listing.rows[self.listing.at])))

    def opened(self, number: int) -> Shown:
        """An episode of the log with its values."""
        found = self.source.log[number]
        return Shown(found, self.source.values.of(found), f"number {number}", self.source.header(found), number)

    def show(self, shown: Shown, step: int = 0) -> None:
        """Put an episode on the screen."""
        self.screen, self.shown, self.beside, self._others = Screen.EPISODE, shown, None, None
        self._to_step(step)

    def next_episode(self, count: int) -> None:
        """The episode listed so many later."""
        place = self.listing.at + count
        if not 0 <= place < len(self.listing):
            raise ValueError(f"that was the {'last' if count > 0 else 'first'} of {len(self.listing)} listed episodes")
        self.listing.at = place
        self.enter()

    def fall(self) -> None:
        """To the next step at which the value fell, from the last such one to the first."""
        reading = self.episode.reading
        if not reading.source:
            raise ValueError(self.source.note or "no values: give --critic RUN")
        falls = reading.falls()
        if not falls:
            raise ValueError("the value never fell in this episode")
        self._to_step(next((step for step in falls if step > self.step), falls[0]))

    # Choosing episodes

    def list(self, choose: Callable[[], None]) -> None:
        """Change what is listed, and say how many are."""
        choose()
        self.message = str(self.listing)

    def ask_length(self) -> None:
        """Ask for how many steps."""
        answered = lambda text: self.list(lambda: self.listing.of_length(text))  # noqa: E731
        self.asking = Line("steps (5, 5-, -9, 5-9; nothing for any):", answered)

    def ask_find(self) -> None:
        """Ask for an episode."""
        self.asking = Line("a part of the task's name, or a number:", self.listing.find)

    # Looking

    def next_heat(self) -> None:
        """Values of tokens in colours, in digits, not at all."""
        self.heat = after(self.heat, Heat)
        self.message = f"values of tokens: {self.heat}"

    def know(self) -> None:
        """Show or hide what the environment knows of this state: commands, choices, solution."""
        self.about, self.scroll = not self.about, 0

    def verify(self) -> None:
        """Play the episode again, and say whether it is true."""
        trajectory = self.episode.trajectory
        if self.episode.open or trajectory.end is End.ERROR:
            raise ValueError("there is nothing to verify: this episode goes on, or ended by an error of the environment")
        env = environment(self.episode.header)
        found = divergence(env, trajectory)
        env.close()
        self.message = str(found or f"true: {len(trajectory.steps)} steps played again gave what was logged")
        if found:
            self._to_step(found.step - 1)

    # Branches

    def ask_action(self) -> None:
        """Ask for another action at this step."""
        origin, branch = self.episode, self.tries.at(self.episode, self.step)

        def answered(text: str) -> None:
            if not text.strip():
                raise ValueError("nothing typed, nothing done")
            branch.type(text)
            self._branched(self.tries.shown(branch, origin))

        self.asking = Line(f"step {self.step + 1}, another action:", answered, branch.commands)

    def act(self, to_end: bool = False) -> None:
        """Let the agent go on from this step, by one action or to the end."""
        origin, branch = self.episode, self.tries.at(self.episode, self.step)
        while branch.open:
            self.tries.act(branch)
            self._branched(self.tries.shown(branch, origin))
            self.refresh()
            if not to_end:
                break

    def _branched(self, shown: Shown) -> None:
        self.show(shown, len(shown.trajectory.steps))
        if not shown.open:
            self.message = f"the branch has ended: {shown.ending}. s saves it, c shows it beside the logged one"

    def save(self) -> None:
        """Write the branch to a log of its own."""
        self.message = f"saved in {self.tries.save(self.episode)}"

    # Side by side

    def compare(self) -> None:
        """The next other episode of the task beside this one."""
        self._others = self._others or self._candidates(self.episode)
        other = next(self._others, None)
        if other is None:
            self._others = None
            if self.beside is None:
                raise ValueError("no other episode of this task: make a branch with t or a, or give --against LOG")
            return self.compare()
        self.beside, self.screen = other, Screen.SIDE
        self.difference()

    def _candidates(self, shown: Shown) -> Iterator[Shown]:
        now = shown.trajectory
        origin = shown.branch and shown.branch.origin
        if origin:
            yield Shown(origin, self.source.values.of(origin), "before the branch", shown.header)
        yield from (each for each in self.tries.all if each.trajectory.task == now.task and each is not shown)
        if self.against is not None and (found := self.against.find(now.task, now.seed)):
            yield Shown(found, self.source.values.of(found), self.against.path.name, shown.header)
        for number in self.listing.facts.of_task(now.task).tolist():
            if number != shown.number and self.source.log[number] != origin:
                yield self.opened(number)

    def difference(self) -> None:
        """To the first step at which the two episodes differ."""
        assert self.beside
        self._to_step(first_difference(self.episode.trajectory, self.beside.trajectory))
