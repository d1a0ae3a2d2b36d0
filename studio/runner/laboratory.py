"""The overflow laboratory: experiments that show each failure of the numerics on purpose, on a tiny model.

An experiment is a file in `resources/presets/laboratory`: words, the model to make, and the settings of one run or of
several that are compared. `prepare` writes ordinary configuration files for `train` and for the window.

The tiny model is made from a seed, without a download. The norms of a transformer undo the size of the numbers that
flow between its layers. So the weights can make these numbers large without changing what the model computes in fp32.
In fp16 what the layers write then overflows, and the gradients between the layers, as much smaller, underflow.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config import parse_config, write_config
from studio.engine.control import Progress, no_progress
from studio.engine.disk import why_not_written
from studio.errors import ConfigError, ModelError
from studio.i18n import language, tr
from studio.paths import home, resource
from studio.runs import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Settings of all experiments: short rows of real text, learnt whole, so that every update has many gradients.
ROWS = ("samples", "fine-tuning-en.jsonl")
COMMON: dict[str, dict[str, Any]] = {
    "data": {"validation_fraction": 0.0, "max_length": 96, "train_on": "all"},
    "method": {"name": "lora", "rank": 8, "alpha": 16},
    "precision": {},
    "training": {"batch_size": 16, "schedule": "constant", "device": "cpu"},
    "numerics": {},
}
SEED = 0
# Wide enough to learn letters and short words within 32 updates, small enough for a second or two an experiment.
SHAPE: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "tie_word_embeddings": False,
}
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def laboratory_folder() -> Path:
    """Return where models and configurations of the laboratory are kept; it need not exist yet."""
    return home() / "laboratory"


@dataclass(frozen=True)
class Experiment:
    """One experiment, its words in the language of the session.

    Attributes:
        explanation: what happens and why; `look_at`: where it can be seen.
        verdict: the verdict that it ends with, empty where nothing goes wrong.
        stream: what the numbers between the model's layers are multiplied by.
        runs: settings of each run, by their title.
    """

    name: str
    title: str
    explanation: str
    look_at: str
    verdict: str
    stream: float
    runs: Mapping[str, Mapping[str, Any]]

    @property
    def compares(self) -> bool:
        """Whether it has several runs, whose curves are drawn over one another."""
        return len(self.runs) > 1


def experiments() -> tuple[Experiment, ...]:
    """Return all experiments, in the order in which to try them."""
    files = resource("presets", "laboratory").glob("*.toml")
    presets = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in files}
    return tuple(_read(name, presets[name]) for name in sorted(presets, key=lambda name: presets[name]["order"]))


def experiment(name: str) -> Experiment:
    """Return one experiment. Raises `ConfigError` when there is none of this name."""
    known = {found.name: found for found in experiments()}
    if name not in known:
        words = tr("There is no experiment {name}; there are: {known}.")
        raise ConfigError(words.format(name=name, known=tr(", ").join(known)))
    return known[name]


def prepare(chosen: Experiment, progress: Progress = no_progress) -> list[Path]:
    """Make the model, and a configuration file for each run; return the files, in order.

    Raises:
        ModelError: they cannot be written into the user's data folder.
    """
    progress("starting", 0, 0)
    try:
        model = make_model(chosen.stream)
        return [
            _write(laboratory_folder() / f"{chosen.name}-{number}.toml", model, settings)
            for number, settings in enumerate(chosen.runs.values(), 1)
        ]
    except Exception as error:
        reason = why_not_written(error)
        if not reason:
            raise
        words = tr("The laboratory cannot be set up in {folder}: {reason}.")
        raise ModelError(words.format(folder=laboratory_folder(), reason=reason)) from error


def _write(path: Path, model: Path, settings: Mapping[str, Any]) -> Path:
    tables = {section: values | settings.get(section, {}) for section, values in COMMON.items()}
    tables["method"] = settings.get("method", COMMON["method"])
    tables["model"] = {"path": str(model)}
    tables["data"]["sources"] = [{"path": str(resource(*ROWS))}]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, write_config(parse_config(tables)))
    return path


def _read(name: str, preset: Mapping[str, Any]) -> Experiment:
    words = preset["words"].get(language(), preset["words"]["en"])
    runs = {run["title"]: {key: value for key, value in run.items() if key != "title"} for run in preset["runs"]}
    return Experiment(name=name, verdict=preset["verdict"], stream=float(preset["stream"]), runs=runs, **words)


def make_model(stream: float) -> Path:
    """Return the folder of the tiny model, made if it is not there.

    Args:
        stream: how many times as large as usual the numbers between the layers are.
    """
    from studio.engine.models.quiet import quiet_transformers

    folder = laboratory_folder() / f"tiny-{stream:g}"
    if folder.is_dir():
        return folder
    half_made = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(half_made, ignore_errors=True)
    with quiet_transformers():
        _model(stream).save_pretrained(half_made)
    _tokenizer().save_pretrained(half_made)
    if folder.is_dir():  # made by another process meanwhile, from the same seed
        shutil.rmtree(half_made)
    else:
        half_made.rename(folder)
    return folder


def _model(stream: float) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        model = LlamaForCausalLM(LlamaConfig(bos_token_id=0, eos_token_id=2, pad_token_id=0, **SHAPE))
        model.model.embed_tokens.weight.mul_(stream)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(stream)
            layer.mlp.down_proj.weight.mul_(stream)
    return model


def _tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and ChatML's special tokens: 259 ids, no merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bytewise = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    bytewise.add_special_tokens(list(SPECIALS))
    end, start, stop = SPECIALS
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, bos_token=end, eos_token=stop, pad_token=end)
    tokenizer.add_special_tokens({"extra_special_tokens": [start]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
