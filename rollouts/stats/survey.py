"""All that is counted of a log in one pass over it, and what of that should be mended before training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from rollouts.lines import LogError
from rollouts.progress import bar_columns, console
from rollouts.stats.contamination import Contamination, first_texts
from rollouts.stats.contents import Contents, Tasks
from rollouts.stats.texts import Texts
from rollouts.stored import StoredLog, survey
from rollouts.trajectory import Header, Trajectory

if TYPE_CHECKING:
    from rollouts.stats.tokens import Reader, Tokens

MUCH = 0.1
"""A share of the log above which what is counted there changes what is learnt."""
RARE = 0.01
"""A share of steps below which what is odd in them is a model's slip rather than a habit; templates are never that."""
FEW = 0.2
"""A share of tasks with both outcomes below which little is left to compare."""


@dataclass(frozen=True)
class Finding:
    """What was found, what it means, and what to do."""

    found: str
    means: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}: {self.means}; {self.remedy}"


@dataclass(frozen=True)
class Survey:
    """A log that was gone through."""

    path: Path
    headers: list[Header]
    contents: Contents
    texts: Texts
    tokens: Tokens | None
    """None where no model was given"""
    others: list[Contamination]
    repeated: Trajectory
    """an episode of the content that is there most often"""

    def to_json(self) -> dict[str, Any]:
        """Everything, plain."""
        return {
            "log": str(self.path),
            "headers": len(self.headers),
            **self.contents.to_json(),
            "texts": self.texts.to_json(),
            "tokens": self.tokens and self.tokens.to_json(),
            "contamination": [other.to_json() for other in self.others],
            "findings": [asdict(finding) for finding in self.findings()],
        }

    def findings(self) -> Iterator[Finding]:
        """What should be mended, or known, before training."""
        yield from _outcomes(self.contents)
        yield from _samples(self.contents)
        yield from _headers(self.headers)
        yield from _odd(self.texts)
        yield from _tokens(self.tokens) if self.tokens else ()
        for other in self.others:
            yield from _contaminated(other)


def go_through(path: Path, reader: Reader | None = None, against: tuple[str, ...] = (), threshold: float = 0.7) -> Survey:
    """Read a log (twice: to validate it, and to count), in a memory that hardly grows with it. Shows bars.

    Raises:
        LogError: it cannot be read, or has no episode.
        ValueError: as `first_texts`, or a threshold outside (0, 1].
    """
    log = survey(path)
    if not len(log.trajectories):
        raise LogError(f"{path} has a header and no episode: collect some (python -m rollouts.collect), or give another log")
    first = next(iter(log.trajectories))
    household = first.env_id.startswith("AlfWorld")
    header = next((header for header in log.headers if header.env_id == first.env_id), log.headers[0])
    others = [Contamination(name, first_texts(name, header), household, threshold) for name in against]
    contents = Contents()
    texts = Texts(reader.prompt.tokenizer.all_special_tokens if reader else ())
    tokens = None
    if reader:
        from rollouts.stats.tokens import Tokens  # transformers, which a log alone does without

        tokens = Tokens(reader)
    for episode in _counted(log):
        for part in (contents, texts, *([tokens] if tokens else []), *others):
            part.add(episode)
    repeated = next(islice(log.trajectories, contents.repeats().first, None))
    return Survey(path, log.headers, contents, texts, tokens, others, repeated)


def _counted(log: StoredLog) -> Iterator[Trajectory]:
    with Progress(*bar_columns("counting", "episodes"), console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(log.trajectories, total=len(log.trajectories), description="counting")


def _outcomes(contents: Contents) -> Iterator[Finding]:
    tally, tasks = contents.tally, Tasks.of(contents.tally)
    if not tally.solved:
        yield Finding(
            f"none of {tally.episodes} episodes is solved",
            "there is no reward to learn from",
            "collect on easier tasks, from a better agent or the expert, or more samples of each task",
        )
    elif tally.solved == tally.episodes:
        yield Finding(
            "every episode is solved",
            "good for sft, and nothing says what to avoid: dpo and kto find no pair, V is 1 everywhere",
            "for offline RL collect from a model at temperature 1, or with a noisy expert",
        )
    elif tasks.sometimes < FEW * tasks.tasks:
        yield Finding(
            f"{tasks.sometimes} of {tasks.tasks} tasks have both a solved and an unsolved episode",
            "only these tell dpo, kto and rejection what made the difference on one task",
            "collect more samples of a task (--samples 8), at temperature 1"
            if tasks.most > 1
            else "collect several samples of a task (--samples 8)",
        )
    for end, ended, means, remedy in (
        (
            "error",
            "ended by an error",
            "they are kept and never trained on",
            f"the first, {tally.error}; the same collect command plays them again",
        ),
        (
            "truncated",
            "were truncated",
            "a limit ended them, and by default they count as failed",
            "allow more steps or --max-new-tokens, or choose --truncated when training",
        ),
    ):
        if tally.ends[end] > (0 if end == "error" else MUCH * tally.episodes):
            yield Finding(f"{_of(tally.ends[end], tally.episodes)} episodes {ended}", means, remedy)
    for outcome in ("unparseable", "timeout"):
        if tally.outcomes[outcome] > MUCH * tally.episodes:
            yield Finding(
                f"{_of(tally.outcomes[outcome], tally.episodes)} episodes have the outcome {outcome}",
                "no answer was compared in them, so they say nothing of what is right",
                "look at their last steps: was the form of an answer asked for, was there room for it",
            )


def _samples(contents: Contents) -> Iterator[Finding]:
    repeats, episodes = contents.repeats(), contents.tally.episodes
    if repeats.again > MUCH * episodes:
        yield Finding(
            f"{_of(repeats.again, episodes)} episodes do what an earlier one of their task did",
            "learners count them as often as they are there, which is the policy's own weight where it sampled them",
            "for sft and rejection, or where a shard was given twice: python -m rollouts.trajectory dedupe",
        )
    partly = [name for name, count in contents.held.items() if 0 < count < contents.tally.steps]
    if partly:
        yield Finding(
            f"some steps have {' and '.join(partly)}, others have none",
            "episodes of several sources are mixed, and a learner that needs them leaves the others out or stops",
            "slice by agent (python -m rollouts.trajectory slice --agents)",
        )


def _headers(headers: list[Header]) -> Iterator[Finding]:
    for name, means in (
        ("env_id", "no learner tells environments apart"),
        ("env_args", "prompts, limits or splits may differ between episodes"),
        ("model", "log-probabilities are those of several models"),
    ):
        found = {str(getattr(header, name)) for header in headers}
        if len(found) > 1:
            yield Finding(
                f"headers name {len(found)} different {name}",
                means,
                "if that is not meant, slice the log by agent or task (python -m rollouts.trajectory slice)",
            )


_MEANT = {
    "empty action": ("a step without a word is learnt as an action", "see why the agent said nothing there"),
    "space before the action": ("the model learns it only where it is there", "strip it in all of them, or in none"),
    "space after the action": ("the model learns it only where it is there", "strip it in all of them, or in none"),
    "broken or control characters": (
        "a character was cut in two, or a terminal's codes were logged",
        "look at how the texts were made",
    ),
    "template in the action": (
        "words of a chat template are learnt as text, and end a turn where they are special tokens",
        "collect with the agent's own template and closing token, or leave these episodes out",
    ),
    "template in what is observed": (
        "a template was put around the prompt before it was logged, and another one comes around that",
        "log the bare texts; the prompt is made when it is read (agents/prompt.py)",
    ),
}


def _odd(texts: Texts) -> Iterator[Finding]:
    for oddity, (means, remedy) in _MEANT.items():
        # Whitespace that every action has is a habit of the source, and no drift.
        always = oddity.startswith("space") and texts.odd[oddity] == texts.steps
        slips = 0.0 if oddity.startswith("template") else RARE
        if texts.share(oddity) > slips and not always:
            yield Finding(f"{_of(texts.odd[oddity], texts.steps)} steps: {oddity} ({texts.examples[oddity]})", means, remedy)
    if texts.share("refused") > MUCH:
        yield Finding(
            f"{_of(texts.odd['refused'], texts.asked)} commands were not admissible (first {texts.examples['refused']})",
            "the steps were lost, and sft learns to waste them too",
            "learn from solved episodes, or from all of them with a learner that has a value",
        )


def _tokens(tokens: Tokens) -> Iterator[Finding]:
    context, episodes = tokens.reader.context, len(tokens.row)
    if beyond := tokens.row.above(context):
        yield Finding(
            f"{_of(beyond, episodes)} episodes are longer than {context} tokens ({tokens.reader.source})",
            "training keeps their first steps, and moves what they earned to the last of these",
            "raise --max-length if the model's window allows it, or slice by --steps",
        )
    if tokens.misread:
        yield Finding(
            f"the sampled ids of {_of(tokens.misread, tokens.sampled)} episodes say another text ({tokens.example})",
            "another tokenizer sampled them, and training with this model refuses the log",
            "give the --model that sampled it, or one that was trained from it",
        )
    if tokens.special:
        yield Finding(
            f"{_of(tokens.special, tokens.sampled)} episodes have special tokens within an action",
            "the agent ran on beyond its turn, and learns to do that",
            "check that its chat template closes a turn by the token that generation stops at",
        )


def _contaminated(other: Contamination) -> Iterator[Finding]:
    if found := other.found.total():
        kinds = ", ".join(f"{count} {kind}" for kind, count in other.found.items())
        yield Finding(
            f"{_of(found, other.tasks)} tasks are in {other.name} as well ({kinds})",
            "success there is also memory"
            if other.same or other.found["name"]
            else "they are alike, as those of one generator are",
            "leave them out (--json lists them; python -m rollouts.trajectory slice --without), or say so beside the number",
        )


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / max(whole, 1):.1%})"
