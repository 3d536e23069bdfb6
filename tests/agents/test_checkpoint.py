from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agents import checkpoint
from agents.model import ActorCritic
from tests.examples import KINDS, batch


def shake(model: ActorCritic) -> None:
    """Move every trainable parameter, as training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for members in model.groups().values():
            for parameter in members:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def stored(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("critic", "rank"), KINDS)
def test_reload_is_exact(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, critic: str, rank: int
) -> None:
    """Log-probabilities and values of a moved model, bit for bit, for every critic."""
    loaded = checkpoint.load_policy(stored(small_lm, tokenizer, tmp_path / "base"))
    model = ActorCritic(loaded.lm, critic, rank=rank)  # type: ignore[arg-type]
    shake(model)
    checkpoint.save(tmp_path / "run", model, tokenizer, loaded.base)
    again, _ = checkpoint.load(tmp_path / "run")
    before, after = model.eval()(*batch(), value=True), again(*batch(), value=True)
    assert torch.equal(before.logp, after.logp)
    assert torch.equal(before.value, after.value)
    assert before.value.abs().max() > 0


def test_lora_on_lora_starts_from_the_merged_model(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """After a LoRA SFT the reference (adapters off) is the SFT policy and not the raw base; a second checkpoint reloads too."""
    base = checkpoint.load_policy(stored(small_lm, tokenizer, tmp_path / "base"))
    sft = ActorCritic(base.lm, rank=4)
    shake(sft)
    checkpoint.save(tmp_path / "sft", sft, tokenizer, base.base)
    sft_logp = sft.eval()(*batch()).logp

    start = checkpoint.load_policy(tmp_path / "sft")
    model = ActorCritic(start.lm, "lora", reference=True, rank=4)
    shake(model)
    scores = model.eval()(*batch(), reference=True, value=True)
    torch.testing.assert_close(scores.ref_logp, sft_logp, atol=1e-5, rtol=0)
    checkpoint.save(tmp_path / "oreo", model, tokenizer, start.base)
    again, _ = checkpoint.load(tmp_path / "oreo")
    torch.testing.assert_close(again(*batch(), value=True).value, scores.value, atol=1e-6, rtol=0)
    merged = checkpoint.load_policy(tmp_path / "oreo")
    torch.testing.assert_close(ActorCritic(merged.lm).eval()(*batch()).logp, scores.logp, atol=1e-5, rtol=0)


def test_another_base_is_refused(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    loaded = checkpoint.load_policy(stored(small_lm, tokenizer, tmp_path / "base"))
    checkpoint.save(tmp_path / "run", ActorCritic(loaded.lm, "lora", rank=2), tokenizer, loaded.base)
    with torch.no_grad():
        small_lm.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    other = stored(small_lm, tokenizer, tmp_path / "other")
    with pytest.raises(ValueError, match="give the very base"):
        checkpoint.load(tmp_path / "run", base=str(other))


def test_another_version_is_refused(small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm), tokenizer, checkpoint.Base("x", "y"))
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"version": 9}))
    with pytest.raises(ValueError, match="version 9, this code reads version 1"):
        checkpoint.load_policy(tmp_path / "run")


@pytest.mark.parametrize("file", ["config.json", "policy/model.safetensors", "critic/model.safetensors", "value_head.safetensors"])
def test_a_file_that_was_cut_short_is_named(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, file: str
) -> None:
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm, "separate"), tokenizer, checkpoint.Base("x", "y"))
    broken = tmp_path / "run" / file
    broken.write_bytes(broken.read_bytes()[:30])
    with pytest.raises(ValueError, match=rf"run/{file.partition('/')[0]}.* cannot be read .*: it is broken or was cut short"):
        checkpoint.load(tmp_path / "run")


def test_a_kill_while_the_old_checkpoint_is_deleted_leaves_the_new_one(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm), tokenizer, checkpoint.Base("x", "y"), {"step": 1})

    def killed(path: Path, **how: bool) -> None:
        if path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "run", ActorCritic(small_lm), tokenizer, checkpoint.Base("x", "y"), {"step": 2})
    assert checkpoint.read_config(tmp_path / "run")["step"] == 2


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "none")


def test_saving_again_replaces_the_whole_folder(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm, "separate"), tokenizer, checkpoint.Base("x", "y"))
    assert (tmp_path / "run" / "critic").is_dir()
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm), tokenizer, checkpoint.Base("x", "y"))
    assert not (tmp_path / "run" / "critic").exists()
    assert not (tmp_path / "run.part").exists()


def test_what_is_no_checkpoint_is_left_alone(
    small_lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """An empty folder is nothing, a folder with anything else is somebody's."""
    (tmp_path / "run").mkdir()
    checkpoint.save(tmp_path / "run", ActorCritic(small_lm), tokenizer, checkpoint.Base("x", "y"))
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "data.jsonl").write_text("mine")
    with pytest.raises(FileExistsError, match="sft is there and is no checkpoint, so it is left alone"):
        checkpoint.save(tmp_path / "sft", ActorCritic(small_lm), tokenizer, checkpoint.Base("x", "y"))
    assert [(path.name, path.read_text()) for path in (tmp_path / "sft").iterdir()] == [("data.jsonl", "mine")]
