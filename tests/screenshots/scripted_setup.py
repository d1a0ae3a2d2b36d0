"""What the Setup page and its dialogs would hear from the engine, for pictures. Nothing is loaded or measured.

The shapes are those of SmolLM2-135M and of a common model of 7.6 B parameters, so counts and sizes are the real ones;
speeds, losses and the memory that is there are made up.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.config import RunConfig, write_config
from studio.engine.control import Progress
from studio.engine.inference.behaviour import Behaviour, Manner, Tried
from studio.engine.models.info import ModelInfo, TemplateOffer
from studio.engine.models.shapes import LinearShape, ModelShapes
from studio.engine.probe.recommend import judgement, recommend
from studio.events import RunEvent, RunFinished, RunStarted, StepCompleted
from studio.i18n import tr
from studio.runner.controller import Controller, Where
from studio.runner.laboratory import Experiment
from studio.runner.probe import ProbeResult, ProbeRow
from studio.runner.state import Update
from studio.runs import RunFolder, create_run
from tests.screenshots.scripted import START

GB = 1024**3
HIDDEN, MLP, KEYS, LAYERS, VOCABULARY = 576, 1536, 192, 30, 49152


def smollm2(path: str = "/models/SmolLM2-135M-Instruct") -> ModelInfo:
    """SmolLM2-135M-Instruct as its files describe it."""
    tensors = dict(_tensors(VOCABULARY, HIDDEN, MLP, KEYS, LAYERS))
    shapes = ModelShapes(
        tensors=tensors,
        linear_layers=tuple(
            LinearShape(name.removesuffix(".weight"), inputs=shape[1], outputs=shape[0])
            for name, shape in tensors.items()
            if len(shape) == 2 and ".layers." in name
        ),
        embedding=(VOCABULARY, HIDDEN),
        vocabulary_format="bf16",
        stored_bytes=2 * sum(map(math.prod, tensors.values())),
        tied_embeddings=True,
        config={
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": HIDDEN,
            "intermediate_size": MLP,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 8192,
        },
    )
    return ModelInfo(
        path=Path(path),
        kind="chat",
        reasons=(tr("It has a chat template."),),
        problems=(),
        architecture="LlamaForCausalLM",
        parameters=shapes.parameters,
        bytes=2 * shapes.parameters,
        dtype="bf16",
        context_length=8192,
        has_template=True,
        eos_token="<|im_end|>",
        shapes=shapes,
    )


def smollm2_base(path: str) -> ModelInfo:
    """The Base model of the same family: ChatML's tokens, and no template."""
    return dataclasses.replace(
        smollm2(path),
        kind="base",
        reasons=(
            tr("It has no chat template."),
            tr("Its tokenizer knows {tokens}, but no template uses them.").format(tokens="<|im_start|>"),
        ),
        has_template=False,
        eos_token="<|endoftext|>",
        offers=(TemplateOffer("chatml"), TemplateOffer("headings")),
    )


def tried_base() -> Behaviour:
    """A Base model that was tried: it never ends."""
    manners: tuple[Manner, ...] = ("plain", "plain", "text", "text")
    tried = [Tried(manner=manner, prompt="", text="", tokens=48, ended=False) for manner in manners]
    return Behaviour(tuple(tried), limit=48)


def write_big_model(folder: Path) -> Path:
    """Write a model of 7.6 B parameters in bf16 whose weights are a hole in a file; looking at it reads their shapes.

    Return the folder. It is a Qwen2 with a word embedding and an output layer of 152,064 tokens.
    """
    from tests.tiny import tokenizer

    vocabulary, hidden, mlp, keys, layers = 152_064, 3584, 18_944, 512, 28
    tensors = dict(_tensors(vocabulary, hidden, mlp, keys, layers, biases=True))
    tensors["lm_head.weight"] = (vocabulary, hidden)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": vocabulary,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": False,
        "eos_token_id": 2,
    }
    tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return folder


def _tensors(
    vocabulary: int, hidden: int, mlp: int, keys: int, layers: int, *, biases: bool = False
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for name, outputs in (("q", hidden), ("k", keys), ("v", keys), ("o", hidden)):
            yield f"{prefix}.self_attn.{name}_proj.weight", (outputs, hidden)
            if biases and name != "o":
                yield f"{prefix}.self_attn.{name}_proj.bias", (outputs,)
        for name in ("gate", "up"):
            yield f"{prefix}.mlp.{name}_proj.weight", (mlp, hidden)
        yield f"{prefix}.mlp.down_proj.weight", (hidden, mlp)
        for name in ("input", "post_attention"):
            yield f"{prefix}.{name}_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)


def probe_rows() -> tuple[ProbeRow, ...]:
    """Rows of a precision probe in most of the states that a row can have."""
    words = tr("Not finite in update {update}: the output of {module} (forward).")
    broken = words.format(update=2, module="model.layers.28.mlp.down_proj")
    return (
        _measured("fp32", 212.0, 3.1, cosine=1.0),
        _measured("bf16-mixed", 498.0, 2.3, difference=0.0004),
        _measured("fp16-mixed", 187.0, 2.3, difference=0.0006, lost=0.003, subnormal=0.021),
        _measured("bf16-pure", 512.0, 1.6, difference=0.012, cosine=0.9961, updates_lost=0.41),
        ProbeRow(precision="fp16-pure", status="not_finite", sentence=broken),
    )


def _measured(
    precision: str,
    speed: float,
    gigabytes: float,
    *,
    difference: float = 0.0,
    cosine: float = 0.9998,
    lost: float = 0.0,
    subnormal: float | None = None,
    updates_lost: float | None = None,
) -> ProbeRow:
    row = ProbeRow(
        precision=precision,
        status="measured",
        loss_differences=(0.0, difference / 2, difference),
        gradient_cosine=cosine,
        gradients_lost=lost,
        gradients_subnormal=subnormal,
        updates_lost=updates_lost,
        tokens_per_second=speed,
        peak_memory=round(gigabytes * GB),
    )
    return dataclasses.replace(row, sentence=judgement(row))


def probe_at_once(
    config: RunConfig, steps: int, progress: Progress, see: Callable[[ProbeRow], None], **_: Any
) -> ProbeResult:
    """A precision probe that has its answer ready."""
    rows = probe_rows()
    for row in rows:
        see(row)
    recommended, reason = recommend(rows)
    return ProbeResult(rows=rows, recommended=recommended, reason=reason, steps=steps)


class ScriptedRuns(Controller):
    """Trains what it is given within one look at it: a loss that falls to where it is told to, step by step."""

    def __init__(self, steps: int, offsets: list[float]) -> None:
        super().__init__()
        self._steps, self._offsets = steps, offsets
        self._updates: list[Update] = []

    @property
    def running(self) -> bool:
        return bool(self._updates)

    def start(self, config: RunConfig, root: Path, where: Where = "thread", *, launch: str = "") -> RunFolder:
        self.folder = create_run(root, config.precision.name, write_config(config))
        self._updates = list(_falling(config, self._steps, self._offsets.pop(0)))
        return self.folder

    def poll(self) -> list[Update]:
        updates, self._updates = self._updates, []
        return updates


def write_files(experiment: Experiment, folder: Path) -> list[Path]:
    """Write a configuration for each run of an experiment, for a model that is not there."""
    files = []
    for number, settings in enumerate(experiment.runs.values(), 1):
        tables = {"model": {"path": "/models/tiny"}, "data": {"sources": [{"path": "/data/rows.jsonl"}]}}
        files.append(folder / f"{experiment.name}-{number}.toml")
        config = RunConfig.model_validate(tables | {"precision": settings["precision"]})
        files[-1].write_text(write_config(config), encoding="utf-8")
    return files


def _falling(config: RunConfig, steps: int, offset: float) -> Iterator[RunEvent]:
    chance = random.Random(7)  # the same rows in every run, so the same noise
    common = {"epoch": 0.0, "learning_rate": 3e-3, "grad_norm": 1.0, "grad_scale": None, "skipped": False}
    counts = {"tokens": 900, "supervised_tokens": 900, "micro_batches": 1, "seconds": 0.1}
    yield RunStarted(
        time=START,
        run=config.precision.name,
        model="tiny",
        kind="base",
        method="lora",
        precision=config.precision.name,
        device="cpu",
        versions={},
    )
    for step in range(1, steps + 1):
        loss = 3.2 + 2.6 * math.exp(-step / 9) + chance.gauss(0, 0.05) + offset * step / steps
        yield StepCompleted(time=START + step, step=step, update=step, loss=loss, **common, **counts)  # type: ignore[arg-type]
    yield RunFinished(
        status="finished",
        step=steps,
        update=steps,
        trainable_parameters=30_000,
        total_parameters=70_000,
        adapter_bytes=120_000,
        peak_memory=300 * 2**20,
        seconds=4.0,
    )
