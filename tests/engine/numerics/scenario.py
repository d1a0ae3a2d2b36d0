"""A run on a tiny model, from files on disk to its verdicts, as `test_scenarios` makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from studio.config import parse_config, write_config
from studio.engine.control import Control
from studio.engine.training import run
from studio.errors import StudioError
from studio.events import (
    EvaluationCompleted,
    NumericsSampled,
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    StepCompleted,
)
from studio.runs import create_run
from tests.tiny import tokenizer

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "knoll", "larch"]
DEFAULTS: dict[str, dict[str, Any]] = {
    "data": {"validation_fraction": 0.0},
    "precision": {"name": "fp16-mixed"},
    "training": {"batch_size": 6, "max_steps": 16, "learning_rate": 3e-3, "device": "cpu", "seed": 3},
}
LORA = {"name": "lora", "rank": 6, "alpha": 32, "dropout": 0.0}


def llama(*, seed: int = 7, **settings: Any) -> LlamaForCausalLM:
    """Three layers, not tied, with 2 queries to a key."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 48, "intermediate_size": 112, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 3, "max_position_embeddings": 128}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
    return LlamaForCausalLM(LlamaConfig(vocab_size=272, **shape | heads | ends | settings))


def gpt2(*, seed: int = 11, **settings: Any) -> GPT2LMHeadModel:
    """Three layers of 40."""
    torch.manual_seed(seed)
    shape = {"vocab_size": 264, "n_embd": 40, "n_layer": 3, "n_head": 5, "n_positions": 160}
    return GPT2LMHeadModel(GPT2Config(bos_token_id=1, eos_token_id=2, **shape | settings))


class Scenario:
    """One run: `verdicts` are the classes it was diagnosed with, `error` why it gave up, if it did."""

    def __init__(self, folder: Path, model: PreTrainedModel, *, rows: int = 18, **sections: dict[str, Any]) -> None:
        self._folder = folder
        self._model = model
        self._rows = reversals(rows)
        self._sections = sections
        self.error = ""
        self.steps: list[StepCompleted] = []
        self.validated: list[EvaluationCompleted] = []
        self.diagnosed: list[OverflowDiagnosed] = []
        self.samples: dict[int, NumericsSampled] = {}

    @property
    def verdicts(self) -> list[str]:
        return [event.verdict for event in self.diagnosed]

    def write_row(self, prompt: str, completion: str) -> None:
        """Add a row to the data."""
        self._rows.append({"prompt": prompt, "completion": completion})

    def break_token(self, token: str) -> None:
        """Give a token an embedding whose square is beyond fp32."""
        (number,) = tokenizer()(token)["input_ids"]
        with torch.no_grad():
            self._model.get_input_embeddings().weight[number] = 1e30

    def train(self, control: Control | None = None, **options: Any) -> Self:
        """Train for real, with nobody watching unless there is a `control`, and one micro-batch to an update."""
        model, data = self._folder / "model", self._folder / "rows.jsonl"
        self._model.save_pretrained(model)
        tokenizer().save_pretrained(model)
        data.write_text("".join(json.dumps(row) + "\n" for row in self._rows), encoding="utf-8")
        tables = {name: values | self._sections.get(name, {}) for name, values in DEFAULTS.items()}
        tables |= {"model": {"path": str(model)}, "method": self._sections.get("method", LORA)}
        tables["data"]["sources"] = [{"path": str(data)}]
        tables["numerics"] = self._sections.get("numerics", {})
        config = parse_config(tables)
        self.folder = create_run(self._folder, "run", write_config(config))
        try:
            run.train(config, self.folder, control or Control(), self._emit, **{"token_budget": 4096} | options)
        except StudioError as error:
            self.error = str(error)
        return self

    def _emit(self, event: RunEvent | ProgressReported) -> None:
        if isinstance(event, StepCompleted):
            self.steps.append(event)
        elif isinstance(event, EvaluationCompleted):
            self.validated.append(event)
        elif isinstance(event, OverflowDiagnosed):
            self.diagnosed.append(event)
        elif isinstance(event, NumericsSampled):
            self.samples[event.step] = event


def reversals(count: int) -> list[dict[str, str]]:
    """Rows that ask for words in reverse order."""
    generator = torch.Generator().manual_seed(5)

    def draw(low: int, high: int, many: int) -> list[int]:
        return torch.randint(low, high, (many,), generator=generator).tolist()

    picked = [[WORDS[k] for k in draw(0, len(WORDS), draw(2, 7, 1)[0])] for _ in range(count)]
    return [{"prompt": "Reverse: " + " ".join(p), "completion": " ".join(reversed(p)) + "."} for p in picked]
