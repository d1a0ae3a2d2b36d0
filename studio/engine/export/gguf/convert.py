"""From an ordinary model folder to one GGUF file, tensor by tensor, so that a model larger than memory passes too."""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.control import Progress, no_progress
from studio.engine.export.gguf import k_quants
from studio.engine.export.gguf.architectures import (
    Architecture,
    Config,
    architecture_of,
    head_dim,
    layer_count,
    rope_tensors,
    write_parameters,
)
from studio.engine.export.gguf.formats import FORMATS, Format
from studio.engine.export.gguf.layout import Layout, Tensor, Weights, quantise
from studio.engine.export.gguf.vocabulary import Vocabulary, read_vocabulary
from studio.errors import ExportError
from studio.files import is_file
from studio.i18n import tr

if TYPE_CHECKING:
    import torch

# GGUF aligns tensors to so many bytes.
_ALIGNMENT = 32
# Buffers that older files keep beside the weights.
_NOT_WEIGHTS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
_EXPERT = re.compile(r"\.experts\.(\d+)\.(\w+)\.weight$")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about a file but the weights themselves.

    Attributes:
        sums: CRC-32 of the bytes that were written for each tensor; () before that.
    """

    config: Config
    architecture: Architecture
    format: Format
    vocabulary: Vocabulary
    name: str
    tensors: tuple[Tensor, ...]
    sums: tuple[int, ...] = ()

    @property
    def layout(self) -> Layout:
        """How the numbers of its weights are ordered."""
        return Layout(self.architecture, head_dim(self.config))

    def writer(self) -> Any:
        """Return a `gguf.GGUFWriter` with all keys, and what is to be known of each tensor."""
        import numpy as np
        from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter

        writer = GGUFWriter(None, self.architecture.name)
        writer.add_type("model")
        writer.add_name(self.name)
        writer.add_file_type(self.format.file_type)
        writer.add_quantization_version(GGML_QUANT_VERSION)
        write_parameters(writer, self.config, self.architecture)
        self.vocabulary.write(writer)
        for tensor in self.tensors:
            # The shape is that of the numbers: gguf would take the one of bytes where it is told of bytes.
            kind = GGMLQuantizationType[tensor.type]
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, raw_dtype=kind)
        return writer

    def bytes(self) -> int:
        """Return the size of the file."""
        writer = self.writer()
        keys = sum(
            len(writer._pack_val(key, _STRING, add_vtype=False))
            + len(writer._pack_val(value.value, value.type, add_vtype=True, sub_type=value.sub_type))
            for key, value in writer.kv_data[0].items()
        )
        names = sum(24 + 8 * len(tensor.shape) + len(tensor.name.encode()) for tensor in self.tensors)
        head = 24 + keys + names
        return head + -head % _ALIGNMENT + sum(size + -size % _ALIGNMENT for size in (t.bytes for t in self.tensors))


_STRING = 8  # `GGUFValueType.STRING`


def convert(folder: Path, path: Path, dtype: str, name: str, progress: Progress = no_progress) -> Plan:
    """Write the model in `folder` as one GGUF file, and return what was written.

    Args:
        folder: an ordinary model folder with safetensors.
        dtype: one of `FORMATS`.
        name: what the model is called in the file.

    Raises:
        ExportError: llama.cpp knows no such model or tokenizer, or this machine cannot write such a format.
        Cancelled: through `progress`.
    """
    plan = plan_file(folder, dtype, name)
    writer = plan.writer()
    weights = Weights(folder)
    computed = rope_tensors(plan.config)
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        sums, done, total = [], 0, sum(tensor.bytes for tensor in plan.tensors)
        for tensor in plan.tensors:
            progress("converting", done, total)
            values = computed[tensor.name] if not tensor.sources else weights.read(tensor, plan.layout)
            data = quantise(values, tensor.type)
            sums.append(zlib.crc32(data.data))
            writer.write_tensor_data(data)
            done += tensor.bytes
        progress("converting", total, total)
    finally:
        writer.close()
    return dataclasses.replace(plan, sums=tuple(sums))


def plan_file(folder: Path, dtype: str, name: str) -> Plan:
    """Return what `convert` will write. Raises `ExportError`."""
    from studio.engine.models.config import load_config

    chosen = FORMATS[dtype]
    if chosen.k_quant and (reason := k_quants.why_not()):
        raise ExportError(reason)
    config = load_config(folder).to_dict()
    shapes = Weights(folder).shapes
    return make_plan(config, shapes, read_vocabulary(folder, rows_of(shapes)), chosen, name)


def make_plan(
    config: Config, shapes: dict[str, tuple[int, ...]], vocabulary: Vocabulary, chosen: Format, name: str
) -> Plan:
    """Return the plan of a model with tensors of these shapes, by their names in its folder. Raises `ExportError`."""
    architecture = architecture_of(config)
    tensors = [*_computed(config), *_tensors(config, architecture, shapes, chosen)]
    return Plan(
        config=config | {"vocab_size": len(vocabulary.tokens)},
        architecture=architecture,
        format=chosen,
        vocabulary=vocabulary,
        name=name,
        tensors=tuple(tensors),
    )


def _computed(config: Config) -> Iterator[Tensor]:
    for name, values in rope_tensors(config).items():
        yield Tensor(name=name, shape=values.shape, type="F32")


def rows_of(shapes: dict[str, tuple[int, ...]]) -> int:
    embedding = next(name for name in shapes if name.endswith(("embed_tokens.weight", "wte.weight")))
    return shapes[embedding][0]


def _tensors(
    config: Config, architecture: Architecture, shapes: dict[str, tuple[int, ...]], chosen: Format
) -> Iterator[Tensor]:
    """Yield the tensors of the file in the order of the folder's; experts come as one tensor a layer."""
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    layers = layer_count(config)
    number = next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES.get(arch) == architecture.name)
    names = get_tensor_name_map(number, layers)

    def named(source: str) -> str:
        found: str | None = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ExportError(
                tr("llama.cpp knows no weight like {name} in this model, so it cannot be written as GGUF.").format(
                    name=source
                )
            )
        return found

    def stored(name: str, shape: tuple[int, ...], *sources: str, part: tuple[int, int] = (0, 1)) -> Tensor:
        kind = chosen.type_of(name, shape, layers)
        return Tensor(name=name, shape=shape, type=kind, sources=sources, part=part)

    tied = bool(config.get("tie_word_embeddings"))
    experts: dict[str, dict[int, str]] = {}
    for source, shape in shapes.items():
        if source.endswith(_NOT_WEIGHTS) or (tied and source == "lm_head.weight"):
            continue
        if found := _EXPERT.search(source):
            merged = source[: found.start()] + f".experts.{found[2]}.weight"
            experts.setdefault(merged, {})[int(found[1])] = source
        elif source.endswith(("input_linear.weight", "experts.gate_up_proj")):
            rows = (*shape[:-2], shape[-2] // 2, shape[-1])
            for half, kind in enumerate(_halves(source, named)):
                yield stored(kind, rows, source, part=(half, 2))
        else:
            turned = shape[::-1] if source.endswith(architecture.transposed or ("\0",)) else shape
            name = named(source if source.endswith((".weight", ".bias")) else f"{source}.weight")
            yield stored(name, turned, source)
    for merged, sources in experts.items():
        ordered = [sources[number] for number in sorted(sources)]
        # Mixtral's three have other names in the map, under which it knows experts that lie together.
        name = named(
            merged.replace("model.layers", "layers").replace("block_sparse_moe", "feed_forward")
            if "block_sparse_moe" in merged
            else merged
        )
        yield stored(name, (len(ordered), *shapes[ordered[0]]), *ordered)


def _halves(source: str, named: Any) -> tuple[str, str]:
    """Return the names of the gate and of the upward projection, which some models keep in one tensor."""
    layer = next(part for part in source.split(".") if part.isdecimal())
    shared = "shared_mlp" in source
    ending = "_shexp" if shared else "_exps"
    return f"blk.{layer}.ffn_gate{ending}.weight", f"blk.{layer}.ffn_up{ending}.weight"


def read_plain_tensors(path: Path) -> Iterator[torch.Tensor]:
    """Yield the tensors of a GGUF file that are stored as ordinary numbers, not in blocks."""
    import torch
    from gguf import GGUFReader

    for tensor in GGUFReader(path).tensors:
        if tensor.tensor_type.name in ("F32", "F16"):
            yield torch.from_numpy(tensor.data.copy())


def find_file(folder: Path) -> Path:
    """Return the GGUF file of an export. Raises `ExportError`."""
    found = sorted(filter(is_file, folder.glob("*.gguf")))
    if len(found) != 1:
        raise ExportError(tr("{folder} has no single GGUF file.").format(folder=folder))
    return found[0]
