"""The page from end to end: what is on it, what is escaped, and what it replaces."""

from __future__ import annotations

import builtins
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from agents import checkpoint, tiny
from agents.checkpoint import Base
from agents.model import ActorCritic
from rollouts.cli import run as run_command
from rollouts.report.__main__ import Args, main, report
from rollouts.report.draw import Drawn
from rollouts.report.page import MARK, check_out
from rollouts.trajectory import LogError, Step, Trajectory
from tests.rollouts.reported import episode, log

SECTIONS = ["read", "success", "learning", "entropy", "lengths", "values", "credit", "calibration", "implicit", "search", "gallery"]
VOID = {"meta", "input", "br", "link", "img", "hr"}


class Parsed(HTMLParser):
    """A page's elements: that they nest, ids, where they point to, and scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sections, self.targets, self.ids, self.names, self.texts = (
            list[str](),
            list[str](),
            set[str](),
            set[str](),
            list[str](),
        )
        self.missing = list[str]()
        self._open = list[tuple[str, dict[str, str | None]]]()
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.add(tag)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        if tag == "section":
            self.sections.append(given["id"] or "")
        if given.get("class") == "missing":
            self.missing.append(self.sections[-1])
        self.targets += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action", "data")]
        if tag not in VOID:
            self._open.append((tag, given))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def played(task: str, solved: bool, seed: int = 0) -> Trajectory:
    return episode(task, Step("2 + 3? <script>alert(1)</script>", "2 + 3 = 5\n", 0.0), "#### 5\n", solved=solved, seed=seed)


def make_run(path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A run of a few episodes with a critic, its reference, metrics and a budget curve."""
    lm = tiny.build(tokenizer, tiny.TinyConfig(width=32, layers=2, heads=2, context=512), seed=3)
    log(path / "rollouts.jsonl", *(played(f"x/{i}", i % 2 == 0) for i in range(12)), agent="<b>sft & $co$</b>")
    for model, solved in (("sft", 3), ("oreo", 5)):
        log(path / "evaluation" / f"{model}-test.jsonl", *(played(f"y/{i}", i < solved) for i in range(8)), agent=model)
        (path / f"{model}-metrics.jsonl").write_text("".join(f'{{"step": {i}, "loss": 0.5, "kl": 0.1}}\n' for i in range(1, 4)))
    point = {"search": "beam", "budget": 2, "success": 0.5, "low": 0.4, "high": 0.6, "tokens": 20}
    (path / "evaluation" / "budgets.json").write_text(json.dumps({"curves": [point]}))
    base = Base("tiny", checkpoint.fingerprint(lm))
    checkpoint.save(path / "sft", ActorCritic(lm), tokenizer, base, {"method": "sft"})
    meta = {"method": "oreo", "settings": {"level": "token", "beta": 0.1}, "started_from": "/gone/sft", "reference": "/gone/sft"}
    checkpoint.save(path / "oreo", ActorCritic(lm, "separate"), tokenizer, base, meta)
    return path


@pytest.fixture
def run(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return make_run(tmp_path / "run", tokenizer)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """The page of such a run, which no test changes."""
    folder = tmp_path_factory.mktemp("report")
    return report(Args((make_run(folder / "run", tokenizer),), folder / "out"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is written: the pictures are empty."""
    monkeypatch.setattr("rollouts.report.draw.draw", lambda panel: Drawn(panel.name, panel.title, "<svg></svg>", b""))


def test_a_run_has_every_section_and_needs_nothing_from_elsewhere(index: Path) -> None:
    page = Parsed(index)
    assert page.sections == SECTIONS
    # The log has no log-probabilities; all else is there.
    assert page.missing == ["entropy"]
    assert all(target.startswith("#") and target[1:] in page.ids for target in page.targets)
    assert not page.names & {"script", "link", "img", "iframe", "object", "embed"}


def test_every_picture_is_a_file_too(index: Path) -> None:
    pictures, html = sorted(index.parent.glob("*.png")), index.read_text(encoding="utf-8")
    assert len(pictures) == html.count('role="img"') - html.count('<svg class="line"') > 10
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_what_a_log_says_is_text_and_nothing_else(index: Path) -> None:
    """A script in an observation, and markup and dollar signs in an agent's name."""
    assert "<script" not in index.read_text(encoding="utf-8")
    texts = Parsed(index).texts
    assert any("<script>alert(1)</script>" in text for text in texts)
    assert any("<b>sft & $co$</b>" in text for text in texts)


def test_markup_in_a_kind_of_step_is_text_in_the_drawing_too(tmp_path: Path) -> None:
    steps = [Step("", "<script>x</script>", 0.0, value=0.5, target=0.1)]
    path = log(tmp_path / "log.jsonl", *(episode(f"t{i}", *steps, env="AlfWorld-v0") for i in range(6)), env_id="AlfWorld-v0")
    index = report(Args((path,), tmp_path / "out"))
    assert "script" not in Parsed(index).names


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_that_only_a_sample_was_read(run: Path, tmp_path: Path) -> None:
    text = report(Args((run,), tmp_path / "out", episodes=6)).read_text(encoding="utf-8")
    assert "6 of 12 episodes of rollouts, chosen by hash" in text


@pytest.mark.usefixtures("undrawn")
def test_a_log_without_values_says_what_to_give(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", played("x", True))
    page = Parsed(report(Args((path,), tmp_path / "out")))
    assert page.missing == ["learning", "entropy", "values", "credit", "calibration", "implicit", "search"]


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", played("x", True), played("y", False))
    one, two = (report(Args((path,), tmp_path / name)).parent for name in ("one", "two"))
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {file.name: file.read_bytes() for file in two.iterdir()}


@pytest.mark.usefixtures("undrawn")
def test_a_critic_that_cannot_be_read_is_named_and_the_rest_is_there(run: Path, tmp_path: Path) -> None:
    config = run / "oreo" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"method": "dro"}))
    page = Parsed(report(Args((run,), tmp_path / "out")))
    assert any("learnt V before the whole response only" in text for text in page.texts)
    assert "values" in page.missing and "success" not in page.missing


def test_a_critic_that_was_named_must_be_readable(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no value head"):
        report(Args((run,), tmp_path / "out", critic=str(run / "sft")))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", played("x", True))
    out = tmp_path / "out"
    report(Args((path,), out))
    (out / "old.png").write_bytes(b"")
    report(Args((path,), out))
    assert not (out / "old.png").exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log.jsonl", "out"]


@pytest.mark.parametrize("files", [{"notes.txt": "x"}, {"index.html": "<html>mine</html>"}, {"index.html": MARK, "notes.txt": "x"}])
def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="holds other things"):
        check_out(tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == files


def test_a_file_is_no_place_for_a_report(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        check_out(tmp_path / "out")


def test_an_empty_log_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="has no episode"):
        report(Args((log(tmp_path / "log.jsonl"),), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError("No module named 'matplotlib'")
        return there(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.startswith(("matplotlib", "rollouts.report.draw", "rollouts.report.page"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("rollouts.report.page", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'reasoning-gym-offline\[report\]'"):
        report(Args((log(tmp_path / "log.jsonl", played("x", True)),), tmp_path / "out"))


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command(lambda: main(Args((tmp_path / "none",), tmp_path / "out")))
    assert capsys.readouterr().out.startswith("FileNotFoundError: there is nothing at")
