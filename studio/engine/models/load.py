"""Loading a model and its tokenizer from a local folder: no network, no code of strangers, no silent repair.

transformers fills missing weights with random numbers, takes weights that are not numbers, and allocates before
it compares shapes; all that is checked here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from studio.config.model import ShippedTemplate
from studio.engine.control import Progress, no_progress
from studio.engine.dtypes import BYTES, torch_dtype
from studio.engine.kernels.widen import stay
from studio.engine.models.chat_templates import install_template
from studio.engine.models.config import load_config
from studio.engine.models.files import member, one_line, read_json
from studio.engine.models.fill import fill_model, misfit
from studio.engine.models.placement import Placement
from studio.engine.models.shapes import is_word_embedding
from studio.engine.models.storage import Storage
from studio.engine.models.structure import empty_model, linear_layers
from studio.engine.models.tokenizer_files import TOKENIZER, end_ids, read_template
from studio.engine.models.weights import Weights, read_weights
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CPU = torch.device("cpu")
# Bytes that loading needs for each number of the largest tensor, beside what stays: as it is read, before it is put
# into its format. What is quantised is so in pieces.
_IN_WORK = 2
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def load_tokenizer(path: Path, chat_template: ShippedTemplate = "") -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model folder. One without a padding token pads with its end-of-text token.

    tokenizer.json is taken as it stands: the class that tokenizer_config.json names may rebuild it otherwise,
    and then splits digits in another way than the model was trained with.

    Args:
        chat_template: the template to install in place of the model's own, as `[model]` names it.

    Raises:
        ModelError: the files are missing or damaged, need program code of their own, or lack the template's tokens.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        if member(path, TOKENIZER):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(path, **_LOCAL)
        else:
            tokenizer = AutoTokenizer.from_pretrained(path, config=load_config(path), **_LOCAL)
    except ModelError:
        raise
    except Exception as error:  # each tokenizer class raises what it likes; the files are at fault
        raise ModelError(
            tr("The tokenizer in {folder} cannot be loaded ({reason}); download the model again.").format(
                folder=path, reason=one_line(error)
            )
        ) from error
    _add_what_other_files_say(path, tokenizer)
    # Padding is masked by position, so sharing the token does not keep the model from learning to stop.
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if chat_template:
        install_template(tokenizer, chat_template)
    loaded: PreTrainedTokenizerBase = tokenizer
    return loaded


def _add_what_other_files_say(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer the end token that only the configurations name, and the template of a processor."""
    from tokenizers import AddedToken

    if tokenizer.eos_token is None:
        known = (number for number in end_ids(path, read_json(path, "config.json") or {}) if number < len(tokenizer))
        if (number := next(known, None)) is not None:
            token = str(tokenizer.convert_ids_to_tokens(number))
            tokenizer.add_special_tokens({"eos_token": AddedToken(token, normalized=False, special=True)})
    if not tokenizer.chat_template:
        tokenizer.chat_template = read_template(path)


def load_model(
    path: Path,
    dtype: str = "fp32",
    progress: Progress = no_progress,
    *,
    storage: Storage | None = None,
    device: torch.device = _CPU,
    words_on_host: bool = False,
    cards: Sequence[int] = (),
) -> PreTrainedModel:
    """Load a causal language model, in evaluation mode.

    Each tensor is read, looked through for values that are not numbers, and put into its format where it stays,
    before the next one is read. So no memory is taken beside the model but that of a few tensors.

    Args:
        path: a model folder.
        dtype: fp32, fp16 or bf16, for all weights; without a `storage`.
        progress: stage `loading_model`, in bytes of the files.
        storage: the format of each weight.
        device: where the weights stay.
        words_on_host: whether embeddings that are only looked up stay on the processor (`kernels.widen`).
        cards: the number of the GPU that each layer stays on; empty where all stay on `device` (`models.placement`).

    Raises:
        ModelError: weights are damaged, missing, of the wrong shape or not numbers, or memory is short.
        Cancelled: by `progress`.
    """
    weights = read_weights(path)
    model = empty_model(path, load_config(path))
    _check_shapes(path, model, weights)
    formats = (
        dict.fromkeys(dict(model.named_parameters()), dtype) if storage is None else _formats(model, weights, storage)
    )
    staying = _looked_up(model, storage) if storage and words_on_host else {}
    placement = Placement(model, device, cards)
    if not cards:  # else the plan has looked at each card
        _check_memory(path, model, {name: kept for name, kept in formats.items() if name not in staying}, device)
    places = {"": device} | placement.of_parameters(model) | dict.fromkeys(staying, _CPU)
    fill_model(model, weights, formats, torch_dtype(storage.products if storage else dtype), places, progress)
    for module in staying.values():
        stay(module)
    _keep_scale(model)
    loaded: Any = model
    if model.can_generate():
        loaded.adjust_generation_fn(  # reads generation_config.json
            None, True, False, path, cache_dir=None, force_download=False, proxies=None, token=None, revision=None,
            subfolder="", **_LOCAL,
        )  # fmt: skip
    placement.settle(loaded).eval()
    placement.connect()
    return model


def _keep_scale(model: PreTrainedModel) -> None:
    """Keep RWKV from halving its weights in place for inference, against overflow in fp16, and doubling them to train.

    It scales the residual stream alike, so answers stay the same. Rounded weights cannot be scaled so, and merged ones
    would be saved halved.
    """
    for module in model.modules():
        if hasattr(module, "_rescale_layers"):
            setattr(module, "_rescale_layers", _do_nothing)  # noqa: B010


def _do_nothing() -> None:
    """What a model does instead of scaling its layers."""


def _check_shapes(path: Path, empty: PreTrainedModel, weights: Weights) -> None:
    """Compare the shapes that config.json asks for with those in the files, before any memory is taken."""
    prefix = f"{empty.base_model_prefix}."
    for name, expected in empty.state_dict().items():
        stored = weights.tensors.get(name) or weights.tensors.get(name.removeprefix(prefix))
        if stored is not None and stored.shape != tuple(expected.shape):
            raise misfit(path, name, expected.shape, stored.shape)


def _formats(model: PreTrainedModel, weights: Weights, storage: Storage) -> dict[str, str]:
    """Return the format of every parameter by its name."""
    output = model.get_output_embeddings()
    words = type(model.get_input_embeddings())
    layers = {layer.name for layer in linear_layers(model)}
    formats = {}
    for path, module in model.named_modules():
        vocabulary = module is output or type(module) in (nn.Embedding, words)
        linear = path in layers
        for leaf, parameter in module.named_parameters(recurse=False):
            name, shape = f"{path}.{leaf}".removeprefix("."), tuple(parameter.shape)
            if isinstance(module, _ConvNd):
                formats[name] = storage.rest
            else:
                stored = weights.format_of(shape)
                weight = leaf == "weight"
                formats[name] = storage.format(
                    name, shape, stored, linear=linear and weight, vocabulary=vocabulary and weight
                )
    return formats


def _looked_up(model: PreTrainedModel, storage: Storage) -> dict[str, nn.Module]:
    """Return the frozen embeddings of words that are no output layer at the same time, by their weights' names."""
    words, output = type(model.get_input_embeddings()), model.get_output_embeddings()
    weights = {
        f"{name}.weight": module for name, module in model.named_modules() if type(module) in (nn.Embedding, words)
    }
    return {
        name: module
        for name, module in weights.items()
        if is_word_embedding(name)
        and not storage.trained(name)
        and (output is None or module.weight is not output.weight)
    }


def _check_memory(path: Path, empty: PreTrainedModel, formats: dict[str, str], device: torch.device) -> None:
    """Refuse a model that does not fit into what is free on its device, beside a few copies of its largest tensor."""
    sizes = {name: parameter.numel() for name, parameter in empty.named_parameters() if name in formats}
    needed = sum(size * BYTES[formats[name]] for name, size in sizes.items()) + _IN_WORK * max(sizes.values())
    available = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed > available:
        raise ModelError(
            tr(
                "The model in {folder} takes {needed:.1f} GB of memory but {available:.1f} GB are free; "
                "close other programs or choose a smaller model."
            ).format(folder=path, needed=needed / 1e9, available=available / 1e9)
        )
