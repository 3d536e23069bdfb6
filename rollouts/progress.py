"""What a person sees while episodes are played."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from rollouts.trajectory import Trajectory

console = Console()


def bar_columns(what: str, fields: str) -> tuple[ProgressColumn, ...]:
    """What a bar shows on a terminal of 80 columns: the time left, and the time it took once it is done."""
    return (
        TextColumn(what),
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TextColumn(fields),
        TimeRemainingColumn(elapsed_when_finished=True),
    )


class EpisodeProgress:
    """A progress bar of episodes: how many, how fast, how many solved so far, how long still."""

    def __init__(self, what: str, total: int, before: int = 0, solved: int = 0) -> None:
        """`before` episodes of the total, `solved` of them, were played by an earlier process; they have no part in the speed."""
        what = what if len(what) <= 24 else f"{what[:11]}\u2026{what[-12:]}"
        self.before = self.played = before
        self.solved = solved
        self._bar = Progress(*bar_columns(what, "{task.fields[rate]} episodes/s, {task.fields[solved]} solved"), console=console)
        self._task = self._bar.add_task(what, total=total, completed=self.before, rate="-", solved="-")

    def update(self, trajectory: Trajectory) -> None:
        """Count one finished episode."""
        self.played += 1
        self.solved += trajectory.success
        elapsed = self._bar.tasks[self._task].elapsed or 1e-9
        share = f"{self.solved / self.played:.1%}"
        self._bar.update(self._task, advance=1, rate=f"{(self.played - self.before) / elapsed:.1f}", solved=share)

    def __enter__(self) -> EpisodeProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
