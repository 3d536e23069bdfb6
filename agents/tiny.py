"""The `tiny` preset: a Llama of a few million parameters with random weights, and a tokenizer trained on the task's own text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END, PAD, USER, AGENT = "<|end|>", "<|pad|>", "<|user|>", "<|agent|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}{{ '<|agent|>' + message.content + '<|end|>' }}"
    "{% else %}{{ '<|user|>' + message.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|agent|>' }}{% endif %}"
)
# Digits apart (arithmetic is learnt by column), line breaks apart (they end steps), words and signs with the space before them.
_SPLIT = Regex(r"\n|[^\S\n]?\d|[^\S\n]?\p{L}+|[^\S\n]?[^\s\d\p{L}]+|[^\S\n]+")


@dataclass(frozen=True)
class TinyConfig:
    """The size of the model from scratch."""

    width: int = 192
    """hidden size"""
    layers: int = 4
    """transformer layers"""
    heads: int = 6
    """attention heads"""
    vocab: int = 1024
    """most tokens that the tokenizer may learn"""
    context: int = 4096
    """most tokens of an episode"""
    init: float = 0.02
    """standard deviation of the weights at the start"""

    def __post_init__(self) -> None:
        """Raises ValueError where the width is not shared out among the heads."""
        if min(self.width, self.layers, self.heads) < 1 or self.width % (2 * self.heads):
            raise ValueError(f"{self}: wanted at least 1 of each, and a width that is a multiple of twice the heads")


def train_tokenizer(texts: Iterable[str], vocab: int = TinyConfig.vocab) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocab` ids trained on `texts`; any Unicode text survives it, digits stay apart.

    Raises:
        ValueError: `vocab` has no room for the 256 bytes and the special tokens.
    """
    specials = [PAD, END, USER, AGENT]
    if vocab < 256 + len(specials):
        raise ValueError(f"vocab={vocab} is too small: the 256 bytes and {len(specials)} special tokens need {256 + len(specials)}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [pre_tokenizers.Split(_SPLIT, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, AGENT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def build(tokenizer: PreTrainedTokenizerFast, config: TinyConfig = TinyConfig(), seed: int = 0) -> LlamaForCausalLM:
    """A Llama with random weights drawn from `seed`, for this tokenizer (the global generator is left as it was)."""
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.width * 8 // 3 // 32 * 32,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=config.context,
        initializer_range=config.init,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.get_vocab()[END],
        pad_token_id=tokenizer.get_vocab()[PAD],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(llama)
