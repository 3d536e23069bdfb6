# ruff: noqa: E501 (facts stand on lines of their own)
"""A small house in the game files' own format, for tests that need no download: what the pip package alfworld holds, and a problem."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path((getattr(find_spec("alfworld"), "submodule_search_locations", None) or ["alfworld"])[0])
"""Found without importing it: alfworld changes the environment variables of who imports it."""

OBJECTS = """
agent1 - agent
loc_bar_0_bar_0_bar_0_bar_0 loc_bar_1_bar_0_bar_0_bar_30 loc_bar_2_bar_0_bar_1_bar_45 loc_bar_3_bar__minus_1_bar_0_bar_30 - location
CabinetType FridgeType SinkBasinType MicrowaveType CounterTopType SideTableType - rtype
AppleType KnifeType MugType DeskLampType BookType - otype
Cabinet_bar__plus_01_dot_00 Cabinet_bar__minus_01_dot_00 Fridge_bar__plus_02_dot_00 CounterTop_bar__plus_03_dot_00 - receptacle
Sink_bar__plus_00_dot_50_bar_SinkBasin Microwave_bar__plus_00_dot_20 SideTable_bar__minus_02_dot_00 - receptacle
Apple_bar__plus_00_dot_10 Apple_bar__minus_00_dot_10 Knife_bar__plus_00_dot_30 Mug_bar__plus_00_dot_40 Mug_bar__plus_00_dot_41 - object
DeskLamp_bar__plus_00_dot_60 Book_bar__plus_00_dot_70 - object
"""
FACTS = """
(atLocation agent1 loc_bar_0_bar_0_bar_0_bar_0)
(receptacleType Cabinet_bar__plus_01_dot_00 CabinetType) (receptacleAtLocation Cabinet_bar__plus_01_dot_00 loc_bar_1_bar_0_bar_0_bar_30)
(receptacleType Cabinet_bar__minus_01_dot_00 CabinetType) (receptacleAtLocation Cabinet_bar__minus_01_dot_00 loc_bar_1_bar_0_bar_0_bar_30)
(receptacleType Fridge_bar__plus_02_dot_00 FridgeType) (receptacleAtLocation Fridge_bar__plus_02_dot_00 loc_bar_2_bar_0_bar_1_bar_45)
(receptacleType CounterTop_bar__plus_03_dot_00 CounterTopType)
(receptacleAtLocation CounterTop_bar__plus_03_dot_00 loc_bar_3_bar__minus_1_bar_0_bar_30)
(receptacleType Sink_bar__plus_00_dot_50_bar_SinkBasin SinkBasinType)
(receptacleAtLocation Sink_bar__plus_00_dot_50_bar_SinkBasin loc_bar_3_bar__minus_1_bar_0_bar_30)
(receptacleType Microwave_bar__plus_00_dot_20 MicrowaveType) (receptacleAtLocation Microwave_bar__plus_00_dot_20 loc_bar_2_bar_0_bar_1_bar_45)
(receptacleType SideTable_bar__minus_02_dot_00 SideTableType)
(receptacleAtLocation SideTable_bar__minus_02_dot_00 loc_bar_1_bar_0_bar_0_bar_30)
(openable Cabinet_bar__plus_01_dot_00) (openable Cabinet_bar__minus_01_dot_00) (openable Fridge_bar__plus_02_dot_00)
(openable Microwave_bar__plus_00_dot_20)
(objectType Apple_bar__plus_00_dot_10 AppleType) (objectType Apple_bar__minus_00_dot_10 AppleType)
(objectType Knife_bar__plus_00_dot_30 KnifeType) (objectType Mug_bar__plus_00_dot_40 MugType) (objectType Mug_bar__plus_00_dot_41 MugType)
(objectType DeskLamp_bar__plus_00_dot_60 DeskLampType) (objectType Book_bar__plus_00_dot_70 BookType)
(inReceptacle Apple_bar__plus_00_dot_10 Fridge_bar__plus_02_dot_00) (objectAtLocation Apple_bar__plus_00_dot_10 loc_bar_2_bar_0_bar_1_bar_45)
(inReceptacle Apple_bar__minus_00_dot_10 CounterTop_bar__plus_03_dot_00)
(objectAtLocation Apple_bar__minus_00_dot_10 loc_bar_3_bar__minus_1_bar_0_bar_30)
(inReceptacle Knife_bar__plus_00_dot_30 CounterTop_bar__plus_03_dot_00)
(objectAtLocation Knife_bar__plus_00_dot_30 loc_bar_3_bar__minus_1_bar_0_bar_30)
(inReceptacle Mug_bar__plus_00_dot_40 Cabinet_bar__plus_01_dot_00) (objectAtLocation Mug_bar__plus_00_dot_40 loc_bar_1_bar_0_bar_0_bar_30)
(inReceptacle Mug_bar__plus_00_dot_41 Sink_bar__plus_00_dot_50_bar_SinkBasin)
(objectAtLocation Mug_bar__plus_00_dot_41 loc_bar_3_bar__minus_1_bar_0_bar_30)
(inReceptacle DeskLamp_bar__plus_00_dot_60 SideTable_bar__minus_02_dot_00)
(objectAtLocation DeskLamp_bar__plus_00_dot_60 loc_bar_1_bar_0_bar_0_bar_30)
(inReceptacle Book_bar__plus_00_dot_70 SideTable_bar__minus_02_dot_00) (objectAtLocation Book_bar__plus_00_dot_70 loc_bar_1_bar_0_bar_0_bar_30)
(pickupable Apple_bar__plus_00_dot_10) (pickupable Apple_bar__minus_00_dot_10) (pickupable Knife_bar__plus_00_dot_30)
(pickupable Mug_bar__plus_00_dot_40) (pickupable Mug_bar__plus_00_dot_41) (pickupable Book_bar__plus_00_dot_70)
(isReceptacleObject Mug_bar__plus_00_dot_40) (isReceptacleObject Mug_bar__plus_00_dot_41)
(cleanable Apple_bar__plus_00_dot_10) (cleanable Apple_bar__minus_00_dot_10) (cleanable Knife_bar__plus_00_dot_30)
(cleanable Mug_bar__plus_00_dot_40) (cleanable Mug_bar__plus_00_dot_41)
(heatable Apple_bar__plus_00_dot_10) (heatable Apple_bar__minus_00_dot_10) (heatable Mug_bar__plus_00_dot_40) (heatable Mug_bar__plus_00_dot_41)
(coolable Apple_bar__plus_00_dot_10) (coolable Apple_bar__minus_00_dot_10) (coolable Mug_bar__plus_00_dot_40) (coolable Mug_bar__plus_00_dot_41)
(isCool Apple_bar__plus_00_dot_10)
(sliceable Apple_bar__plus_00_dot_10) (sliceable Apple_bar__minus_00_dot_10)
(toggleable DeskLamp_bar__plus_00_dot_60)
(canContain CabinetType MugType) (canContain CounterTopType MugType) (canContain CounterTopType AppleType) (canContain CounterTopType KnifeType)
(canContain FridgeType AppleType) (canContain FridgeType MugType) (canContain MicrowaveType AppleType) (canContain MicrowaveType MugType)
(canContain SinkBasinType AppleType) (canContain SinkBasinType MugType) (canContain SinkBasinType KnifeType)
(canContain SideTableType AppleType) (canContain SideTableType MugType) (canContain SideTableType BookType) (canContain SideTableType KnifeType)
"""
GOALS = {
    "put a mug in sidetable": "(and (exists (?r - receptacle) (exists (?o - object) (and (inReceptacle ?o ?r) (objectType ?o MugType)"
    " (receptacleType ?r SideTableType)))))",
    "put two apple in sidetable": "(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 AppleType)"
    " (receptacleType ?r SideTableType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))"
    " (objectType ?o2 AppleType) (receptacleType ?r SideTableType) (inReceptacle ?o2 ?r)))))))",
    "put a hot apple in countertop": "(and (exists (?r - receptacle) (exists (?o - object) (and (heatable ?o) (objectType ?o AppleType)"
    " (receptacleType ?r CounterTopType) (isHot ?o) (inReceptacle ?o ?r)))))",
    "examine the book with the desklamp": "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location)"
    " (and (objectType ?ot DeskLampType) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l)"
    " (inReceptacle ?ot ?r))) (exists (?o - object ?a - agent) (and (objectType ?o BookType) (holds ?a ?o))))",
}


def game(goal: str = "put a mug in sidetable", facts: str = FACTS, old_rules: Path | None = None) -> dict[str, object]:
    """The content of a game file; `old_rules` is a folder with an older release's domain and grammar."""
    folder = old_rules or PACKAGE / "data"
    problem = f"(define (problem house)\n(:domain alfred)\n(:objects {OBJECTS})\n(:init {facts})\n(:goal {GOALS[goal]})\n)\n"
    return {
        "pddl_domain": (folder / "alfred.pddl").read_text(),
        "grammar": (folder / "alfred.twl2").read_text().replace("UNKNOWN GOAL", goal),
        "pddl_problem": problem,
        "solvable": True,
        "walkthrough": [],
    }


def write(folder: Path, content: dict[str, object], task: str = "pick_and_place_simple-Mug-None-SideTable-1/trial_T1") -> Path:
    """Write a game file where a task id has it; returns its path."""
    path = folder / task / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return path
