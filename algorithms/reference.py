"""What the frozen reference says of rows that training meets more than once, asked once and kept on the disk.

A log-probability takes 4 bytes a token. An exact KL needs a whole distribution at each; of that the reference's final hidden state
is kept (width times the bytes of its type, a hundredth of the distribution) and projected anew each time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import psutil
import torch
from accelerate import Accelerator
from rich.progress import Progress
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from agents.model import ActorCritic
from algorithms.batch import Batch, Row, collate, digest
from algorithms.method import Method
from algorithms.sharding import passes
from algorithms.training import Training
from rollouts.encode import cut_by_length
from rollouts.progress import bar_columns, console

Kind = Literal["logp", "states"]


class Place(NamedTuple):
    """Where a row's tokens are."""

    file: np.ndarray
    """[tokens] log-probabilities, or [tokens, D] states"""
    start: int
    count: int


class ReferenceCache:
    """log pi_ref of the agent's tokens of every row, or the reference's states before them.

    Identical rows are asked for once, each process asks for its share, and what is in the folder already is not asked for again:
    it may be of a run that was stopped, or (log-probabilities) of another learner's on the same rows.

    Args:
        folder: of this kind, of this reference in its own type, and of nothing else.
        kind: what is kept.
        model: the model whose reference is asked.
        rows: all rows that training meets.
        training: how many tokens at once.
        pad: id of a padding token.
        packed: whether the model takes packed rows.
        accelerator: of this process.

    Raises:
        ValueError: the model is sharded, and its processes do not share the folder.
    """

    def __init__(
        self,
        folder: Path,
        kind: Kind,
        model: ActorCritic,
        rows: Sequence[Row],
        training: Training,
        pad: int,
        packed: bool,
        accelerator: Accelerator,
    ) -> None:
        self.folder, self.kind = folder, kind
        self.places: dict[bytes, Place] = {}
        self._open()
        distinct = {key: row for row in rows if (key := _key(row)) not in self.places}
        accelerator.wait_for_everyone()  # nobody writes before all have seen the same
        mine = list(distinct.values())[accelerator.process_index :: accelerator.num_processes]
        if distinct:
            self._write(model, mine, rows[0], training, pad, packed, accelerator)
        accelerator.wait_for_everyone()
        self._open()
        if isinstance(model, FSDPModule) and any(_key(row) not in self.places for row in rows):
            raise ValueError(
                f"{folder} lacks what other processes wrote there: sharded training wants an --out on a disk that all of its "
                "processes share, for they ask the reference together or not at all"
            )

    def filled(self, batch: Batch, rows: Sequence[Row]) -> Batch:
        """The batch of some rows with what is known of them; as it is where a row is none of those that were asked for."""
        found = [self.places.get(_key(row)) for row in rows]
        if any(place is None for place in found):
            return batch
        parts = [torch.from_numpy(p.file[p.start : p.start + p.count].copy()) for p in found if p is not None]
        known = torch.cat(parts).to(batch.tokens.device)
        if self.kind == "logp":
            return replace(batch, ref_logp=known)
        return replace(batch, ref_states=known.view(torch.bfloat16) if known.dtype is torch.int16 else known)

    def close(self) -> None:
        """Remove states, which take hundreds of megabytes; log-probabilities stay for other learners of the run."""
        self.places = {}
        if self.kind == "states":
            shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self) -> None:
        """Map what the folder holds."""
        for keys in sorted(self.folder.glob("*.keys.npy")):
            file = np.load(keys.with_name(keys.name.replace(".keys", "")), mmap_mode="r", allow_pickle=False)
            index = np.load(keys, allow_pickle=False)
            start = 0
            for key, count in zip(index["key"], index["count"].tolist(), strict=True):
                self.places[key.tobytes()] = Place(file, start, count)
                start += count

    def _write(
        self,
        model: ActorCritic,
        rows: Sequence[Row],
        spare: Row,
        training: Training,
        pad: int,
        packed: bool,
        accelerator: Accelerator,
    ) -> None:
        """Ask for rows, none or more; the file is written aside and named when it is whole, its keys last."""
        parts = cut_by_length([[row] for row in rows], training.micro_tokens, len)
        index = np.array(
            [(np.frombuffer(_key(row), np.uint8), _own(row)) for part in parts for row in part],
            dtype=[("key", np.uint8, 16), ("count", np.int64)],
        )
        name = hashlib.blake2b(index.tobytes(), digest_size=8).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)
        _clear(self.folder)
        aside, done = (self.folder / f"{name}.{end}" for end in (f"{_machine()}.{os.getpid()}.part", "npy"))
        file, start = None, 0
        bar = Progress(*bar_columns("reference", "batches"), console=console, disable=not accelerator.is_main_process)
        with bar, torch.no_grad(), accelerator.autocast():
            for part, counts in bar.track(passes(model, accelerator, parts, [spare])):
                batch = collate(part, "token", pad, packed).to(accelerator.device)
                found = self._ask(model, batch).cpu()
                if not counts:
                    continue
                array = (found.view(torch.int16) if found.dtype is torch.bfloat16 else found).numpy()
                if file is None:
                    shape = (int(index["count"].sum()), *array.shape[1:])
                    file = np.lib.format.open_memmap(aside, mode="w+", dtype=array.dtype, shape=shape)
                file[start : start + len(array)] = array
                start += len(array)
        if file is None:
            return
        file.flush()
        os.replace(aside, done)
        with open(aside, "wb") as keys:
            np.save(keys, index, allow_pickle=False)
        os.replace(aside, self.folder / f"{name}.keys.npy")

    def _ask(self, model: ActorCritic, batch: Batch) -> Tensor:
        ask = model.reference_logp if self.kind == "logp" else model.reference_states
        return ask(batch.tokens, batch.decision >= 0, batch.packing)


def needed(method: Method, config: Any) -> Kind | None:
    """What a learner asks of the reference."""
    if not method.reference:
        return None
    return "states" if method.kl(config) == "exact" else "logp"


def repeated(rows: Sequence[Row], met: int) -> bool:
    """Whether training meets the same rows again and again, with `met` rows in all of it."""
    return round(met / len(set(map(_key, rows)))) > 1


def _own(row: Row) -> int:
    """The number of the agent's tokens."""
    return sum(step >= 0 for step in row.step)


def _key(row: Row) -> bytes:
    """What is equal for rows that are equal to the reference."""
    return digest(row.tokens, tuple(step >= 0 for step in row.step))


def _machine() -> str:
    return re.sub(r"\W", "-", socket.gethostname())


def _clear(folder: Path) -> None:
    """Remove what processes were writing when they were killed: those of this machine, where it is known which live."""
    for file in folder.glob(f"*.{_machine()}.*.part"):
        if not psutil.pid_exists(int(file.name.split(".")[-2])):
            file.unlink(missing_ok=True)  # another process may do the same
