"""Writing a model folder a few tensors at a time: the same bytes that `save_pretrained` would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The formats in the order in which a safetensors file has its tensors: the wide ones first, so that all are aligned.
_FORMATS = {
    torch.int64: "I64", torch.float64: "F64", torch.float32: "F32", torch.int32: "I32", torch.bfloat16: "BF16",
    torch.float16: "F16", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


class ShardWriter:
    """Files of weights, whose headers are written first: all names, shapes and formats are known."""

    def __init__(self, model: PreTrainedModel, formats: dict[str, torch.dtype], folder: Path, shard: str) -> None:
        """Write configuration, index and headers.

        Args:
            model: the model that is to be written; its weights need not be there.
            formats: of each of its weights and persistent buffers, without names that share a weight with another.
            shard: the largest size of a file, such as "4GB".
        """
        from huggingface_hub import split_torch_state_dict_into_shards
        from transformers.core_model_loading import revert_weight_conversion

        self._model = model
        model.config.dtype = str(next(iter(formats.values()))).removeprefix("torch.")
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
        state = model.state_dict()
        shapes = {name: torch.empty(state[name].shape, dtype=dtype, device="meta") for name, dtype in formats.items()}
        tensors = revert_weight_conversion(model, shapes)
        split = split_torch_state_dict_into_shards(
            tensors, filename_pattern="model{suffix}.safetensors", max_shard_size=shard
        )
        self._places: dict[str, tuple[Path, int]] = {}
        for file, names in split.filename_to_tensors.items():
            self._write_header(folder / file, {name: tensors[name] for name in names})
        if split.is_sharded:
            total = {"total_parameters": model.num_parameters(), **split.metadata}
            index = {"metadata": total, "weight_map": split.tensor_to_filename}
            text = json.dumps(index, indent=2, sort_keys=True) + "\n"
            (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")

    def _write_header(self, path: Path, tensors: dict[str, Any]) -> None:
        order = list(_FORMATS)
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name in sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name)):
            tensor = tensors[name]
            end = offset + tensor.numel() * tensor.dtype.itemsize
            header[name] = {
                "dtype": _FORMATS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end],
            }  # fmt: skip
            offset = end
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        start = 8 + len(text)
        self._places |= {name: (path, start + header[name]["data_offsets"][0]) for name in tensors}
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(start + offset)

    def write(self, tensors: dict[str, Tensor]) -> None:
        """Write weights of one part of the model, in the formats that were announced, by their names in the model."""
        from transformers.core_model_loading import revert_weight_conversion

        for name, tensor in revert_weight_conversion(self._model, tensors).items():
            path, offset = self._places[name]
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
