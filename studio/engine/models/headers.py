"""The header of a safetensors file, checked by every rule of the format (huggingface/safetensors, README).

Reading it needs no torch and touches none of the weights, so a folder of any size is judged at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.engine.models.files import check_fetched, damaged, unreadable
from studio.files import open_regular, parse_object
from studio.i18n import tr

# Bits, because some formats are smaller than a byte.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_LENGTH_BYTES = 8
# The format allows 100 MB, which take minutes to read. The longest that are known have two.
_MAX_HEADER_BYTES = 1 << 24
_MAX_DIMENSIONS = 64


@dataclass(frozen=True)
class TensorHeader:
    """One tensor in a file: the name of its format, such as `BF16`, its shape, and where its bytes begin and end."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _Wrong(Exception):
    """The header breaks a rule; the message is half a sentence."""


def read_header(path: Path) -> dict[str, TensorHeader]:
    """Return the tensors of a safetensors file by name.

    Raises:
        ModelError: the file cannot be read, or breaks a rule of the format: it is damaged.
    """
    try:
        check_fetched(path)
        header, start, size = _split(path)
        tensors = {name: _entry(name, value, start) for name, value in header.items() if name != "__metadata__"}
        _check_layout(tensors, start, size)
    except OSError as error:
        raise unreadable(path, error) from error
    except _Wrong as error:
        raise damaged(path, str(error)) from error
    return tensors


def _split(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header, where the data behind it begins, and the size of the file."""
    size = path.stat().st_size
    if size < _LENGTH_BYTES:
        raise _Wrong(tr("it is empty") if size == 0 else tr("it is cut off"))
    with open_regular(path) as file:
        begin = file.read(_LENGTH_BYTES)
        length = int.from_bytes(begin, "little")
        if length > _MAX_HEADER_BYTES:
            raise _Wrong(tr("its header is absurdly long"))
        if _LENGTH_BYTES + length > size:
            raise _Wrong(tr("it is cut off"))
        text = file.read(length)
    try:
        return parse_object(text), _LENGTH_BYTES + length, size
    except ValueError as error:
        raise _Wrong(tr("its header is not valid JSON")) from error


def _entry(name: str, value: Any, start: int) -> TensorHeader:
    try:
        dtype, shape, (begin, end) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _Wrong(tr("its header does not describe {tensor}").format(tensor=name)) from error
    numbers = (*shape, begin, end)
    if (
        not isinstance(dtype, str)
        or dtype not in BITS
        or len(shape) > _MAX_DIMENSIONS
        or not all(type(number) is int and 0 <= number < 2**63 for number in numbers)
    ):
        raise _Wrong(tr("its header does not describe {tensor}").format(tensor=name))
    if math.prod(shape) * BITS[dtype] != (end - begin) * 8:
        raise _Wrong(tr("{tensor} has another size than its shape").format(tensor=name))
    return TensorHeader(dtype, shape, start + begin, start + end)


def _check_layout(tensors: dict[str, TensorHeader], start: int, size: int) -> None:
    """The tensors fill the file behind its header: no gap, no overlap, nothing behind the last."""
    position = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.end > size:
            raise _Wrong(tr("it is cut off in {tensor}").format(tensor=name))
        if tensor.begin != position:
            raise _Wrong(tr("{tensor} is not where it should be").format(tensor=name))
        position = tensor.end
    if position != size:
        raise _Wrong(tr("there is something behind its last weight"))
