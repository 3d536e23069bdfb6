"""Training steps by OREO here, by TRL's DPOTrainer, and by three full models with full logits, on the same sequences.

    python -m benchmarks.training MODEL --lengths 256 512 1024
    python -m benchmarks.training MODEL --lengths 512 --rank 16 --checkpointing full
    python -m benchmarks.training MODEL --lengths 512 --samples 2

The sequences are random tokens: a prompt, the first half, and a response; `--samples` responses follow each prompt. DPO takes them
in pairs, half of them preferred. All train the same policy weights in the same type, with AdamW; each takes its micro-batch whole.

    oreo            one pass over fresh rows: the reference is asked too; rows of a prompt together, critic on the policy's trunk
    oreo kept       all is kept for the gradient, whatever --checkpointing says
    oreo again      a later pass: what the reference said is on the disk
    separate        oreo with a critic of its own trunk, as in the paper
    trl             trl.DPOTrainer, its settings as they come but for type, batch and checkpointing (full or none)
    three models    policy, critic and reference as whole models on padded rows, logits of every token, the loss of OREO

Every measurement is a process of its own, in an order drawn anew in each round; the first step is not counted. Memory is the
largest resident set of the process. Tokens are those of the sequences, whoever computes how many of them.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from agents import checkpoint
from agents.checkpoint import Loaded
from agents.model import CriticKind, Recomputed, ValueHead
from algorithms import oreo
from algorithms.batch import Outputs, Row, collate, gather_decisions, row_mean
from algorithms.learner import Learner, Models
from algorithms.training import Training
from benchmarks.machine import machine
from rollouts.cli import run

Step = Callable[[], None]


def sequences(arguments: argparse.Namespace, vocabulary: int) -> list[Row]:
    """The rows of all steps, those of a prompt behind each other."""
    rng, found = random.Random(0), []
    half = arguments.length // 2
    for prompt in range((arguments.steps + 1) * arguments.batch // arguments.samples):
        beginning = [rng.randrange(vocabulary) for _ in range(half)]
        for sample in range(arguments.samples):
            tokens = (*beginning, *(rng.randrange(vocabulary) for _ in range(half)))
            won = sample % 2 == 0
            found.append(Row(tokens, (-1,) * half + (0,) * half, (float(won),), solved=won, task=str(prompt), seed=sample))
    return found


def ours(
    arguments: argparse.Namespace,
    loaded: Loaded,
    folder: Path,
    critic: CriticKind = "shared",
    epochs: int = 1,
    recomputed: Recomputed | None = None,
) -> Step:
    """The one training loop."""
    training = Training(
        batch=arguments.batch,
        by_task=arguments.samples,
        epochs=epochs,
        micro_tokens=arguments.batch * arguments.length,
        rank=arguments.rank,
        critic=critic,
        gradient_checkpointing=recomputed or arguments.checkpointing,
        tracker="none",
    )
    rows = sequences(arguments, loaded.lm.config.vocab_size)
    learner = Learner(oreo.METHOD, oreo.Config(), training, rows, Models(loaded), folder / "model")
    learner.prepare()
    setattr(learner, "_save_state", lambda: None)  # noqa: B010 (of so short a run every step would be saved)

    def step() -> None:
        learner.train_step()
        learner.step += 1

    return step


def trls(arguments: argparse.Namespace, loaded: Loaded, folder: Path) -> Step:
    """TRL's trainer runs by itself: its steps' seconds are taken from within, and handed out one by one."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    rows = sequences(arguments, loaded.lm.config.vocab_size)
    half = arguments.length // 2
    pairs = [
        {"prompt_ids": won.tokens[:half], "chosen_ids": won.tokens[half:], "rejected_ids": lost.tokens[half:]}
        for won, lost in zip(rows[::2], rows[1::2], strict=True)
    ]
    settings = DPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=arguments.batch // 2,
        max_steps=arguments.steps + 1,
        max_length=None,
        gradient_checkpointing=arguments.checkpointing == "full",
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
    )
    lora = LoraConfig(r=arguments.rank, lora_alpha=2 * arguments.rank, target_modules="all-linear", lora_dropout=0.0)
    tokenizer = loaded.tokenizer
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    text = Dataset.from_list([{"prompt": "1", "chosen": "2", "rejected": "3"}] * 2)
    reference = None if arguments.rank else copy.deepcopy(loaded.lm)
    lora = lora if arguments.rank else None
    trainer = DPOTrainer(loaded.lm, reference, settings, train_dataset=text, processing_class=tokenizer, peft_config=lora)
    trainer.train_dataset = Dataset.from_list(pairs)
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *given: Any, **named: Any) -> None:
            ends.append(time.perf_counter())

        def on_step_end(self, *given: Any, **named: Any) -> None:
            ends.append(time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    taken = iter([end - begin for begin, end in zip(ends[::2], ends[1::2], strict=True)])
    return lambda: Replayed.append(next(taken))


Replayed: list[float] = []
"""Seconds of steps that were taken before."""


def three_models(arguments: argparse.Namespace, loaded: Loaded, folder: Path) -> Step:
    """As released with the paper: no chunks, no packing, a critic and a reference of the policy's size."""
    policy: Any = loaded.lm
    reference, trunk = copy.deepcopy(policy).requires_grad_(False), copy.deepcopy(policy.base_model)
    head = ValueHead(policy.config.hidden_size)
    for model in (policy, reference, trunk):
        model.eval()
        if arguments.checkpointing == "full":
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
    optimizer = torch.optim.AdamW([*policy.parameters(), *trunk.parameters(), *head.parameters()], lr=5e-6, fused=True)
    rows = sequences(arguments, policy.config.vocab_size)
    batches = iter([rows[first : first + arguments.batch] for first in range(0, len(rows), arguments.batch)])
    config = oreo.Config()

    def step() -> None:
        batch = collate(next(batches), "token")
        logp = policy(batch.tokens, use_cache=False).logits.float().log_softmax(-1)[:, :-1]
        with torch.no_grad():
            ref = reference(batch.tokens, use_cache=False).logits.float().log_softmax(-1)[:, :-1]
        value = head(trunk(input_ids=batch.tokens, use_cache=False).last_hidden_state).gather(1, batch.start)
        kl = (logp.exp() * (logp - ref)).sum(-1)
        own = batch.decision[:, 1:] >= 0

        def said(of: Tensor) -> Tensor:
            return gather_decisions(of.gather(-1, batch.tokens[:, 1:, None])[..., 0][own], batch)

        outputs = Outputs(said(logp), said(ref), value * batch.mask, kl=row_mean(kl[own], batch))
        oreo.METHOD.loss(outputs, batch, config)[0].backward()
        torch.nn.utils.clip_grad_norm_([*policy.parameters()], 1.0)
        torch.nn.utils.clip_grad_norm_([*trunk.parameters(), *head.parameters()], 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


WAYS: dict[str, Callable[[argparse.Namespace, Loaded, Path], Step]] = {
    "oreo": ours,
    "oreo again": lambda arguments, loaded, folder: ours(arguments, loaded, folder, epochs=2),
    "oreo kept": lambda arguments, loaded, folder: ours(arguments, loaded, folder, recomputed="none"),
    "separate": lambda arguments, loaded, folder: ours(arguments, loaded, folder, critic="separate"),
    "trl": trls,
    "three models": three_models,
}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each step but the first, and the process's largest resident set in GiB."""
    loaded = checkpoint.load_policy(arguments.model)
    loaded.lm.float()
    with tempfile.TemporaryDirectory() as folder:
        step = WAYS[arguments.way](arguments, loaded, Path(folder))
        seconds = []
        for _ in range(arguments.steps + 1):
            began = time.perf_counter()
            step()
            seconds.append(Replayed.pop() if Replayed else time.perf_counter() - began)
    return {"seconds": seconds[1:], "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--lengths", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--samples", type=int, default=8, help="responses of each prompt")
    parser.add_argument("--batch", type=int, default=8, help="sequences of a step")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rank", type=int, default=0, help="LoRA's; 0 trains all weights")
    parser.add_argument("--checkpointing", default="none", choices=get_args(Recomputed))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    if arguments.batch % arguments.samples:
        raise ValueError(f"--batch {arguments.batch} is no multiple of --samples {arguments.samples}: a step holds whole prompts")
    if arguments.rank:  # these train whole models
        arguments.ways = [way for way in arguments.ways if way not in ("separate", "three models")]
    shared = ["--samples", "--batch", "--steps", "--rank", "--checkpointing"]
    given = [x for name in shared for x in (name, str(getattr(arguments, name[2:])))]
    print(f"{machine()}, {torch.get_num_threads()} threads, float32\n")
    print("| tokens | way | tokens a second, median (least to most) | times trl | memory, GiB | of trl's |")
    print("|---|---|---|---|---|---|")
    for length in arguments.lengths:
        speeds: dict[str, list[float]] = defaultdict(list)
        memory: dict[str, list[float]] = defaultdict(list)
        for _ in range(arguments.rounds):
            for way in random.sample(arguments.ways, len(arguments.ways)):
                command = [sys.executable, "-m", "benchmarks.training", arguments.model, "--way", way, "--length", str(length)]
                done = subprocess.run([*command, *given], capture_output=True, text=True)
                if done.returncode:
                    raise RuntimeError(f"{way}, {length} tokens: exit code {done.returncode}\n{done.stderr[-3000:]}")
                found = json.loads(done.stdout.splitlines()[-1])
                speeds[way] += [arguments.batch * length / seconds for seconds in found["seconds"]]
                memory[way].append(found["memory"])
        for way in arguments.ways:
            middle, most = statistics.median(speeds[way]), statistics.median(memory[way])
            ratio = f"{middle / statistics.median(speeds['trl']):.2f}" if "trl" in speeds else "-"
            share = f"{most / statistics.median(memory['trl']):.2f}" if "trl" in memory else "-"
            spread = f"{middle:.0f} ({min(speeds[way]):.0f} to {max(speeds[way]):.0f})"
            print(f"| {length} | {way} | {spread} | {ratio} | {most:.2f} | {share} |", flush=True)


if __name__ == "__main__":
    run(main)
