"""Looking at a model folder without loading it: from config.json, weight headers and tokenizer files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.engine.control import Progress, no_progress
from studio.engine.models.config_safety import sanitised
from studio.engine.models.files import read_json
from studio.engine.models.info import ModelInfo
from studio.engine.models.kind import tell_kind
from studio.engine.models.shapes import HIDDEN_SIZE, ModelShapes
from studio.engine.models.template import Trial, try_template
from studio.engine.models.tokenizer_files import TokenizerFiles, read_tokenizer
from studio.engine.models.weights import model_shapes, read_weights
from studio.errors import ModelError
from studio.i18n import tr

_CAUSAL = ("ForCausalLM", "LMHeadModel")
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")


def inspect_model(path: Path, progress: Progress = no_progress) -> ModelInfo:
    """Return what the files of a model folder say.

    Raises:
        ModelError: it is no model folder, not a causal language model, damaged, or unsafe.
        Cancelled: by `progress`.
    """
    progress("reading_model", 0, 3)
    source = read_config(path)
    architecture = _architecture(path, source)
    config = sanitised(source)
    weights = read_weights(path)
    shapes = model_shapes(weights, config)
    _check_agreement(path, shapes)
    progress("reading_model", 1, 3)
    tokenizer = read_tokenizer(path, config)
    _check_vocabulary(path, shapes, tokenizer)
    progress("reading_model", 2, 3)
    trial = try_template(tokenizer.template, tuple(tokenizer.special.items())) if tokenizer.template else None
    kind, reasons = tell_kind(_name(path, source), tokenizer, trial)
    progress("reading_model", 3, 3)
    return ModelInfo(
        path=path,
        kind=kind,
        reasons=reasons,
        problems=tuple(_problems(source, tokenizer, trial)),
        architecture=architecture,
        parameters=shapes.parameters,
        bytes=weights.bytes,
        dtype=weights.stored_dtype,
        context_length=shapes.setting(*CONTEXT_KEYS),
        has_template=trial is not None and not trial.problem,
        eos_token=tokenizer.special.get("eos_token"),
        shapes=shapes,
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json as it stands. Raises `ModelError` when the folder is not that of a whole model."""
    if not folder.is_dir():
        raise ModelError(tr("The model folder {folder} does not exist; choose another.").format(folder=folder))
    if (folder / "adapter_config.json").is_file():
        raise _adapter(folder)
    config = read_json(folder, "config.json")
    if config is not None:
        return config
    if any(folder.glob("*.gguf")):
        raise ModelError(
            tr(
                "{folder} holds a GGUF model, which cannot be trained; choose its original in safetensors format."
            ).format(folder=folder)
        )
    raise ModelError(tr("{folder} is not a model folder: it has no config.json.").format(folder=folder))


def _adapter(folder: Path) -> ModelError:
    base = (read_json(folder, "adapter_config.json") or {}).get("base_model_name_or_path")
    return ModelError(
        tr("{folder} is an adapter, not a whole model; choose the model it was trained on ({base}).").format(
            folder=folder, base=base or tr("not named")
        )
    )


def _architecture(folder: Path, config: dict[str, Any]) -> str:
    """Return the model class, one that transformers itself has. Listing transformers' names imports no torch."""
    import transformers

    names = config.get("architectures")
    architecture = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if not architecture.endswith(_CAUSAL) or config.get("is_encoder_decoder") is True:
        raise ModelError(
            tr("{folder} is not a causal language model ({architecture}); choose one that continues text.").format(
                folder=folder, architecture=architecture or config.get("model_type") or tr("no architecture is named")
            )
        )
    if architecture in dir(transformers):
        return architecture
    if "auto_map" in config:
        raise ModelError(
            tr(
                "The model in {folder} brings program code of its own, which is never run here; choose one that "
                "transformers supports by itself."
            ).format(folder=folder)
        )
    raise unknown_model(folder, architecture)


def unknown_model(folder: Path, name: str) -> ModelError:
    """Return the error for a model that this version of transformers does not have."""
    import transformers

    return ModelError(
        tr("{name} in {folder} is not known to transformers {version}; update Finetune Studio.").format(
            name=name, folder=folder, version=transformers.__version__
        )
    )


def _check_agreement(folder: Path, shapes: ModelShapes) -> None:
    """config.json and weights describe the same model: layers, vocabulary, hidden size."""
    rows, columns = shapes.embedding or (None, None)
    pairs = (
        (tr("layers"), shapes.setting("num_hidden_layers", "n_layer", "n_layers", "num_layers"), shapes.layers),
        (tr("tokens in the vocabulary"), shapes.setting("vocab_size"), rows),
        # OPT-350m looks its words up in 512 numbers and projects them to a hidden size of 1024.
        (tr("as hidden size"), shapes.setting("word_embed_proj_dim", *HIDDEN_SIZE), columns),
    )
    for what, declared, stored in pairs:
        if declared is not None and stored is not None and declared != stored:
            raise ModelError(
                tr(
                    "config.json and the weights in {folder} do not fit together: {declared} against {stored} {what}; "
                    "download the model again."
                ).format(folder=folder, declared=declared, stored=stored, what=what)
            )


def _check_vocabulary(folder: Path, shapes: ModelShapes, tokenizer: TokenizerFiles) -> None:
    rows = shapes.embedding[0] if shapes.embedding else None
    if rows is not None and tokenizer.largest_id is not None and tokenizer.largest_id >= rows:
        raise ModelError(
            tr(
                "The tokenizer in {folder} knows {tokens} tokens but the model only {rows}; take the tokenizer that "
                "belongs to the model."
            ).format(folder=folder, tokens=tokenizer.largest_id + 1, rows=rows)
        )


def _name(folder: Path, config: dict[str, Any]) -> str:
    """The name of the folder; in the hub's cache that is a hash, and the repository's name stands above it."""
    return folder.parents[1].name if folder.parent.name == "snapshots" else folder.name


def _problems(config: dict[str, Any], tokenizer: TokenizerFiles, trial: Trial | None) -> list[str]:
    problems = []
    if trial is not None and trial.problem:
        problems.append(
            tr("The chat template does not work ({reason}); the model can be trained as a Base model only.").format(
                reason=trial.problem
            )
        )
    if not tokenizer.stops:
        problems.append(tr("There is no token for the end of a text, so the model cannot learn to stop."))
    if "auto_map" in config:
        problems.append(tr("The model brings program code of its own; it is not run, transformers' own is used."))
    return problems
