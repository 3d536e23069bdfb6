"""Every key, on which screens, and what it does: the dispatcher and the help on the screen are both this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollouts.replay.session import Screen, Session

LIST, EPISODE, SIDE = (Screen.LIST,), (Screen.EPISODE,), (Screen.SIDE,)
WALK = (Screen.EPISODE, Screen.SIDE)
EVERY = tuple(Screen)
FAR = 1 << 40


@dataclass(frozen=True)
class Binding:
    """A command and the keys that give it."""

    keys: tuple[str, ...]
    command: Callable[[Session], None]
    label: str
    """keys and a word or two, for the line of keys; "" where the neighbour's label speaks for both"""
    help: str
    screens: tuple[Screen, ...] = EVERY


def _set(name: str, value: object) -> Callable[[Session], None]:
    return lambda session: setattr(session, name, value)


BINDINGS: tuple[Binding, ...] = (
    Binding(("up", "k"), lambda s: s.move(-1), "", "one episode or step back"),
    Binding(("down", "j"), lambda s: s.move(1), "↑↓: move", "one episode or step on"),
    Binding(("pageup", "-"), lambda s: s.turn(-1), "", "a page back; of an episode, in the text below its steps"),
    Binding(("pagedown", "space"), lambda s: s.turn(1), "space: page", "a page on"),
    Binding(("home", "g"), lambda s: s.move(-FAR), "", "to the first"),
    Binding(("end", "G"), lambda s: s.move(FAR), "g G: ends", "to the last"),
    Binding(("enter",), lambda s: s.enter(), "enter: open", "walk through the episode", LIST),
    Binding(("w",), lambda s: s.list(s.listing.next_result), "w: won/lost", "all, won, lost", LIST),
    Binding(("y",), lambda s: s.list(s.listing.next_kind), "y: type", "all types of tasks, or one after the other", LIST),
    Binding(("l",), lambda s: s.ask_length(), "l: length", "only episodes with so many steps", LIST),
    Binding(("o",), lambda s: s.list(s.listing.next_order), "o: order", "as in the log, longest, largest value drop first", LIST),
    Binding(("x",), lambda s: s.list(s.listing.all), "x: all", "every episode again, as in the log", LIST),
    Binding(("/",), lambda s: s.ask_find(), "/: find", "the next task with this in its name, or an episode by number", LIST),
    Binding(("n", "right"), lambda s: s.next_episode(1), "", "the next listed episode", EPISODE),
    Binding(("p", "left"), lambda s: s.next_episode(-1), "n p: episode", "the one before", EPISODE),
    Binding(("f",), lambda s: s.fall(), "f: fall", "to the next step at which the value fell", WALK),
    Binding(("h",), lambda s: s.next_heat(), "h: heat", "values of tokens in colours, in digits, not at all", EPISODE),
    Binding(("i",), lambda s: s.know(), "i: info", "the admissible commands, or what is known of the problem", EPISODE),
    Binding(("v",), lambda s: s.verify(), "v: verify", "play the episode again: is it true?", EPISODE),
    Binding(("t",), lambda s: s.ask_action(), "t: type", "type another action at this step, live", EPISODE),
    Binding(("a",), lambda s: s.act(), "a: agent", "let the agent take this step, live", EPISODE),
    Binding(("A",), lambda s: s.act(to_end=True), "A: to end", "let the agent go on to the end, live", EPISODE),
    Binding(("s",), lambda s: s.save(), "s: save", "write the branch to a log of its own", EPISODE),
    Binding(("c",), lambda s: s.compare(), "c: compare", "the next other episode of this task beside it", WALK),
    Binding(("d",), lambda s: s.difference(), "d: differ", "to the first step at which the two differ", SIDE),
    Binding(("?",), _set("help", True), "?: help", "what every key does"),
    Binding(("escape", "backspace", "q"), lambda s: s.back(), "q: back", "back; from the list, quit"),
    Binding(("ctrl+c", "ctrl+d", "Q", "eof"), _set("over", True), "", "quit; Ctrl-C also stops what takes long"),
)


def binding_of(key: str, screen: Screen) -> Binding | None:
    """What a key does on a screen."""
    return next((each for each in BINDINGS if key in each.keys and screen in each.screens), None)


def press(session: Session, key: str) -> None:
    """One key. What a command raises that a person can mend is the message."""
    session.message = ""
    try:
        if session.help and key not in ("ctrl+c", "ctrl+d", "eof"):
            session.help = False
        elif session.asking:
            _type(session, key)
        elif found := binding_of(key, session.screen):
            found.command(session)
        else:
            session.message = f"{key!r} does nothing here: ? says what every key does"
    except (ValueError, LookupError, OSError) as error:
        said = error.args[0] if isinstance(error, LookupError) and error.args else error
        session.message = f"{type(error).__name__}: {said}"


def _type(session: Session, key: str) -> None:
    asking = session.asking
    assert asking
    if key == "enter":
        session.asking = None
        asking.answered(asking.text)
    elif key in ("escape", "ctrl+c"):
        session.asking = None
    elif key in ("ctrl+d", "eof"):
        session.over = True
    else:
        asking.press(key)
