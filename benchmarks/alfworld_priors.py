"""Count where the official training games keep their objects: the table that the text-only expert searches by.

    python benchmarks/alfworld_priors.py [--games DIR] [--out agents/alfworld_priors.json]

Only the training split is read, and only facts that a player could note down while playing: which kind of receptacle
holds which kind of object, and which receptacles have a door or a lid. 3,553 games take about five seconds.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from envs.alfworld.games import find_games

OUT = Path(__file__).parents[1] / "agents" / "alfworld_priors.json"


def kind(name: str) -> str:
    """Turn an id of the game file (`SinkBasin_bar_...`) into the word that the game's text uses for it."""
    # Upstream's demangler names a basin by its furniture: `Sink|...|SinkBasin` is "sinkbasin".
    return name.split("_bar_")[0].lower() + ("basin" if "basin" in name.lower() and "_bar_" in name else "")


def count_game(problem: str) -> tuple[Counter[str], Counter[str], dict[str, Counter[str]]]:
    """Count one game: its receptacles by kind, those that open, and by object kind the receptacles that hold one."""
    initial = problem[problem.index("(:init") : problem.index("(:goal")]
    receptacles = Counter(kind(name) for name in set(re.findall(r"\(receptacleAtLocation (\S+) ", initial)))
    openable = Counter(kind(name) for name in set(re.findall(r"\(openable (\S+?)\)", initial)))
    holders: dict[str, Counter[str]] = defaultdict(Counter)
    held = re.findall(r"\(inReceptacle (\S+) (\S+?)\)", initial)
    for thing, receptacle in {(kind(thing), receptacle) for thing, receptacle in held}:
        holders[thing][kind(receptacle)] += 1
    return receptacles, openable, holders


def count_games(paths: Iterable[Path]) -> dict[str, object]:
    """Sum over games. See `main` for the table's layout."""
    number, receptacles, openable = 0, Counter[str](), Counter[str]()
    holders: dict[str, Counter[str]] = defaultdict(Counter)
    present: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths:
        number += 1
        here, opening, holding = count_game(json.loads(path.read_text("utf-8"))["pddl_problem"])
        receptacles += here
        openable += opening
        for thing, places in holding.items():
            holders[thing] += places
            present[thing] += here
    return {
        "about": "ALFWorld's training games, counted by benchmarks/alfworld_priors.py",
        "games": number,
        "openable": {name: [openable[name], count] for name, count in sorted(receptacles.items())},
        "holds": {
            thing: {place: [count, present[thing][place]] for place, count in sorted(places.items())}
            for thing, places in sorted(holders.items())
        },
    }


def main() -> None:
    """Write the table.

    `openable[place] = [those that open, all]`; `holds[object][place] = [places with one, all places]`, the latter over
    the games in which the object lies somewhere. Objects and places are kinds, as the game's text names them.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", help="folder of the official games (default: $ALFWORLD_DATA)")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    table = count_games(find_games(arguments.games, "train").values())
    text = json.dumps(table, indent=1)
    text = re.sub(r"\[\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2]", text)  # a pair a line
    arguments.out.write_text(text + "\n", "utf-8")
    print(f"{arguments.out}: {table['games']} games, {len(text):,} characters")


if __name__ == "__main__":
    main()
