"""A GGUF export: the ordinary model folder first, then the file made of that, and the checks in llama.cpp.

The folder holds fp32 weights, so that a format rounds once. It lies inside the export while that is made, and is
removed afterwards. So is the F16 file beside which a quantisation is measured.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.control import Progress
from studio.engine.export.carry import carry_terms
from studio.engine.export.certificate import Check
from studio.engine.export.compare import Outputs
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.gguf.asking import Rows
from studio.engine.export.gguf.checks import Written, examine, measure_base, measure_saved
from studio.engine.export.gguf.convert import convert
from studio.engine.export.gguf.formats import FORMATS
from studio.engine.export.gguf.modelfile import Modelfile, make_modelfile
from studio.engine.export.gguf.ollama import MODELFILE
from studio.engine.export.gguf.written import check_settings, check_weights, written_logits
from studio.engine.export.reference import Reference
from studio.engine.export.source import Source
from studio.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from studio.engine.export.targets.gguf import Gguf

log = logging.getLogger(__name__)

WORK = ".work"
WritePlain = Callable[[Path], Reference]


def make(
    source: Source,
    target: Gguf,
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
        read = check_settings(place / name, plan), check_weights(work, place / name, plan, progress)
        written, base = Written(read), None
        if not llama_cpp.why_not():
            logits, f16 = None, None
            if dtype != "f32":
                logits = written_logits(work, place / name, plan, Rows.of(reference), progress)
            if FORMATS[dtype].quantised:
                convert(work, work / "f16.gguf", "f16", source.name, progress)
                f16 = measure_saved(source, tokenizer, reference, work / "f16.gguf", progress)
                (work / "f16.gguf").unlink()
                base = base_outputs(source, dtype, tokenizer, reference, work, progress)
            written = Written(read, logits, f16)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    carry_terms(source.base, place)
    checks = examine(source, dtype, tokenizer, reference, place / name, written, base, progress)
    if target.modelfile:
        told = make_modelfile(source, tokenizer, reference.prefix, name, adds_bos=plan.vocabulary.add_bos)
        (place / MODELFILE).write_text(told.text(), encoding="utf-8")
        checks = (*checks, ollama_check(told))
    return reference, checks


def ollama_check(told: Modelfile) -> Check:
    """Return whether Ollama is told how to write a conversation, and what else it is told."""
    return Check.of("ollama_template", told.template is not None, told.template is not None, stops=list(told.stops))


def file_name(source: Source, dtype: str) -> str:
    """Return what the file is called: the model and the format, as is customary. A Modelfile has it in a line."""
    name = re.sub(r"[^\w.+-]+", "-", source.name.rpartition("/")[2])
    return f"{name}-{dtype.upper()}.gguf"


def base_outputs(
    source: Source,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    reference: Reference,
    work: Path,
    progress: Progress,
) -> Outputs | None:
    """Return the outputs of the base in the same format, over the first few tokens; None where that cannot be had.

    Args:
        work: a folder for the base's file, which is not kept.
    """
    path = work / f"base-{dtype}.gguf"
    try:
        convert(source.base, path, dtype, source.name, progress)
    except ExportError as error:  # its folder has the weights under names that only transformers knows
        log.info("The base cannot be converted as its folder has it: %s", error)
        return None
    found = measure_base(source, tokenizer, reference, path, progress)
    path.unlink()
    return found
