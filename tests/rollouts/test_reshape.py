"""Logs made of logs: nothing is lost that was asked for, nothing is changed, nothing half-written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollouts.reshape import Dedupe, Merge, Slice, content, cut, dedupe, main, merge
from rollouts.trajectory import End, Header, LogError, LogWriter, Step, Trajectory, records
from tests.rollouts.logs import lines, logs, texts, trajectories, write

HEADER = Header("Env-v0", "lm")
OTHER = Header("Env-v0", "expert")
one_environment = st.lists(trajectories(env_id=st.just("Env-v0"), task=st.sampled_from("abcdefgh")), min_size=1, max_size=6)
FORMS = ["out.jsonl", "out.jsonl.zst", "out"]


def episode(task: str, seed: int = 0, actions: str = "x", reward: float = 1.0, end: End = End.TERMINATED) -> Trajectory:
    steps = tuple(Step("o", action, reward * (i + 1 == len(actions))) for i, action in enumerate(actions))
    return Trajectory("Env-v0", task, seed, steps, end, "lm")


def episodes(path: Path) -> list[Trajectory]:
    return [record for record in records(path) if isinstance(record, Trajectory)]


def multiset(found: list[Trajectory]) -> Counter[bytes]:
    return Counter(msgspec.json.encode(one) for one in found)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=20)
@given(log=logs())
def test_a_slice_of_everything_is_the_log(tmp_path_factory: pytest.TempPathFactory, name: str, log: list) -> None:
    folder = tmp_path_factory.mktemp("slice")
    whole = write(folder / "log.jsonl", log)
    cut(Slice((whole,), folder / name))
    assert lines(folder / name) == log


@settings(max_examples=40)
@given(log=one_environment, share=st.floats(0.01, 0.99), of=st.sampled_from(["tasks", "episodes"]), seed=st.integers(0, 9))
def test_slices_merged_are_the_log(
    tmp_path_factory: pytest.TempPathFactory, log: list[Trajectory], share: float, of: str, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    whole = write(folder / "log.jsonl", [HEADER, *log])
    parts = []
    for number, sample in enumerate((f"0:{share}", f"{share}:1")):
        try:
            cut(Slice((whole,), folder / f"{number}.jsonl", sample=sample, of=of, seed=seed))  # type: ignore[arg-type]
        except LogError:
            continue  # all of them are in the other one
        parts.append(folder / f"{number}.jsonl")
    merge(Merge(tuple(parts), folder / "all"))
    assert multiset(episodes(folder / "all")) == multiset(log)
    if of == "tasks" and len(parts) == 2:
        assert not {t.task for t in episodes(parts[0])} & {t.task for t in episodes(parts[1])}


@settings(max_examples=40)
@given(log=st.lists(st.builds(episode, st.sampled_from("ab"), st.integers(0, 3), st.sampled_from(["x", "xy", "y"])), min_size=1))
def test_deduping_twice_is_deduping_once(tmp_path_factory: pytest.TempPathFactory, log: list[Trajectory]) -> None:
    folder = tmp_path_factory.mktemp("dedupe")
    dedupe(Dedupe((write(folder / "log.jsonl", [HEADER, *log]),), folder / "once.jsonl"))
    dedupe(Dedupe((folder / "once.jsonl",), folder / "twice.jsonl"))
    first = {}
    for one in log:
        first.setdefault((one.task, tuple(step.action for step in one.steps)), one)
    assert episodes(folder / "once.jsonl") == list(first.values())
    assert (folder / "twice.jsonl").read_bytes() == (folder / "once.jsonl").read_bytes()


@given(st.lists(texts, max_size=3), st.lists(texts, max_size=3))
def test_contents_are_told_apart(one: list[str], two: list[str]) -> None:
    """Also where the actions together say the same."""
    first, second = (
        Trajectory("E", "t", 0, tuple(Step("", a, 0.0) for a in actions), End.TERMINATED, "a") for actions in (one, two)
    )
    assert (content(first) == content(second)) == (one == two)


def test_another_end_or_task_is_another_content() -> None:
    one = episode("a")
    assert content(one) == content(episode("a", seed=7, reward=0.0))
    assert len({content(other) for other in (one, episode("b"), episode("a", end=End.TRUNCATED))}) == 3


LOG = [
    HEADER,
    episode("math/train/1", 0, "x", 1.0),
    episode("math/train/1", 1, "xy", 0.0),
    OTHER,
    msgspec.structs.replace(episode("math/train/2", 0, "xyz", 1.0), agent="expert"),
    episode("logic/train/1", 5, "x", 1.0, End.TRUNCATED),
    episode("logic/train/1", -2, "", 0.0, End.ERROR),
]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({"tasks": ("math/*",)}, [1, 2, 4]),
        ({"tasks": ("*/1", "*/2"), "without": ("logic/*",)}, [1, 2, 4]),
        ({"kinds": ("logic/train",)}, [5, 6]),
        ({"agents": ("exp*",)}, [4]),
        ({"outcome": "won"}, [1, 4]),
        ({"outcome": "lost"}, [2, 5, 6]),
        ({"ends": ("truncated", "error")}, [5, 6]),
        ({"seeds": "1:"}, [2, 5]),
        ({"seeds": "-2:0"}, [1, 4, 6]),
        ({"seeds": "5"}, [5]),
        ({"steps": ":1"}, [1, 5, 6]),
        ({"steps": "2:2"}, [2]),
        ({"head": 2}, [1, 2]),
        ({"outcome": "won", "head": 1}, [1]),
    ],
)
def test_what_fits_is_kept_behind_its_header(tmp_path: Path, wanted: dict, kept: list[int]) -> None:
    """An episode that is kept stands behind the header that spoke for it, and no header stands alone."""
    cut(Slice((write(tmp_path / "log.jsonl", LOG),), tmp_path / "part.jsonl", **wanted))
    expected: list = []
    for index in kept:
        header = HEADER if index < 3 else OTHER
        if header not in expected:
            expected.append(header)
        expected.append(LOG[index])
    assert lines(tmp_path / "part.jsonl") == expected


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({"info": ("corrected",)}, ["2"]),
        ({"info": ("disturbance", "corrected")}, ["1", "2"]),
        ({"lacks": ("disturbance",)}, ["0", "2"]),
    ],
)
def test_episodes_are_told_apart_by_the_info_of_a_step(tmp_path: Path, wanted: dict, kept: list[str]) -> None:
    infos: list[dict] = [{"won": False}, {"disturbance": True}, {"corrected": "go"}]
    steps = [(Step("o", "x", 0.0), Step("o", "y", 1.0, info=info)) for info in infos]
    log = [HEADER, *(Trajectory("Env-v0", str(i), 0, both, End.TERMINATED, "lm") for i, both in enumerate(steps))]
    cut(Slice((write(tmp_path / "log.jsonl", log),), tmp_path / "part.jsonl", **wanted))
    assert [one.task for one in episodes(tmp_path / "part.jsonl")] == kept


def test_a_sample_is_drawn_by_hash(tmp_path: Path) -> None:
    """About the share asked for, the larger sample holds the smaller one, and another seed draws others."""
    log = write(tmp_path / "log.jsonl", [HEADER, *(episode(f"t{i}") for i in range(1000))])
    found = {}
    for name, sample, seed in (("a", "0:0.1", 0), ("b", "0:0.3", 0), ("c", "0:0.1", 1)):
        cut(Slice((log,), tmp_path / f"{name}.jsonl", sample=sample, seed=seed))
        found[name] = {t.task for t in episodes(tmp_path / f"{name}.jsonl")}
    assert 70 < len(found["a"]) < 130
    assert found["a"] < found["b"]
    assert len(found["a"] & found["c"]) < 30


def test_merging_says_what_is_there_twice(tmp_path: Path) -> None:
    """Keys: a/0 comes three times, b/0 once: two repeat another; of the contents only one does."""
    one = write(tmp_path / "1.jsonl", [HEADER, episode("a"), episode("b", reward=0.0)])
    two = write(tmp_path / "2.jsonl", [OTHER, episode("a"), episode("a", actions="y")])
    said = merge(Merge((one, two), tmp_path / "all.jsonl"))
    assert said.endswith("all.jsonl: 4 episodes, 3 solved; 2 of them have the (task, seed) of another, 1 do the same (see dedupe)")
    assert lines(tmp_path / "all.jsonl") == [*lines(one), *lines(two)]


def test_environments_are_not_mixed(tmp_path: Path) -> None:
    other = msgspec.structs.replace(episode("b"), env_id="Other-v0")
    one, two = write(tmp_path / "1.jsonl", [HEADER, episode("a")]), write(tmp_path / "2.jsonl", [HEADER, other])
    with pytest.raises(LogError, match=r"would have episodes of Env-v0 and of Other-v0.*python -m rollouts.pack joins any logs"):
        merge(Merge((one, two), tmp_path / "all.jsonl"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.jsonl", "2.jsonl"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tasks": ("none",)}, "no episode is left for .*part, which was not written"),
        ({"seeds": "a"}, "--seeds takes a range such as 0:3"),
        ({"steps": "4:2"}, "--steps '4:2' holds no number"),
        ({"steps": ""}, "--steps '' holds no number"),
        ({"sample": "0.1"}, "--sample takes a share A:B"),
        ({"sample": "0.5:0.2"}, "--sample takes a share A:B"),
        ({"sample": "0:2"}, "--sample takes a share A:B"),
        ({"sample": "x:1"}, "--sample takes a share A:B"),
        ({"head": 0}, "--head must be at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_writes_nothing(tmp_path: Path, wanted: dict, message: str) -> None:
    log = write(tmp_path / "log.jsonl", LOG)
    with pytest.raises(ValueError, match=message):
        cut(Slice((log,), tmp_path / "part", **wanted))
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.parametrize("command", [lambda log, out: merge(Merge((log,), out)), lambda log, out: dedupe(Dedupe((log,), out))])
def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, command) -> None:
    log = tmp_path / "log.jsonl"
    with LogWriter(log, HEADER) as writer:
        writer.append(episode("a"), episode("a", 1))
    with pytest.raises(LogError, match="is there already: give another --out"):
        command(log, log)
    with open(log, "ab") as file:
        file.write(b"no json\n")
    with pytest.raises(LogError, match=r"log.jsonl:4: "):
        command(log, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [log]


def test_validate_says_which_logs_are_not_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write(tmp_path / "good.jsonl", LOG), tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    with pytest.raises(SystemExit) as end:
        main(["validate", str(bad), str(good)])
    shown = capsys.readouterr()
    assert end.value.code == 1
    assert "bad.jsonl:1: expected a header" in shown.err
    assert shown.out.strip() == f"{good}: valid, version 1, 5 episodes, 7 steps, 2 solved"


@pytest.mark.parametrize(
    ("argv", "message"), [(["merg"], "Did you mean 'merge'?"), (["merge", "--out", "x.jsonl"], "merge needs a log")]
)
def test_the_command_line_says_what_is_missing(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    shown = capsys.readouterr()
    assert end.value.code == 2
    assert message in " ".join((shown.out + shown.err).split())


def test_the_documented_command_writes_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write(tmp_path / "log.jsonl", LOG)
    main(["slice", str(log), "--outcome", "won", "--out", str(tmp_path / "won.jsonl")])
    assert "2 episodes, 2 solved, of 5" in " ".join(capsys.readouterr().out.split())
