"""An adapter in peft's format, checked before peft sees it: it may come from a stranger.

peft follows what adapter_config.json says: it takes a text in `target_modules` for a regular expression, computes as
many iterations as `init_lora_weights` names, makes matrices of any rank, imports what `auto_mapping` and
`megatron_core` name, and opens a pickled adapter_model.bin. So of that file only known keys are taken, within bounds,
and everything else has to say nothing. The weights come from adapter_model.safetensors alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypedDict

from studio.engine.models.files import damaged, one_line
from studio.engine.models.headers import TensorHeader, read_header
from studio.errors import ModelError, is_out_of_memory
from studio.files import is_file, read_json
from studio.i18n import tr
from studio.schema import Range, field_readers, read_as

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MAX_CONFIG_BYTES = 1 << 24

_Names: TypeAlias = list[str]
_Rank: TypeAlias = Annotated[int, Range(1, 1 << 14)]
_Size: TypeAlias = Annotated[int, Range(1, 1 << 20)]
_Scale: TypeAlias = Annotated[float, Range(-1e6, 1e6)]
_Share: TypeAlias = Annotated[float, Range(0, 1)]


class _Lora(TypedDict, total=False):
    r: _Rank
    lora_alpha: _Scale
    lora_dropout: _Share
    target_modules: _Names | None
    target_parameters: _Names | None
    fan_in_fan_out: bool
    use_rslora: bool
    use_dora: bool
    rank_pattern: dict[str, _Rank]
    alpha_pattern: dict[str, _Scale]


class _Ia3(TypedDict, total=False):
    target_modules: _Names | None
    feedforward_modules: _Names | None
    fan_in_fan_out: bool


class _VirtualTokens(TypedDict, total=False):
    num_virtual_tokens: _Size
    token_dim: _Size
    num_transformer_submodules: Annotated[int, Range(1, 2)] | None
    num_attention_heads: _Size | None
    num_layers: _Size | None


class _PrefixTuning(_VirtualTokens, total=False):
    encoder_hidden_size: _Size | None
    prefix_projection: bool


class _PTuning(_VirtualTokens, total=False):
    encoder_reparameterization_type: Literal["MLP", "LSTM"]
    encoder_hidden_size: _Size | None
    encoder_num_layers: Annotated[int, Range(1, 8)]
    encoder_dropout: _Share


_KINDS: dict[str, Any] = {
    "LORA": _Lora,
    "IA3": _Ia3,
    "PROMPT_TUNING": _VirtualTokens,
    "PREFIX_TUNING": _PrefixTuning,
    "P_TUNING": _PTuning,
}
# Other beginnings, such as PiSSA, change the base, and what was trained fits that base alone.
_BEGINNINGS = (None, True, False, "gaussian", "orthogonal")
# They say where an adapter comes from or how its weights began, and are not followed.
_NOT_FOLLOWED = {
    "base_model_name_or_path", "revision", "peft_version", "peft_type", "task_type", "inference_mode",
    "init_ia3_weights", "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path",
    "tokenizer_kwargs", "init_weights", "init_lora_weights",
}  # fmt: skip


def load_adapter(base: PreTrainedModel, folder: Path) -> nn.Module:
    """Put an adapter of peft's into its base.

    Raises:
        ModelError: the adapter is damaged or unsafe, uses what is not supported, or belongs to another base.
    """
    import warnings

    from studio.engine.models.quiet import import_bitsandbytes

    import_bitsandbytes()
    from peft import PeftModel

    config = read_adapter(folder, base)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            loaded: nn.Module = PeftModel.from_pretrained(
                base, str(folder), config=config, use_safetensors=True, low_cpu_mem_usage=False
            )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _unfit(folder, one_line(error)) from error
    return loaded.eval()


def read_adapter(folder: Path, base: nn.Module) -> Any:
    """Return peft's configuration of an adapter, made of what is known of its adapter_config.json alone.

    Raises:
        ModelError: as `load_adapter` says.
    """
    kind, values = _read_config(folder)
    if not is_file(folder / WEIGHTS):
        raise ModelError(
            tr("The adapter in {folder} has no {file}; other files with weights are never opened.").format(
                folder=folder, file=WEIGHTS
            )
        )
    tensors = read_header(folder / WEIGHTS)
    if kind in ("LORA", "IA3"):
        _check_places(folder, values, tensors, {name for name, _ in base.named_modules()})
    _check_sizes(folder, kind, values, tensors)
    _check_finite(folder / WEIGHTS)
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config: Any = PEFT_TYPE_TO_CONFIG_MAPPING[kind](**values)  # type: ignore[index]
    config.task_type = "CAUSAL_LM"
    return config


def _read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the type of an adapter, and the values that are followed."""
    path = folder / CONFIG
    try:
        stated = read_json(path, _MAX_CONFIG_BYTES)
        kind = stated.get("peft_type")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise _unsupported(folder, "peft_type", kind)
        if stated.get("task_type") not in (None, "CAUSAL_LM"):
            raise _unsupported(folder, "task_type", stated["task_type"])
        known = field_readers(_KINDS[kind])
        if isinstance(pattern := stated.get("target_modules"), str):
            raise _unsupported(folder, "target_modules", pattern)
        values = {key: reader(stated[key]) for key, reader in known.items() if key in stated}
        read_as(dict[str, Any], stated)
    except OSError as error:
        words = tr("The adapter in {folder} cannot be read: {file}: {reason}.")
        raise ModelError(words.format(folder=folder, file=CONFIG, reason=error.strerror)) from error
    except ValueError as error:
        raise damaged(path, str(error)) from error
    _check_the_rest(folder, kind, {key: stated[key] for key in stated if key not in known})
    for pattern in (*values.get("rank_pattern", ()), *values.get("alpha_pattern", ())):
        if not all(letter.isalnum() or letter in "._-" for letter in pattern):  # a regular expression, to peft
            raise _unsupported(folder, "rank_pattern", pattern)
    return kind, {key: value for key, value in values.items() if value is not None}


def _check_the_rest(folder: Path, kind: str, rest: Mapping[str, Any]) -> None:
    """Refuse every key that is not followed, unless it says nothing, or what it says by itself."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config: Any = PEFT_TYPE_TO_CONFIG_MAPPING[kind]  # type: ignore[index]
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    if (begin := rest.get("init_lora_weights")) not in _BEGINNINGS:
        raise _unsupported(folder, "init_lora_weights", begin)
    for key, value in rest.items():
        if key not in _NOT_FOLLOWED and value and value != usual.get(key) and (key, value) != ("bias", "none"):
            raise _unsupported(folder, key, value)


def _check_places(
    folder: Path, values: Mapping[str, Any], tensors: Mapping[str, TensorHeader], modules: set[str]
) -> None:
    """Every tensor belongs to a module of the base, and every module that is named is there."""
    for name in tensors:
        place = name.removeprefix("base_model.model.").partition(".lora_")[0].partition(".ia3_")[0]
        while place and place not in modules and place.endswith(".base_layer"):
            place = place.removesuffix(".base_layer")
        if place not in modules:
            raise _unfit(folder, tr("the base has no {name}").format(name=place[:100]))
    ends = {name for module in modules for name in (module, module.rpartition(".")[2])}
    for name in values.get("target_modules", ()):
        if name not in ends and not any(module.endswith(f".{name}") for module in modules):
            raise _unfit(folder, tr("the base has no {name}").format(name=name[:100]))


def _check_sizes(folder: Path, kind: str, values: Mapping[str, Any], tensors: Mapping[str, TensorHeader]) -> None:
    """What peft is to make is no larger than what the file holds."""
    if kind == "LORA":
        declared = max([values.get("r", 8), *values.get("rank_pattern", {}).values()])
        parts = [tensor.shape for name, tensor in tensors.items() if ".lora_A" in name or ".lora_embedding_A" in name]
        fits = declared <= max((shape[0] for shape in parts if shape), default=0)
    elif kind == "IA3":
        fits = bool(tensors)
    else:
        tokens, width, layers = (values.get(key, 0) for key in ("num_virtual_tokens", "token_dim", "num_layers"))
        allowed = {(tokens, width), (tokens, 2 * layers * width)}
        fits = bool(tensors) and all(tensor.shape in allowed for tensor in tensors.values())
    if not fits:
        raise damaged(folder / WEIGHTS, tr("its weights have other sizes than {file} says").format(file=CONFIG))


def _check_finite(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as weights:
            bad = next((name for name in weights.keys() if not weights.get_tensor(name).isfinite().all()), None)  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise damaged(path, one_line(error)) from error
    if bad:
        raise damaged(path, tr("{tensor} holds numbers that are not finite").format(tensor=bad[:100]))


def _unsupported(folder: Path, key: str, value: Any) -> ModelError:
    return ModelError(
        tr("The adapter in {folder} is not opened: {key} = {value} in {file} is not supported.").format(
            folder=folder, key=key[:60], value=repr(value)[:60], file=CONFIG
        )
    )


def _unfit(folder: Path, reason: str) -> ModelError:
    return ModelError(
        tr("The adapter in {folder} does not fit this model: {reason}; load the base that it was trained on.").format(
            folder=folder, reason=reason
        )
    )
