"""Loading a model and its tokenizer from a local folder: no network, no code of strangers, no silent repair.

transformers fills missing weights with random numbers, takes weights that are not numbers, and allocates before
it compares shapes; all that is checked here first.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from studio.engine.control import Progress, no_progress
from studio.engine.dtypes import torch_dtype
from studio.engine.models.config_safety import sanitised
from studio.engine.models.files import damaged, member
from studio.engine.models.inspect import read_config, unknown_model
from studio.engine.models.quiet import quiet_transformers
from studio.engine.models.tokenizer_files import TOKENIZER
from studio.engine.models.weights import Weights, read_weights
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_CHUNK = 1 << 24  # numbers looked at together; bounds the memory of the scan
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model folder. One without a padding token pads with its end-of-text token.

    tokenizer.json is taken as it stands: the class that tokenizer_config.json names may rebuild it otherwise,
    and then splits digits in another way than the model was trained with.

    Raises:
        ModelError: the files are missing or damaged, or need program code of their own.
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
                folder=path, reason=_one_line(error)
            )
        ) from error
    # Padding is masked by position, so sharing the token does not keep the model from learning to stop.
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    loaded: PreTrainedTokenizerBase = tokenizer
    return loaded


def load_model(path: Path, dtype: str = "fp32", progress: Progress = no_progress) -> PreTrainedModel:
    """Load a causal language model onto the CPU, in evaluation mode.

    Args:
        path: a model folder.
        dtype: fp32, fp16 or bf16.
        progress: stages `checking_model`, in bytes, and `loading_model`.

    Raises:
        ModelError: weights are damaged, missing, of the wrong shape or not numbers, or memory is short.
        Cancelled: by `progress`.
    """
    weights = read_weights(path)
    config = load_config(path)
    empty = _empty_model(path, config)
    _check_shapes(path, empty, weights)
    _check_memory(path, empty, torch_dtype(dtype))
    _check_finite(weights, progress)
    progress("loading_model", 0, 1)
    model = _load(path, config, empty, torch_dtype(dtype))
    progress("loading_model", 1, 1)
    return model


def load_config(path: Path) -> PretrainedConfig:
    """Return config.json as transformers' own class, without what would load or run something else.

    Raises:
        ModelError: there is none, or transformers does not know the model.
    """
    from transformers import CONFIG_MAPPING

    values = sanitised(read_config(path))
    name = str(values.get("model_type"))
    if name not in CONFIG_MAPPING:
        raise unknown_model(path, name)
    try:
        config: PretrainedConfig = CONFIG_MAPPING[name].from_dict(values)
    except Exception as error:  # whatever a config class makes of strange values, config.json is at fault
        raise damaged(path / "config.json", _one_line(error)) from error
    return config


def _empty_model(path: Path, config: PretrainedConfig) -> PreTrainedModel:
    """Build the model without memory for its weights."""
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    except Exception as error:  # whatever a model class makes of strange values, config.json is at fault
        raise damaged(path / "config.json", _one_line(error)) from error
    return model


def _check_shapes(path: Path, empty: PreTrainedModel, weights: Weights) -> None:
    """Compare the shapes that config.json asks for with those in the files, before any memory is taken."""
    prefix = f"{empty.base_model_prefix}."
    for name, expected in empty.state_dict().items():
        stored = weights.tensors.get(name) or weights.tensors.get(name.removeprefix(prefix))
        if stored is not None and stored.shape != tuple(expected.shape):
            raise ModelError(
                tr(
                    "config.json and the weights in {folder} do not fit together: {tensor} should be {expected} "
                    "but is {stored}; download the model again."
                ).format(folder=path, tensor=name, expected=tuple(expected.shape), stored=stored.shape)
            )


def _check_memory(path: Path, empty: PreTrainedModel, dtype: torch.dtype) -> None:
    needed = sum(parameter.numel() for parameter in empty.parameters()) * dtype.itemsize
    available = psutil.virtual_memory().available
    if needed > available:
        raise ModelError(
            tr(
                "The model in {folder} takes {needed:.1f} GB of memory but {available:.1f} GB are free; "
                "close other programs or choose a smaller model."
            ).format(folder=path, needed=needed / 1e9, available=available / 1e9)
        )


def _check_finite(weights: Weights, progress: Progress) -> None:
    """Read all weights once; what is read here is in the system's cache when the model is built."""
    from safetensors import safe_open

    done = 0
    for file in weights.files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                progress("checking_model", done, weights.bytes)
                if not _is_finite(tensors.get_tensor(name)):
                    raise damaged(file, tr("{tensor} holds values that are not numbers").format(tensor=name))
                done += weights.tensors[name].end - weights.tensors[name].begin


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or all(
        bool(torch.isfinite(chunk).all()) for chunk in tensor.flatten().split(_CHUNK)
    )


def _load(path: Path, config: PretrainedConfig, empty: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        result: Any = AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            attn_implementation="sdpa" if empty._supports_sdpa else "eager",
            use_safetensors=True,
            output_loading_info=True,
            **_LOCAL,
        )
    model: PreTrainedModel = result[0]
    _check_complete(path, result[1])
    model.eval()
    return model


def _check_complete(path: Path, report: dict[str, Any]) -> None:
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            tr("{count} weights are missing from {folder}, the first is {tensor}; download the model again.").format(
                count=len(missing), folder=path, tensor=missing[0]
            )
        )
    if unexpected := sorted(report["unexpected_keys"]):
        log.warning(
            "%s has %d weights that the model does not use, the first is %s", path, len(unexpected), unexpected[0]
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
