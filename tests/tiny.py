"""Tiny seeded models and rows, for tests that need the mathematics and not the knowledge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from studio.config import parse_config
from studio.engine.data import batching
from studio.engine.data.batching import IGNORED, MicroBatch
from studio.engine.precision import PRECISIONS
from studio.engine.training.loss import SupervisedLoss
from studio.engine.training.model import make_trainable
from studio.engine.training.trainer import Attempt, StepObserver, Trainer

VOCABULARY = 300
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """A tokenised row, as the data room gives it."""

    input_ids: list[int]
    labels: list[int]
    source: str = "rows.jsonl"
    number: int = 1


def llama(*, tied: bool = True, seed: int = 0, width: int = 32) -> PreTrainedModel:
    """Two layers of Llama with grouped-query attention, about 40,000 parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).eval()


def gpt2(*, seed: int = 0) -> PreTrainedModel:
    """Two layers of GPT-2, whose linear layers are transposed (Conv1D)."""
    torch.manual_seed(seed)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128)
    return GPT2LMHeadModel(config).eval()


def rows(count: int = 8, *, seed: int = 0, longest: int = 40) -> list[Row]:
    """Random rows of uneven length with an unsupervised prompt of uneven length."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    made = []
    for number in range(1, count + 1):
        length = draw(4, longest)
        prompt = draw(1, length - 1)
        ids = torch.randint(0, VOCABULARY, (length,), generator=generator).tolist()
        made.append(Row(ids, [IGNORED] * prompt + ids[prompt:], number=number))
    return made


def micro_batches(chosen: Sequence[Row], token_budget: int = 10_000) -> list[MicroBatch]:
    """The rows of one update as micro-batches."""
    return batching.micro_batches(chosen, token_budget, 0)  # type: ignore[arg-type]


@dataclass
class Bench:
    """A tiny model ready for updates."""

    trainer: Trainer
    attempts: int = 0

    @property
    def base(self) -> PreTrainedModel:
        return self.trainer.model.base

    @property
    def model(self) -> nn.Module:
        return self.trainer.model.model

    @property
    def loss(self) -> SupervisedLoss:
        return self.trainer.model.loss

    @property
    def parameters(self) -> list[nn.Parameter]:
        return self.trainer.model.parameters

    def update(
        self,
        chosen: Sequence[Row],
        *,
        rate: float = 1e-2,
        token_budget: int = 10_000,
        observer: StepObserver | None = None,
    ) -> Attempt:
        """One attempted update on these rows; the gradients stay in `.grad`, unscaled and clipped."""
        self.trainer.token_budget = token_budget
        self.attempts += 1
        return self.trainer.attempt(
            chosen,  # type: ignore[arg-type]
            step=self.attempts,
            learning_rate=rate,
            observer=observer,
        )


def bench(
    method: dict[str, object] | None = None,
    precision: dict[str, object] | None = None,
    *,
    base: PreTrainedModel | None = None,
    max_grad_norm: float = 1.0,
    weight_decay: float = 0.0,
    device: torch.device = CPU,
    recompute: bool = False,
    optimizer: str = "adamw",
) -> Bench:
    """Attach a method to a tiny model as a run does, dropout off unless asked for."""
    config = parse_config(
        {
            "model": {"path": "model"},
            "data": {"sources": [{"path": "rows.jsonl"}]},
            "method": method or {"name": "lora", "rank": 4, "alpha": 32, "dropout": 0.0},
            "precision": {"name": "fp32"} | (precision or {}),
            "training": {"max_grad_norm": max_grad_norm, "weight_decay": weight_decay, "optimizer": optimizer},
        }
    )
    chosen = PRECISIONS.get(config.precision.name)
    base = base or llama()
    torch.manual_seed(1)
    model = make_trainable(base, config, chosen, device, recompute=recompute)
    return Bench(Trainer(config, model, chosen, token_budget=10_000))


CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(merges: Sequence[tuple[str, str]] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with ChatML's special tokens: 259 ids, nothing lost, and one id more for each merge."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*specials, *alphabet, *map("".join, merges)])}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    plain.add_special_tokens(specials)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token="<|im_start|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_model(folder: Path, *, seed: int = 0, width: int = 32, merges: Sequence[tuple[str, str]] = ()) -> Path:
    """A tiny Chat model as an ordinary folder; return the folder. A GGUF file of it needs a merge of its tokenizer."""
    model = llama(seed=seed, width=width)
    model.config.eos_token_id = 2
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    tokenizer(merges).save_pretrained(folder)
    return folder


def save_rows(path: Path, count: int = 20) -> Path:
    """Small sums as a messages file; return the file."""
    lines = []
    for number in range(count):
        asked, answer = f"What is {number} plus {number}?", f"It is {2 * number}."
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
