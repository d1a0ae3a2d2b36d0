"""Looking at a model folder without loading it: from config.json, weight headers and tokenizer files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.engine.control import Progress, no_progress
from studio.engine.models.config import architecture, load_config, read_config, sanitised
from studio.engine.models.files import model_name
from studio.engine.models.info import ModelInfo
from studio.engine.models.kind import tell_kind
from studio.engine.models.shapes import HIDDEN_SIZE, ModelShapes, count_layers, is_word_embedding
from studio.engine.models.template import Trial, try_template
from studio.engine.models.template_offers import offer_templates
from studio.engine.models.tokenizer_files import TokenizerFiles, read_tokenizer
from studio.engine.models.weights import Weights, read_weights
from studio.errors import ModelError
from studio.i18n import tr

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")


def inspect_model(path: Path, progress: Progress = no_progress) -> ModelInfo:
    """Return what the files of a model folder say.

    Raises:
        ModelError: it is no model folder, not a causal language model, damaged, or unsafe.
        Cancelled: by `progress`.
    """
    progress("reading_model", 0, 3)
    source = read_config(path)
    name = architecture(path, source)
    weights = read_weights(path)
    _check_agreement(path, source, weights)
    # torch and transformers are imported for the model without weights alone.
    from studio.engine.models.structure import empty_model, model_shapes

    skeleton = empty_model(path, load_config(path))
    embedding: Any = skeleton.get_input_embeddings()
    vocabulary = weights.format_of(tuple(embedding.weight.shape))
    shapes = model_shapes(skeleton, sanitised(source), weights.bytes, vocabulary)
    progress("reading_model", 1, 3)
    tokenizer = read_tokenizer(path, shapes.config)
    _check_vocabulary(path, shapes, tokenizer)
    progress("reading_model", 2, 3)
    trial = try_template(tokenizer.template, tuple(tokenizer.special.items())) if tokenizer.template else None
    kind, reasons = tell_kind(model_name(path).rpartition("/")[2], tokenizer, trial)
    progress("reading_model", 3, 3)
    return ModelInfo(
        path=path,
        kind=kind,
        reasons=reasons,
        problems=tuple(_problems(source, tokenizer, trial)),
        architecture=name,
        parameters=shapes.parameters,
        bytes=weights.bytes,
        dtype=weights.stored_dtype,
        context_length=shapes.setting(*CONTEXT_KEYS),
        has_template=trial is not None and not trial.problem,
        eos_token=tokenizer.special.get("eos_token"),
        shapes=shapes,
        offers=offer_templates(tokenizer, weights),
        skeleton=skeleton,
    )


def _check_agreement(folder: Path, config: dict[str, Any], weights: Weights) -> None:
    """config.json describes the model that the files hold, and none that would take ages to build."""
    text = config.get("text_config")
    settings = config | (text if isinstance(text, dict) else {})
    tables = (tensor.shape for name, tensor in weights.tensors.items() if is_word_embedding(name))
    rows, columns = next((shape for shape in tables if len(shape) == 2), (None, None))
    layers = _setting(settings, *_LAYERS)
    stored = count_layers(weights.tensors)
    if text is not None and layers is not None and layers <= len(weights.tensors):
        stored = layers  # the other parts have layers as well
    pairs = (
        (tr("layers"), layers, stored),
        (tr("tokens in the vocabulary"), _setting(settings, "vocab_size"), rows),
        (tr("as hidden size"), _setting(settings, "word_embed_proj_dim", *HIDDEN_SIZE), columns),
    )
    for what, declared, found in pairs:
        if declared is not None and found is not None and declared != found:
            raise ModelError(
                tr(
                    "config.json and the weights in {folder} do not fit together: {declared} against {stored} {what}; "
                    "download the model again."
                ).format(folder=folder, declared=declared, stored=found, what=what)
            )


def _setting(config: dict[str, Any], *names: str) -> int | None:
    return next((value for name in names if type(value := config.get(name)) is int), None)


def _check_vocabulary(folder: Path, shapes: ModelShapes, tokenizer: TokenizerFiles) -> None:
    rows = shapes.embedding[0]
    if tokenizer.largest_id is not None and tokenizer.largest_id >= rows:
        raise ModelError(
            tr(
                "The tokenizer in {folder} knows {tokens} tokens but the model only {rows}; take the tokenizer that "
                "belongs to the model."
            ).format(folder=folder, tokens=tokenizer.largest_id + 1, rows=rows)
        )


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
