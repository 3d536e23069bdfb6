"""Training sharded over processes (FSDP2): each keeps its part of every parameter, of its gradient and of the optimiser's moments.

    accelerate launch --config_file runs/fsdp.yaml -m algorithms.oreo --env math --data LOG --model DIR

A layer is gathered for as long as it computes. What lies outside of layers (embeddings, output layer, last norms, value head) stays
gathered from the forward pass to the end of the backward pass, where chunks of log-probabilities meet the output layer again. All
processes gather together, so that each must make as many passes as the others.

It is done by torch itself and not by accelerate, which shards on GPUs only, and gathers for a model's `forward` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils import _pytree as pytree
from transformers.modeling_layers import GradientCheckpointingLayer

from agents.model import ActorCritic

T = TypeVar("T")
SWITCH = "ACCELERATE_USE_FSDP"
"""What the launcher sets where its configuration file says `distributed_type: FSDP`."""


@dataclass(frozen=True)
class Sharding:
    """How a model is sharded."""

    reshard: bool
    """whether layers are let go after the forward pass, and gathered again for the backward pass"""
    offload: OffloadPolicy
    """where a process keeps its parts"""

    def shard(self, model: ActorCritic, accelerator: Accelerator) -> None:
        """Leave of a model, which all processes have alike, this process's part, on its device.

        Raises:
            ValueError: adapters are to be trained with layers that stay gathered.
        """
        if model.rank and not self.reshard:
            raise ValueError(
                "adapters are switched on and off between passes, which would be lost on layers that stay gathered: "
                "with --rank, give fsdp_reshard_after_forward: true"
            )
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        how: dict[str, Any] = {"mesh": mesh, "offload_policy": self.offload}
        for layer in reversed([m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]):  # inner ones first
            fully_shard(layer, reshard_after_forward=self.reshard, **how)
        root = cast(FSDPModule, fully_shard(model, reshard_after_forward=False, **how))
        # The model whose first pass it is becomes the root of all: not one of the layers.
        tokens = torch.zeros((1, 2), dtype=torch.long, device=accelerator.device)
        with torch.no_grad():
            model(tokens, tokens.new_tensor([[0, 1]]).bool(), tokens[:, :1])
        root.reset_iter_state()  # no layer stays gathered: the optimiser is to have the parts

    @contextmanager
    def gathered(self, model: ActorCritic, *trunks: nn.Module) -> Iterator[None]:
        """While this lasts, each process has whole what lies outside of layers, and the layers of these trunks.

        So one process may pass these layers without the others. All processes come here together; no gradients are taken.
        """
        root, layers = cast(FSDPModule, model), [layer for trunk in trunks for layer in _units(trunk)]
        for unit in (root, *layers):
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for layer in layers:
                layer.set_reshard_after_forward(self.reshard, recurse=False)
            root.reset_iter_state()  # the next backward pass must not follow what one process passed alone


def asked(cpu: bool) -> Sharding | None:
    """What the launcher's configuration file says of sharding; None where it asks for none, or for a single process.

    Args:
        cpu: whether the processes compute on the CPU.

    Raises:
        ValueError: it asks for the first version of FSDP, or for something that is done otherwise here.
    """
    if os.environ.get(SWITCH, "false").lower() != "true":
        return None
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise ValueError(f"the launcher asks for FSDP of version {version}: give fsdp_version: 2 (see runs/fsdp.yaml)")
    state = PartialState(cpu=cpu)  # while accelerate knows of offloading, for which it lets processes talk in main memory too
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    if plugin.cpu_ram_efficient_loading:
        raise ValueError("every process loads the whole model: give fsdp_cpu_ram_efficient_loading: false (see runs/fsdp.yaml)")
    if plugin.activation_checkpointing:
        raise ValueError("layers are computed again by --gradient-checkpointing: give fsdp_activation_checkpointing: false")
    if state.num_processes == 1:
        return None
    offload = OffloadPolicy() if cpu else cast(OffloadPolicy, plugin.cpu_offload)
    return Sharding(bool(plugin.reshard_after_forward), offload)


@contextmanager
def unseen() -> Iterator[None]:
    """While this lasts, accelerate does not see that sharding is asked for, and leaves it alone."""
    switch = os.environ.pop(SWITCH, None)
    try:
        yield
    finally:
        if switch is not None:
            os.environ[SWITCH] = switch


def passes(model: nn.Module, accelerator: Accelerator, mine: Sequence[T], spare: T) -> list[tuple[T, bool]]:
    """What this process passes through a model, and whether it counts.

    Where the model is sharded, `spare` comes behind as often as another process has more, and does not count.
    """
    found = [(one, True) for one in mine]
    if isinstance(model, FSDPModule):
        most = cast(Tensor, accelerator.gather(torch.tensor([len(mine)], device=accelerator.device))).max()
        found += [(spare, False)] * (int(most) - len(mine))
    return found


def whole(tree: T, kept: bool) -> T:
    """A tree of dicts and lists whose sharded tensors are put together in main memory; None in their place where none are kept.

    All processes come here together. What stands there twice stays one. The rest is as it was.
    """
    known: dict[int, Tensor | None] = {}

    def put_together(part: DTensor) -> Tensor | None:
        if id(part) not in known:
            full = cast(DTensor, part.detach()).full_tensor()
            known[id(part)] = full.cpu() if kept else None
        return known[id(part)]

    return pytree.tree_map_only(DTensor, put_together, tree)


def load_whole(model: nn.Module, optimizer: Optimizer, weights: Mapping[str, Tensor], moments: dict[str, Any]) -> None:
    """Take a trained model's weights and its optimiser's state, of which this process keeps its part where they are sharded."""
    parameters = dict(model.named_parameters())
    model.load_state_dict({name: _part(full, parameters[name]) for name, full in weights.items()}, strict=False)
    owned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        index: {name: _part(full, owned[index]) if full.ndim else full for name, full in of.items()}
        for index, of in moments["state"].items()
    }
    optimizer.load_state_dict(moments | {"state": state})


def _part(full: Tensor, like: Tensor) -> Tensor:
    """A process's part of a tensor, where another of its shape is sharded."""
    if not isinstance(like, DTensor):
        return full
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)  # each cuts from what it has read


def _units(trunk: nn.Module) -> list[Any]:
    """The sharded layers of a trunk, in order."""
    return [module for module in trunk.modules() if isinstance(module, FSDPModule)]
