"""A written GGUF file, read back by our own code: its weights beside those it was made of, and what they compute.

llama.cpp is not asked here. What it says can then be held against a model of ours that has the very same weights, so
that an error of the conversion is not taken for the price of a format, nor that price for an error.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from studio.engine.control import Progress
from studio.engine.export.certificate import Check
from studio.engine.export.checks.weights import NAMED
from studio.engine.export.gguf.asking import Rows
from studio.engine.export.gguf.convert import Plan
from studio.engine.export.gguf.layout import Tensor, Weights, dequantise
from studio.engine.export.stored import StoredModel
from studio.engine.export.streamed import StreamedModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# By how much rounding may change a tensor, as a share of its size. A block of n weights whose largest is M is stored in
# steps of M/8 (Q4_0) to M/127 (Q8_0). An error of a step/√12 against at least M makes √n/(8·√12) = 0.20 for Q4_0 and
# 0.013 for Q8_0; blocks with a smallest value have half the steps. Measured on SmolLM2: 0.10 and 0.007.
ROUNDING = {
    "F32": 0.0, "F16": 0.001, "BF16": 0.004, "Q8_0": 0.02, "Q6_K": 0.05, "Q5_K": 0.1, "Q5_1": 0.1, "Q5_0": 0.13,
    "Q4_K": 0.2, "Q4_1": 0.2, "Q4_0": 0.25,
}  # fmt: skip


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
        return torch.tensor(self._weights.read(name))


def check_settings(path: Path, plan: Plan) -> Check:
    """Return whether every key of a file, such as a merge or the base of rotation, is what was to be written.

    Some of them show in no answer that is asked for: a rare token, or another token that ends a text.
    """
    from gguf import GGUFReader

    wanted = {key: value.value for key, value in plan.writer().kv_data[0].items()}
    fields = GGUFReader(path).fields
    found = {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}
    wrong = sorted(key for key in wanted.keys() | found.keys() if not _same(wanted.get(key), found.get(key)))
    return Check.of("gguf_settings", not wrong, len(wrong), 0, settings=wrong[:NAMED], count=len(wanted))


def _same(wanted: Any, found: Any) -> bool:
    """Whether a value of a file is the one that was to be written; it has fractions in fp32."""
    if isinstance(wanted, list | tuple) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return bool(found == (np.float32(wanted) if isinstance(wanted, float) else wanted))


def check_weights(folder: Path, path: Path, plan: Plan, progress: Progress) -> Check:
    """Return whether each weight in a file is that of the model folder it was made of, rounded to its format.

    What was written has to be there bit for bit; what was written may be rounded.
    """
    given, found = Weights(folder), WrittenWeights(path, plan)
    worst, wrong = 0.0, []
    for number, (tensor, written) in enumerate(zip(plan.tensors, plan.sums, strict=True)):
        progress("verifying", number, len(plan.tensors))
        if zlib.crc32(found.stored(tensor).data) != written:
            wrong.append(tensor.name)
        if not tensor.sources or tensor.name in wrong:
            continue
        error = _error(given.read(tensor, plan.layout), dequantise(found.stored(tensor), tensor.type))
        worst = max(worst, error)
        if not error <= ROUNDING[tensor.type]:
            wrong.append(tensor.name)
    return Check.of(
        "gguf_weights", not wrong, len(wrong), 0, weights=wrong[:NAMED], worst=worst, dtype=plan.format.name
    )


def _error(wanted: np.ndarray, found: np.ndarray) -> float:
    """Return ‖found − wanted‖ / ‖wanted‖."""
    size, apart = np.linalg.norm(wanted), np.linalg.norm(found - wanted)
    return float(apart / size) if size else float(apart)


def written_logits(folder: Path, path: Path, plan: Plan, rows: Rows, progress: Progress) -> torch.Tensor:
    """Return what a model of ours computes with the weights in a file, one block in memory at a time.

    Args:
        folder: the model folder that the file was made of.
        rows: what is computed, and where.

    Returns:
        fp32 logits, (positions of all rows, vocabulary).
    """
    from studio.engine.models.config import load_config

    stored = WrittenModel(folder, load_config(folder), WrittenWeights(path, plan))
    outputs = StreamedModel(stored).run(rows.ids, (), progress, "verifying", kept=rows.positions)
    return torch.cat(outputs.rows)
