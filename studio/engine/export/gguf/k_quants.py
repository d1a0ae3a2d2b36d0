"""K-quants, which gguf's own code cannot write: through the C function of llama.cpp, where its library is found."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any

from studio.i18n import tr

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType


@functools.cache
def library() -> Any:
    """Return llama.cpp's library out of the package xllamacpp, loaded by ctypes; None where it cannot be had.

    The package keeps its symbols visible on Linux. On Windows they are hidden.
    """
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        return None
    files = sorted(
        file for file in Path(spec.origin).parent.iterdir() if file.name.startswith("xllamacpp.") and _binary(file.name)
    )
    try:
        found = ctypes.CDLL(str(files[0])) if files else None
        return found if hasattr(found, "ggml_quantize_chunk") else None
    except OSError:  # a library of another system, or one of its own that is missing
        return None


def _binary(name: str) -> bool:
    return name.endswith((".so", ".pyd", ".dylib"))


def why_not() -> str:
    """Return why K-quants cannot be written here, in one sentence, or ""."""
    if library() is not None:
        return ""
    return tr("K-quants are written by llama.cpp's own code, which the package xllamacpp brings on Linux and macOS.")


def quantise(values: np.ndarray, type_: GGMLQuantizationType) -> np.ndarray:
    """Quantise a tensor with llama.cpp.

    Args:
        values: fp32, C order; rows are multiples of the type's block.
        type_: one of those whose names end with K.

    Returns:
        bytes, in the shape of `values` but for the last axis.
    """
    import numpy as np
    from gguf.quants import quant_shape_to_byte_shape

    values = np.ascontiguousarray(values, dtype=np.float32)
    out = np.empty(quant_shape_to_byte_shape(values.shape, type_), dtype=np.uint8)
    rows = values.size // values.shape[-1]
    chunk = library().ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    written = chunk(int(type_), values.ctypes.data, out.ctypes.data, 0, rows, values.shape[-1], None)
    assert written == out.nbytes
    return out
