"""Whether an export is made of whole models in memory, or part by part; and whether there is memory for it."""

from __future__ import annotations

from collections import Counter

import psutil

from studio.engine.dtypes import BYTES
from studio.engine.export import TARGETS
from studio.engine.export.base import Target
from studio.engine.export.compare import KEPT_BYTES
from studio.engine.export.prompts import ROWS
from studio.engine.export.source import Source
from studio.engine.models.info import ModelInfo
from studio.engine.models.shapes import ModelShapes, layer_number
from studio.errors import ExportError
from studio.i18n import sentences, tr
from studio.text.numbers import size_text

# Bytes a parameter: the model in fp32, and what is in work. A merge also holds the base's weights in their own format.
# Measured on SmolLM2, beside the outputs: 6.6 for a base in bf16, and 7.2 in fp32, where nothing is rounded.
_MODEL = 5
# Whole models are taken where they need no more than this share of the memory that is free.
_COMFORTABLE = 0.5
# Outputs that are held at a time, beside those that are being compared.
_OUTPUTS = 4


def needs_parts(source: Source, target: Target) -> bool:
    """Return whether the export has to be made part by part.

    Raises:
        ExportError: there is not enough memory for it.
    """
    memory = psutil.virtual_memory()
    free = memory.available
    whole = whole_bytes(source.info, merged=target.plain_model)
    if whole <= _COMFORTABLE * free or (whole <= free and not target.by_parts):
        return False
    needed = part_bytes(source.info.shapes) if target.by_parts else whole
    if needed > memory.total:
        raise ExportError(_too_large(source, target, needed, memory.total))
    if needed > free:
        raise ExportError(
            tr("The export needs about {needed} of memory and {free} are free; close other programs.").format(
                needed=size_text(needed), free=size_text(free)
            )
        )
    return True


def _too_large(source: Source, target: Target, needed: int, total: int) -> str:
    """Say that the export does not fit into this computer at all, and what would."""
    words = tr(
        "Exported as {target}, this model needs about {needed} of memory and this computer has {total}; "
        "use a computer with more."
    ).format(target=target.name, needed=size_text(needed), total=size_text(total))
    in_parts = part_bytes(source.info.shapes)
    others = [other.name for other in TARGETS if other.by_parts and not other.refuse(source.method)]
    if target.by_parts or not others or in_parts > total:
        return words
    advice = tr("Exported as {targets}, it needs {size}.")
    return sentences((words, advice.format(targets=tr(" or ").join(others), size=size_text(in_parts))))


def whole_bytes(info: ModelInfo, *, merged: bool) -> int:
    """Return the bytes of memory that an export of whole models takes, with the outputs that it compares."""
    each = _MODEL + (BYTES.get(info.dtype, 4) if merged else 0)
    return int(info.parameters * each) + ROWS * KEPT_BYTES


def part_bytes(shapes: ModelShapes) -> int:
    """Return the bytes of memory that an export part by part takes at most.

    The largest part is in fp32 before and after merging, and as its file has it; and there are the outputs.
    """
    parts: Counter[object] = Counter()
    for name in shapes.tensors:
        number = layer_number(name)
        parts[name if number is None else number] += shapes.size(name)
    return 10 * max(parts.values()) + _OUTPUTS * ROWS * KEPT_BYTES
