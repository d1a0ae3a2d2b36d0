"""A written GGUF file, read back by our own code: its weights beside those it was made of, and what they compute.

llama.cpp is not asked here. What it says can then be held against a model of ours that has the very same weights, so
that an error of the conversion is not taken for the price of a format, nor that price for an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from studio.engine.control import Progress
from studio.engine.export.certificate import Check
from studio.engine.export.gguf.convert import Plan
from studio.engine.export.gguf.layout import Tensor, Weights, dequantise, quantise
from studio.engine.export.stored import StoredModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class WrittenWeights:
    """The numbers in a GGUF file, one weight at a time."""

    def __init__(self, path: Path, plan: Plan) -> None:
        from gguf import GGUFReader

        self._plan = plan
        self._data = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
        self._tensors: dict[str, list[tuple[Tensor, int | None]]] = {}
        for tensor in plan.tensors:
            several = len(tensor.sources) > 1
            for number, source in enumerate(tensor.sources):
                self._tensors.setdefault(source, []).append((tensor, number if several else None))

    def stored(self, tensor: Tensor) -> np.ndarray:
        """Return a tensor as the file has it: bytes, halves or floats."""
        data: np.ndarray = self._data[tensor.name]
        return data

    def read(self, source: str) -> np.ndarray:
        """Return a weight in fp32, by the name that it has in the model folder, and as that has it."""
        parts = []
        for tensor, number in self._tensors[source]:
            data = self._data[tensor.name] if number is None else self._data[tensor.name][number]
            parts.append(self._plan.layout.restore(source, dequantise(data, tensor.type)))
        return np.concatenate(parts, axis=-2) if len(parts) > 1 else parts[0]


class WrittenModel(StoredModel):
    """The model folder that a file was made of, with the weights of the file."""

    def __init__(self, folder: Path, config: PretrainedConfig, weights: WrittenWeights) -> None:
        self._weights = weights
        super().__init__(folder, config)

    def piece(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self._weights.read(name))
