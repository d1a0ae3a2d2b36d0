"""The weights of a model folder, read by the names that the model gives them, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from studio.engine.dtypes import SAFETENSORS_NAMES, torch_dtype
from studio.engine.models.quiet import quiet_transformers
from studio.engine.models.weights import read_weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def opening_class(config: PretrainedConfig) -> Any:
    """Return the class of transformers that opens a folder with this config as the model that its weights are of.

    What is packaged with vision is another model there than the one that `AutoModelForCausalLM` makes of the config.
    """
    import transformers
    from transformers.models.auto import modeling_auto

    (name, *_) = config.architectures or [""]
    packaged = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(config.model_type)
    causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    if name == packaged != causal:
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForCausalLM


def empty_model(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Build the model that `config` names; its parameters are on the meta device, and its tables are real."""
    from accelerate import init_empty_weights  # type: ignore[import-untyped]

    with init_empty_weights(include_buffers=False), quiet_transformers():
        model: PreTrainedModel = opening_class(config).from_config(config, dtype=dtype)
    model.tie_weights()
    model.eval()
    return model


class StoredModel:
    """A model folder of which transformers reads no more than it is asked for.

    transformers knows by which names and in which pieces the files of each architecture keep its weights.

    Attributes:
        model: the model without its weights.
        problems: weights that the files lack, have too many, or have in another shape.
    """

    def __init__(self, folder: Path, config: PretrainedConfig) -> None:
        """Raises `ModelError` where the files are damaged."""
        from transformers.conversion_mapping import get_model_conversion_mapping

        self.config = config
        self.model = empty_model(config)
        self._files = read_weights(folder)
        self._mapping = get_model_conversion_mapping(self.model)
        # What lies in `model` while no weight is read. Names that share one weight share the tensor.
        self._empty: dict[str, Tensor] = self.model.state_dict(keep_vars=True)
        self._targets = {name: self._target(name) for name in self._files.tensors}
        shapes = {name: torch.empty(header.shape, device="meta") for name, header in self._files.tensors.items()}
        self.problems = self._problems(self._convert(shapes, "meta"))
        self._restore(self._empty)
        self.problems += tuple(self._not_shared())

    def read(self, names: Collection[str], look: Callable[[str, Tensor], None] | None = None) -> dict[str, Tensor]:
        """Return weights in fp32, by the names that they have in the model.

        Args:
            names: of weights and persistent buffers that belong to one part of the model.
            look: is shown every tensor of the files that is read, with its name.
        """
        pieces = {}
        for name, target in self._targets.items():
            if target in names:
                pieces[name] = self.piece(name)
                if look:
                    look(name, pieces[name])
        self._convert(pieces, "cpu")
        found = {name: _get(self.model, name) for name in names}
        self._restore(names)
        return {name: tensor.detach() for name, tensor in found.items() if tensor.device.type != "meta"}

    def stored_in(self, name: str) -> torch.dtype:
        """Return the format in which the files have a weight of the model."""
        formats = {self._files.tensors[piece].dtype for piece, target in self._targets.items() if target == name}
        known = SAFETENSORS_NAMES.get(formats.pop(), "fp32") if len(formats) == 1 else "fp32"
        return torch.float64 if known == "fp64" else torch_dtype(known)

    def place(self, name: str) -> Path:
        """Return the file that a tensor lies in."""
        return self._files.places[name]

    def _target(self, name: str) -> str:
        """Return the weight of the model that a tensor of the files is, or is the first piece of."""
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        renamings = [entry for entry in self._mapping if isinstance(entry, WeightRenaming)]
        converters = [entry for entry in self._mapping if isinstance(entry, WeightConverter)]
        prefix = self.model.base_model_prefix
        renamed, _ = rename_source_key(name, renamings, converters, prefix, self._empty)
        if renamed not in self._empty and name in self._empty:
            renamed, _ = rename_source_key(name, [], [], prefix, self._empty)
        return renamed

    def _convert(self, pieces: dict[str, Tensor], device: str) -> Any:
        from transformers.core_model_loading import convert_and_load_state_dict_in_model
        from transformers.modeling_utils import LoadStateDictConfig

        mapping: Any = self._mapping
        config = LoadStateDictConfig(weight_mapping=mapping, device_map={"": torch.device(device)})
        with quiet_transformers():
            report, _ = convert_and_load_state_dict_in_model(self.model, pieces, config)
        return report

    def _problems(self, report: Any) -> tuple[str, ...]:
        report.missing_keys -= self.model.all_tied_weights_keys.keys()
        self.model._adjust_missing_and_unexpected_keys(report)
        mismatched = {entry[0] for entry in report.mismatched_keys}
        return tuple(sorted({*report.missing_keys, *report.unexpected_keys, *report.conversion_errors, *mismatched}))

    def _not_shared(self) -> list[str]:
        """Return weights that the model shares, and of which the files have two different ones."""
        pieces = {target: name for name, target in self._targets.items()}
        tied = self.model.all_tied_weights_keys.items()
        both = [(name, other) for name, other in tied if name in pieces and other in pieces]
        return [name for name, other in both if not torch.equal(self.piece(pieces[name]), self.piece(pieces[other]))]

    def piece(self, name: str) -> Tensor:
        """Return a tensor of the files, by its name there."""
        with safe_open(self._files.places[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def _restore(self, names: Collection[str]) -> None:
        for name in names:
            put(self.model, name, self._empty[name])


def _get(model: nn.Module, name: str) -> Tensor:
    module, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(model.get_submodule(module), leaf)
    return tensor


def put(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Make a tensor the weight, or the buffer, of this name."""
    module, _, leaf = name.rpartition(".")
    owner = model.get_submodule(module)
    (owner._parameters if leaf in owner._parameters else owner._buffers)[leaf] = tensor  # type: ignore[assignment]
