"""A GGUF export: the ordinary model folder first, then the file made of that, and the checks in llama.cpp.

The folder holds fp32 weights, so that a format rounds once. It lies inside the export while that is made, and is
removed afterwards. So is the F16 file beside which a quantisation is measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.control import Progress
from studio.engine.export.base import Target
from studio.engine.export.carry import carry_terms
from studio.engine.export.certificate import Check
from studio.engine.export.compare import Outputs
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.gguf.checks import NOTHING_BESIDE, Beside, examine, measure_base, measure_loss
from studio.engine.export.gguf.convert import convert
from studio.engine.export.gguf.formats import FORMATS
from studio.engine.export.gguf.modelfile import Modelfile, make_modelfile
from studio.engine.export.gguf.ollama import MODELFILE
from studio.engine.export.reference import Reference
from studio.engine.export.source import Source
from studio.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORK = ".work"
WritePlain = Callable[[Path], Reference]


def make(
    source: Source,
    target: Target,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    write_plain: WritePlain,
    place: Path,
    progress: Progress,
) -> tuple[Reference, tuple[Check, ...]]:
    """Write the file into `place` and check it.

    Args:
        write_plain: writes the finished model as an ordinary folder with fp32 weights, and returns the reference.

    Raises:
        ExportError: llama.cpp knows no such model or tokenizer.
        Cancelled: through `progress`.
    """
    work = place / WORK
    work.mkdir()
    try:
        reference = write_plain(work)
        name = file_name(source, dtype)
        plan = convert(work, place / name, dtype, source.name, progress)
        adds_bos = plan.vocabulary.add_bos
        beside = NOTHING_BESIDE
        if FORMATS[dtype].quantised and not llama_cpp.why_not():
            convert(work, work / "f16.gguf", "f16", source.name, progress)
            f16 = measure_loss(source, tokenizer, reference, work / "f16.gguf", progress)
            (work / "f16.gguf").unlink()
            beside = Beside(f16, _measure_base(source, dtype, tokenizer, reference, work / "base.gguf", progress))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    carry_terms(source.base, place)
    checks = examine(source, dtype, tokenizer, reference, place / name, beside, progress)
    if target.name == "ollama":
        told = make_modelfile(source, tokenizer, reference.prefix, name, adds_bos=adds_bos)
        (place / MODELFILE).write_text(told.text(), encoding="utf-8")
        checks = (*checks, ollama_check(told))
    return reference, checks


def ollama_check(told: Modelfile) -> Check:
    """Return whether Ollama is told how to write a conversation, and what else it is told."""
    return Check.of("ollama_template", told.template is not None, told.template is not None, stops=list(told.stops))


def file_name(source: Source, dtype: str) -> str:
    """Return what the file is called: the model and the format, as is customary."""
    return f"{source.name.rpartition('/')[2]}-{dtype.upper()}.gguf"


def _measure_base(
    source: Source,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    reference: Reference,
    path: Path,
    progress: Progress,
) -> Outputs | None:
    """Return the outputs of the base in the same format; None where its folder has it under other names."""
    try:
        convert(source.base, path, dtype, source.name, progress)
    except ExportError:
        return None
    return measure_base(source, tokenizer, reference, path, progress)
