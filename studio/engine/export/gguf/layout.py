"""Where the numbers of a model folder's weights lie in a GGUF file: names, order, number formats, and the way back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.export.gguf import k_quants
from studio.engine.export.gguf.architectures import Architecture
from studio.engine.export.gguf.formats import tensor_bytes

if TYPE_CHECKING:
    import numpy as np

# Numbers that are converted at a time: gguf's code makes several copies.
_CHUNK = 2**24
_ROTATED = re.compile(r"\.[qk]_proj\.(weight|bias)$")


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor of the file to be written.

    Attributes:
        name: its name in the file.
        shape: rows before columns.
        type: how it is stored.
        sources: the tensors of the model folder that it is made of, in order; () for one that is computed.
        part: which of the equal parts of the source's rows it is, and of how many.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    sources: tuple[str, ...] = ()
    part: tuple[int, int] = (0, 1)

    @property
    def bytes(self) -> int:
        return tensor_bytes(self.shape, self.type)


@dataclass(frozen=True)
class Layout:
    """How llama.cpp orders the numbers of an architecture's weights.

    Attributes:
        head: the width of one head of attention.
    """

    architecture: Architecture
    head: int

    def turned(self, source: str) -> bool:
        """Whether the folder stores a weight with its inputs first."""
        return source.endswith(self.architecture.transposed or ("\0",))

    def arrange(self, source: str, values: np.ndarray) -> np.ndarray:
        """Return a weight of the folder in llama.cpp's order."""
        import numpy as np

        if self.turned(source):
            values = values.T
        if self.architecture.norm_offset and source.endswith("norm.weight"):
            values = values + np.float32(self.architecture.norm_offset)
        if self.architecture.pairs and _ROTATED.search(source):
            # Rows that are rotated together lie side by side; transformers has them half a head apart.
            values = self._regroup(values, 2, self.head // 2)
        return np.ascontiguousarray(values)

    def restore(self, source: str, values: np.ndarray) -> np.ndarray:
        """Return a weight in the folder's order again."""
        import numpy as np

        if self.architecture.pairs and _ROTATED.search(source):
            values = self._regroup(values, self.head // 2, 2)
        if self.architecture.norm_offset and source.endswith("norm.weight"):
            values = values - np.float32(self.architecture.norm_offset)
        if self.turned(source):
            values = values.T
        return np.ascontiguousarray(values)

    def _regroup(self, values: np.ndarray, groups: int, each: int) -> np.ndarray:
        """Take the rows of each head, which come in groups, by turns out of its groups."""
        grouped = values.reshape(len(values) // self.head, groups, each, *values.shape[1:])
        return grouped.swapaxes(1, 2).reshape(values.shape)


class Weights:
    """The tensors of a model folder, read one at a time.

    Attributes:
        shapes: of each tensor, by name, in the order of the files.
    """

    def __init__(self, folder: Path) -> None:
        from studio.engine.models.weights import read_weights

        self._files = read_weights(folder)
        self.shapes = {name: tuple(header.shape) for name, header in self._files.tensors.items()}

    def read(self, tensor: Tensor, layout: Layout) -> np.ndarray:
        """Return the numbers of a tensor of the file, fp32, in llama.cpp's order."""
        import numpy as np

        if len(tensor.sources) > 1:
            return np.stack([self._load(name) for name in tensor.sources])
        source = tensor.sources[0]
        values = self._load(source)
        part, parts = tensor.part
        if parts > 1:
            rows = values.shape[-2] // parts
            values = values[..., part * rows : (part + 1) * rows, :]
        return layout.arrange(source, values)

    def _load(self, name: str) -> np.ndarray:
        from safetensors import safe_open

        with safe_open(self._files.places[name], framework="pt") as file:  # numpy knows no bf16
            values: np.ndarray = file.get_tensor(name).float().numpy()
        return values


def quantise(values: np.ndarray, type_: str) -> np.ndarray:
    """Return the bytes (or halves, or floats) that a tensor is stored as.

    Args:
        values: fp32, rows before columns.
        type_: a name of `GGMLQuantizationType`.
    """
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    kind = GGMLQuantizationType[type_]
    flat = values.reshape(-1, values.shape[-1])
    step = max(1, _CHUNK // values.shape[-1])
    write = k_quants.quantise if type_.endswith("_K") else quantize
    parts = [write(flat[start : start + step], kind) for start in range(0, len(flat), step)]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def dequantise(data: np.ndarray, type_: str) -> np.ndarray:
    """Return the fp32 numbers that rows of bytes (or halves, or floats) stand for.

    Args:
        data: as `gguf.GGUFReader` has it, rows before columns.
        type_: a name of `GGMLQuantizationType`.
    """
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType[type_]
    flat = data.reshape(-1, data.shape[-1])
    step = max(1, _CHUNK // data.shape[-1])
    parts = [dequantize(flat[start : start + step], kind) for start in range(0, len(flat), step)]
    values = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return values.reshape(*data.shape[:-1], values.shape[-1]).astype(np.float32, copy=False)
