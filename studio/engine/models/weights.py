"""The weights of a model folder, as the headers of its files declare them: names, shapes, formats, and where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from studio.engine.dtypes import SAFETENSORS_NAMES
from studio.engine.models.files import INDEX, WEIGHTS, damaged, read_json, weight_files
from studio.engine.models.headers import TensorHeader, read_header
from studio.errors import ModelError
from studio.i18n import tr


@dataclass(frozen=True)
class Weights:
    """All tensors of a model, and the file that each one lies in."""

    files: tuple[Path, ...]
    tensors: dict[str, TensorHeader]
    places: dict[str, Path]

    @property
    def bytes(self) -> int:
        """Size of all weights, as stored."""
        return sum(tensor.end - tensor.begin for tensor in self.tensors.values())

    @property
    def stored_dtype(self) -> str:
        """Name of the format that most of the weights are stored in."""
        sizes: Counter[str] = Counter()
        for tensor in self.tensors.values():
            sizes[tensor.dtype] += tensor.end - tensor.begin
        dtype = sizes.most_common(1)[0][0]
        return SAFETENSORS_NAMES.get(dtype, dtype.lower())

    def format_of(self, shape: tuple[int, ...]) -> str:
        """Return the format in which the files have tensors of this shape: fp32 where they differ, or have none."""
        stored = {tensor.dtype for tensor in self.tensors.values() if tensor.shape == shape}
        names = {SAFETENSORS_NAMES.get(dtype, "fp32") for dtype in stored}
        return names.pop() if len(names) == 1 else "fp32"


def read_weights(folder: Path) -> Weights:
    """Read the headers of all weight files of a folder.

    Raises:
        ModelError: a file is missing or damaged, the index does not fit the files, or the weights are quantised.
    """
    places: dict[str, Path] = {}
    tensors: dict[str, TensorHeader] = {}
    files = weight_files(folder)
    for path in files:
        header = read_header(path)
        if twice := places.keys() & header.keys():
            raise damaged(
                path, tr("{tensor} is also in {other}").format(tensor=min(twice), other=places[min(twice)].name)
            )
        tensors |= header
        places |= dict.fromkeys(header, path)
    _check_index(folder, files, places)
    _check_formats(folder, tensors)
    return Weights(tuple(files), tensors, places)


def _check_index(folder: Path, files: list[Path], places: dict[str, Path]) -> None:
    """Every tensor that the index promises lies in the shard that it names."""
    index = None if files[0].name == WEIGHTS else read_json(folder, INDEX)
    for tensor, name in (index or {}).get("weight_map", {}).items():
        if tensor not in places or places[tensor].name != name:
            raise damaged(folder / name, tr("{tensor} is missing from it").format(tensor=tensor))


def _check_formats(folder: Path, tensors: dict[str, TensorHeader]) -> None:
    if not tensors:
        raise ModelError(tr("The weight files in {folder} are empty; download the model again.").format(folder=folder))
    large = [tensor for tensor in tensors.values() if len(tensor.shape) >= 2]
    if any(tensor.dtype not in (*SAFETENSORS_NAMES, "BOOL") for tensor in large):
        raise ModelError(
            tr("The model in {folder} is stored quantised; choose its original, unquantised version.").format(
                folder=folder
            )
        )
