"""Giving an empty model its weights, one tensor after the other, each in its format where it stays.

transformers knows by which names and in which pieces the files of each architecture keep its weights. It calls for
the pieces when it needs them, and `_Source` then reads them.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from studio.engine.control import Progress
from studio.engine.dtypes import DTYPES, torch_dtype
from studio.engine.models.files import damaged, unreadable
from studio.engine.models.quantise import fill, is_filled, place_quantised
from studio.engine.models.quiet import quiet_transformers
from studio.engine.models.weights import Weights
from studio.errors import ModelError
from studio.files import open_regular
from studio.i18n import tr, trn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

# What safetensors calls the formats, for those of weights that are let in.
_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip


def fill_model(
    model: PreTrainedModel,
    weights: Weights,
    formats: dict[str, str],
    compute: torch.dtype,
    places: dict[str, torch.device],
    progress: Progress,
) -> None:
    """Fill a model that is on the meta device. Its tables, such as rotary frequencies, are made on the processor.

    Args:
        formats: what each parameter is stored in, by its name: fp32, fp16, bf16, int8 or nf4.
        compute: the format of matrix products.
        places: where weights stay, by their names; that of all others by an empty name.

    Raises:
        ModelError: a weight is missing, damaged or not a number, or does not fit the model.
        Cancelled: by `progress`.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import convert_and_load_state_dict_in_model
    from transformers.modeling_utils import LoadStateDictConfig

    folder = weights.files[0].parent
    shapes = {name: parameter.shape for name, parameter in model.named_parameters(remove_duplicate=False)}
    for name, parameter in model.named_parameters():
        if formats[name] in DTYPES:
            parameter.data = parameter.data.to(torch_dtype(formats[name]))
    source = _Source(model, weights, formats, compute, progress)
    config = LoadStateDictConfig(
        dtype=None,  # each parameter has its own
        dtype_plan=model._get_dtype_plan(compute),
        weight_mapping=get_model_conversion_mapping(model),  # type: ignore[arg-type]
        device_map=places,
        hf_quantizer=source,  # type: ignore[arg-type]
    )
    pieces = {name: _Piece(source, name) for name in weights.tensors}
    with quiet_transformers():
        report, _ = convert_and_load_state_dict_in_model(model, pieces, config)
    source.finish()
    progress("loading_model", weights.bytes, weights.bytes)
    for name, reason in sorted(report.conversion_errors.items()):
        raise damaged(folder / "config.json", f"{name}: {reason.splitlines()[-1]}")
    for name, parameter in model.named_parameters():
        if not source.param_needs_quantization(model, name) and parameter.shape != shapes[name]:
            raise misfit(folder, name, shapes[name], parameter.shape)
    # The same sums on every device.
    config = dataclasses.replace(config, device_map={"": torch.device("cpu")})
    with quiet_transformers():
        report = model._finalize_model_loading(model, config, report)
    if missing := sorted(report.missing_keys):
        raise ModelError(
            trn(
                "{count} weight is missing from {folder}: {tensor}; download the model again.",
                "{count} weights are missing from {folder}, the first is {tensor}; download the model again.",
                len(missing),
            ).format(count=len(missing), folder=folder, tensor=missing[0])
        )
    if unexpected := sorted(report.unexpected_keys):
        log.warning(
            "%s has %d weights that the model does not use, the first is %s", folder, len(unexpected), unexpected[0]
        )


def all_finite(tensor: Tensor) -> bool:
    """Return whether no number in a tensor, of any shape and format, is NaN or infinite.

    The smallest and the largest number are found without a temporary copy, and are NaN where any number is.
    """
    if not (tensor.is_floating_point() and tensor.numel()):
        return True
    return all(map(math.isfinite, torch.stack(torch.aminmax(tensor)).tolist()))


def misfit(folder: Path, name: str, expected: tuple[int, ...], stored: tuple[int, ...]) -> ModelError:
    """Return the error for a weight of another shape than config.json asks for."""
    return ModelError(
        tr(
            "config.json and the weights in {folder} do not fit together: {tensor} should be {expected} "
            "but is {stored}; download the model again."
        ).format(folder=folder, tensor=name, expected=tuple(expected), stored=tuple(stored))
    )


class _Source:
    """Reads tensors, and quantises those that are to be. It is what transformers calls a quantiser.

    Where there is one, transformers loads a tensor at a time and no other thread runs ahead.
    """

    pre_quantized = False

    def __init__(
        self,
        model: PreTrainedModel,
        weights: Weights,
        formats: dict[str, str],
        compute: torch.dtype,
        progress: Progress,
    ) -> None:
        self._weights, self._progress, self._done = weights, progress, 0
        self._error: Exception | None = None
        quantised = set(formats.values()) - set(DTYPES)
        self._layers = place_quantised(model, quantised.pop(), compute) if quantised else {}

    def read(self, name: str) -> Tensor:
        """Return a tensor as its file has it, on the processor. Raises `ModelError`, `Cancelled`.

        It is not mapped into memory: pages of a mapped file count as memory of this process.
        """
        if self._error:
            raise self._error
        self._progress("loading_model", self._done, self._weights.bytes)
        header, file = self._weights.tensors[name], self._weights.places[name]
        tensor = torch.empty(header.shape, dtype=_DTYPES[header.dtype])
        left = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
        try:
            with open_regular(file) as data:
                data.seek(header.begin)
                while left:
                    count = data.readinto(left)
                    if not count:
                        raise damaged(file, tr("it is cut off in {tensor}").format(tensor=name))
                    left = left[count:]
        except OSError as error:
            raise unreadable(file, error) from error
        if not all_finite(tensor):
            raise damaged(file, tr("{tensor} holds values that are not numbers").format(tensor=name))
        self._done += header.end - header.begin
        return tensor

    def finish(self) -> None:
        """Quantise what transformers put in as it was. Raises what went wrong on the way."""
        if self._error:
            raise self._error
        for layer in self._layers.values():
            weight: Any = layer.weight
            if not is_filled(layer) and weight.device.type != "meta":
                fill(layer, weight.data)
                layer.weight._is_hf_initialized = True  # type: ignore[union-attr]

    def param_needs_quantization(self, model: nn.Module, name: str, **_: Any) -> bool:
        """Return whether a parameter is the weight of a quantised layer."""
        return name.endswith(".weight") and name.removesuffix(".weight") in self._layers

    def get_quantize_ops(self) -> _Source:
        """Return what quantises."""
        return self

    def convert(self, tensors: dict[str, Any], *, model: nn.Module, missing_keys: set[str], **_: Any) -> dict[str, Any]:
        """Put weights into quantised layers; return the others. transformers keeps errors for later."""
        others = {}
        try:
            for name, value in tensors.items():
                tensor = value[0] if isinstance(value, list) else value
                if self.param_needs_quantization(model, name):
                    layer: Any = self._layers[name.removesuffix(".weight")]
                    fill(layer, tensor)
                    layer.weight._is_hf_initialized = True  # or transformers would draw it at random
                    missing_keys.discard(name)
                else:
                    others[name] = tensor
        except Exception as error:
            self._error = error
            raise
        return others


@dataclasses.dataclass(frozen=True)
class _Piece:
    """A tensor that is read when it is asked for, all of it."""

    source: _Source
    name: str

    def __getitem__(self, everything: object) -> Tensor:
        return self.source.read(self.name)
