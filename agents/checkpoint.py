"""One folder that holds a trained agent: weights or adapters, value head, tokenizer, and a `config.json` that says what they are.

    policy/             a transformers model, or a peft adapter on the base
    critic/             the separate critic's trunk, or the critic's adapter
    value_head.safetensors
    merged/0, 1, ...    adapters that had been merged into the base before this training started (LoRA on top of LoRA)
    tokenizer/
    config.json         format version, base model with its fingerprint, kind of critic, LoRA rank, where it came from

Everything is written aside and then renamed, so that a checkpoint is either whole or not there. Weights are safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.quantization_config import GgufConfig

from agents.model import ActorCritic

FORMAT, VERSION = "reasoning-checkpoint", 1


@dataclass(frozen=True)
class Base:
    """The model under the adapters: its name or path, its fingerprint, and adapters already merged into it."""

    name: str
    fingerprint: str
    merged: tuple[str, ...] = ()
    origin: str = ""
    """what the first of all trainings began with; empty where that is `name` itself"""


@dataclass
class Loaded:
    """A model to start from: plain weights (adapters merged), its tokenizer, and what it was made of."""

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    base: Base
    meta: dict[str, Any] = field(default_factory=dict)


def fingerprint(model: nn.Module) -> str:
    """A short hash of a model's weights: names, shapes and up to 1,024 evenly spread values of each tensor.

    Values are rounded to bfloat16 first, so that a model has one fingerprint whatever type it was loaded in.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, weight in sorted(model.state_dict().items()):
        flat = weight.detach().reshape(-1)
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        digest.update(flat[:: max(1, flat.numel() // 1024)].bfloat16().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def native_dtype(stored: torch.dtype) -> torch.dtype:
    """The type to compute in: the stored one, but float32 for bfloat16 on a CPU without bfloat16 arithmetic (3 times as fast)."""
    if stored is not torch.bfloat16 or torch.cuda.is_available():
        return stored
    capabilities = torch.cpu.get_capabilities()
    return stored if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else torch.float32


def save(
    path: str | Path,
    model: ActorCritic,
    tokenizer: PreTrainedTokenizerBase,
    base: Base,
    meta: dict[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint folder (replacing one that is there). `base` is what `load_policy` said of the model trained from.

    `weights` are those that `stored` names, where the model itself has only parts of them.

    Raises:
        FileExistsError: as `check_place`.
    """
    path = Path(path)
    check_place(path)
    aside = path.with_name(path.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _save_weights(aside, model, weights)
    for index, adapter in enumerate(base.merged if model.rank else ()):
        shutil.copytree(adapter, aside / "merged" / str(index))
    tokenizer.save_pretrained(aside / "tokenizer")
    config = {
        "format": FORMAT,
        "version": VERSION,
        "critic": model.critic_kind,
        "rank": model.rank,
        "trunk_gradient": model.trunk_gradient,
        "base": asdict(base) | {"merged": len(base.merged)} if model.rank else None,
        "origin": base.origin or base.name,
        **(meta or {}),
    }
    (aside / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    before = path.with_name(path.name + ".before")  # to delete gigabytes takes a while, in which there would be none
    shutil.rmtree(before, ignore_errors=True)
    if path.exists():
        os.replace(path, before)
    os.replace(aside, path)
    shutil.rmtree(before, ignore_errors=True)


def stored(model: ActorCritic) -> dict[str, Tensor]:
    """The weights that a checkpoint holds, by their names in the model: not the reference, and of a base under adapters none."""
    found = model.state_dict(keep_vars=True)
    frozen = ("reference.", "policy.") if model.rank else ("reference.",)
    return {name: weight for name, weight in found.items() if weight.requires_grad or not name.startswith(frozen)}


def check_place(path: Path) -> None:
    """Make sure that a checkpoint put here replaces nothing else.

    Raises:
        FileExistsError: what is there is no checkpoint.
    """
    if path.exists() and not is_checkpoint(path) and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} is there and is no checkpoint, so it is left alone: give another --out, or move it away")


def is_checkpoint(path: str | Path) -> bool:
    """True for a folder that `save` wrote."""
    file = Path(path) / "config.json"
    if not file.is_file():
        return False
    with _reading(file):
        return json.loads(file.read_text()).get("format") == FORMAT


def load_policy(source: str | Path, base: str | None = None, dtype: torch.dtype | str = "auto") -> Loaded:
    """The policy of a checkpoint, a local transformers folder, a GGUF file or a hub id, as plain weights to act with or train from.

    Args:
        source: what to load.
        base: where the base model lies now, if a LoRA checkpoint's has moved.
        dtype: of the weights; "auto" takes `native_dtype` of the stored one, and float32 where adapters are merged: in bfloat16 a
            small adapter would be rounded away, and the policy that plays would not be the one that was trained.

    Raises:
        FileNotFoundError: nothing at `source`, or the base of a LoRA checkpoint is gone.
        ValueError: the checkpoint is of another format version or was made for another base model.
    """
    if not is_checkpoint(source):
        lm, tokenizer = _load_pretrained(str(source), dtype)
        name = str(Path(source).resolve()) if Path(source).exists() else str(source)
        return Loaded(lm, tokenizer, Base(name, fingerprint(lm)))
    path = Path(source).resolve()
    config = read_config(path)
    tokenizer = AutoTokenizer.from_pretrained(path / "tokenizer")
    if not config["rank"]:
        lm = _load_weights(AutoModelForCausalLM, path / "policy", dtype)
        return Loaded(lm, tokenizer, Base(str(path), fingerprint(lm), origin=config.get("origin", "")), config)
    lm, stored = _load_base(path, config, base, torch.float32 if dtype == "auto" else dtype)
    lm = _merge(lm, path / "policy")
    merged = (*stored.merged, str(path / "policy"))
    return Loaded(lm, tokenizer, replace(stored, merged=merged), config)


def load(
    path: str | Path, base: str | None = None, dtype: torch.dtype | str = "auto"
) -> tuple[ActorCritic, PreTrainedTokenizerBase]:
    """A whole checkpoint, critic and value head included (without the frozen copy of the reference). Raises as `load_policy`."""
    path = Path(path)
    config = read_config(path)
    tokenizer = AutoTokenizer.from_pretrained(path / "tokenizer")
    if config["rank"]:
        exact = dtype == "auto" and config["base"]["merged"]
        lm, _ = _load_base(path, config, base, torch.float32 if exact else dtype)
    else:
        lm = _load_weights(AutoModelForCausalLM, path / "policy", dtype)
    model = ActorCritic(lm, config["critic"], rank=config["rank"], trunk_gradient=config["trunk_gradient"])
    if config["rank"]:
        for adapter in ["policy", *(["critic"] if config["critic"] == "lora" else [])]:
            cast(PeftModel, model.policy).load_adapter(str(path / adapter), adapter_name=adapter, is_trainable=True)
    if config["critic"] == "separate":
        model.critic = _load_weights(AutoModel, path / "critic", dtype)
    if model.value_head is not None:
        with _reading(path / "value_head.safetensors"):
            model.value_head.load_state_dict(load_file(path / "value_head.safetensors"))
    return model.eval(), tokenizer


def read_config(path: Path) -> dict[str, Any]:
    """The `config.json` of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        ValueError: another format or version.
    """
    file = Path(path) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"no checkpoint at {path}: expected {file}; give a folder that a training run wrote, such as RUN/oreo"
        )
    with _reading(file):
        config = json.loads(file.read_text())
    if config.get("format") != FORMAT:
        raise ValueError(f"{file} is no checkpoint of this project: format is {config.get('format')!r}, expected {FORMAT!r}")
    if config.get("version") != VERSION:
        raise ValueError(
            f"{file} has checkpoint version {config.get('version')!r}, this code reads version {VERSION}; "
            "use the release that wrote it, or train again"
        )
    return config


def _save_weights(folder: Path, model: ActorCritic, weights: Mapping[str, Tensor] | None) -> None:
    def of(part: str) -> dict[str, Tensor] | None:
        if weights is None:
            return None
        return {name.removeprefix(part): weight for name, weight in weights.items() if name.startswith(part)}

    if isinstance(model.policy, PeftModel):
        # peft writes one folder per adapter, named after it: policy/ and critic/.
        model.policy.save_pretrained(str(folder), state_dict=of("policy."))
    else:
        model.lm.save_pretrained(folder / "policy", state_dict=of("policy."))
    if model.critic is not None:
        cast(PreTrainedModel, model.critic).save_pretrained(folder / "critic", state_dict=of("critic."))
    if model.value_head is not None:
        save_file(of("value_head.") or model.value_head.state_dict(), folder / "value_head.safetensors")


def _load_base(path: Path, config: dict[str, Any], name: str | None, dtype: torch.dtype | str) -> tuple[PreTrainedModel, Base]:
    """The base of a LoRA checkpoint, checked against its fingerprint, with earlier adapters merged."""
    stored = config["base"]
    name = str(name or stored["name"])
    lm = _load_pretrained(name, dtype)[0] if not is_checkpoint(name) else load_policy(name, dtype=dtype).lm
    if (found := fingerprint(lm)) != stored["fingerprint"]:
        raise ValueError(
            f"the adapters in {path} were trained on {stored['name']} with fingerprint {stored['fingerprint']}, "
            f"but {name} has {found}: give the very base that they were trained on"
        )
    merged = tuple(str(path / "merged" / str(index)) for index in range(stored["merged"]))
    for adapter in merged:
        lm = _merge(lm, Path(adapter))
    return lm, Base(name, stored["fingerprint"], merged, config.get("origin", ""))


def _merge(lm: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    merge = cast(Callable[[], PreTrainedModel], PeftModel.from_pretrained(lm, str(adapter)).merge_and_unload)
    return merge()


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, a local transformers folder, a GGUF file or a hub id.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(source)
    try:
        if path.suffix == ".gguf":
            return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        return AutoTokenizer.from_pretrained(path / "tokenizer" if is_checkpoint(path) else str(source))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"no tokenizer at {str(source)!r} ({error})") from error


def load_config(source: str | Path, base: str | None = None) -> PreTrainedConfig:
    """The transformers config of a checkpoint (of its base, where it holds adapters), a folder, a GGUF file or a hub id.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(source)
    if is_checkpoint(path):
        config = read_config(path)
        return load_config(base or config["base"]["name"]) if config["rank"] else AutoConfig.from_pretrained(path / "policy")
    try:
        if path.suffix == ".gguf":
            return AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
        return AutoConfig.from_pretrained(str(source))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"no model at {str(source)!r} ({error})") from error


def _load_pretrained(name: str, dtype: torch.dtype | str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    path = Path(name)
    if path.suffix == ".gguf" and path.is_file():
        tokenizer = load_tokenizer(path)
        # Dequantised: packed weights can be neither trained fast nor saved.
        lm = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=native_dtype(torch.bfloat16) if dtype == "auto" else dtype,
        )
        vars(lm.config).pop("quantization_config", None)
        return lm, tokenizer
    try:
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"no model at {name!r}: give a checkpoint folder, a transformers folder, a .gguf file, "
            f"or a hub id that can be reached ({error})"
        ) from error
    return _load_weights(AutoModelForCausalLM, name, dtype), AutoTokenizer.from_pretrained(name)


def _load_weights(kind: Any, folder: str | Path, dtype: torch.dtype | str) -> Any:
    stored = cast(torch.dtype, AutoConfig.from_pretrained(folder).dtype or torch.float32)
    with _reading(folder):
        return kind.from_pretrained(folder, dtype=native_dtype(stored) if dtype == "auto" else dtype)


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Say of a broken file which it is."""
    try:
        yield
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): it is broken or was cut short; copy it again, or train again"
        ) from error
