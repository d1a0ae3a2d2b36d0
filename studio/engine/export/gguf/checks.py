"""The certificate of a GGUF file: llama.cpp opens it, and is held against the trained model.

Two questions are kept apart. Is the conversion right? The merge is checked before anything is written (`merge_exact`),
each setting and weight in the file must be the one that was to be written, but for the rounding of its format
(`gguf_settings`, `gguf_weights`), and llama.cpp must compute from the file what a model of ours with the very same
weights computes (`gguf_logits`). And what does the format cost? That is told (`gguf_cost`), beside the same model as
F16, and does not fail a quantised file.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from studio.engine.child import ChildFailed
from studio.engine.control import Progress
from studio.engine.export.certificate import Check
from studio.engine.export.compare import Outputs, compare, largest_logit, relative_difference
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.gguf.architectures import ARCHITECTURES
from studio.engine.export.gguf.asking import Answers, Asking
from studio.engine.export.gguf.cost import Saved, cost_check, present_check, saved
from studio.engine.export.gguf.formats import FORMATS, Format
from studio.engine.export.prefix import Prefix
from studio.engine.export.reference import Reference, logit_tolerance
from studio.engine.export.source import Source
from studio.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# How far llama.cpp's logits may be from those of the same weights in fp32, as a share of their size. It rounds what
# flows into each product: to F16, to BF16, or to 8 bits in blocks of 32, and of 256 for K-quants. Measured on SmolLM2,
# whose large activations such blocks bear badly: 0.001, 0.007, 0.043, 0.066; on tiny models of all architectures at
# most 0.0007, 0.005, 0.018, 0.020. A file with rows in the wrong order is 0.7 apart.
ARITHMETIC = {"F16": 0.005, "BF16": 0.03}
ARITHMETIC_OF_BLOCKS, ARITHMETIC_OF_K_QUANTS = 0.12, 0.2
# And how far those of the same model as F16 may be from the trained model's. What blocks hide, such as another base of
# rotation, shows there. Measured: 0.0015 on SmolLM2, with the rounding of the weights.
F16_APART = 0.01
# Checks that need what a file was made of, or files that lie beside it only then.
MADE = {"gguf_settings", "gguf_weights", "gguf_logits", "delta_present"}


@dataclass(frozen=True)
class Written:
    """What is known of a file that was written just now, and of nothing that is only checked again.

    Attributes:
        read: whether settings and weights in it are those that were to be written.
        logits: those of a model of ours with the weights of the file, at the positions that llama.cpp is asked for;
            None where nothing is rounded, so that the trained model has the same.
        f16: the same model saved as F16; None where the file itself is no quantised one, or llama.cpp does not open it.
    """

    read: tuple[Check, ...]
    logits: torch.Tensor | None = None
    f16: Saved | None = None


def examine(
    source: Source,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    reference: Reference,
    path: Path,
    written: Written | None,
    base: Outputs | None,
    progress: Progress,
) -> tuple[Check, ...]:
    """Open a file in llama.cpp and return every check.

    Args:
        written: None for a file that is checked again; then what only its making can show is left out.
        base: outputs of the base saved in the same format, for a quantised file (`saved`).

    Raises:
        Cancelled: through `progress`.
    """
    known: tuple[Check, ...] = ()
    if reference.merge is not None:
        value, limit = reference.merge.max_logit_difference, logit_tolerance(reference.trained)
        known = (Check.of("merge_exact", value <= limit, value, limit),)
    if written:
        known = (*known, *written.read)
    if reason := llama_cpp.why_not():
        return (*known, _loads(reason, absent=True))
    asking = Asking(source, tokenizer, reference)
    try:
        answers = asking.measure(path, progress)
    except (ExportError, ChildFailed) as error:
        return (*known, _loads(str(error) or type(error).__name__))
    said = answers.said
    return (
        *known,
        _loads(""),
        asking.tokens(said),
        *_logits(source, reference, answers, dtype, written),
        *_cost(reference, answers.outputs, dtype, written, base),
        asking.template(said),
        asking.ends(said),
        *asking.stops(said, answers.outputs),
        asking.answers(said),
    )


def measure_saved(
    source: Source, tokenizer: PreTrainedTokenizerBase, reference: Reference, path: Path, progress: Progress
) -> Saved | None:
    """Return what a file without quantisation has lost; None where llama.cpp does not open it."""
    try:
        answers = Asking(source, tokenizer, reference, brief=True).measure(path, progress)
    except (ExportError, ChildFailed) as error:
        log.warning("%s cannot be measured in llama.cpp: %s", path.name, error)
        return None
    return saved(reference, answers.outputs, None, quantised=False)


def measure_base(
    source: Source, tokenizer: PreTrainedTokenizerBase, reference: Reference, path: Path, progress: Progress
) -> Outputs | None:
    """Return the outputs of the base's file over the first few tokens; None where llama.cpp does not open it."""
    count = len(reference.base.rows)
    few = dataclasses.replace(
        reference,
        prompts=reference.prompts[:count],
        trained=reference.base,
        asked=(),
        prefix=Prefix(tokenizer=tokenizer),
    )
    try:
        outputs = Asking(source, tokenizer, few, brief=True).measure(path, progress).outputs
    except (ExportError, ChildFailed) as error:
        log.warning("The base as %s cannot be measured in llama.cpp: %s", path.name, error)
        return None
    outputs = outputs.over(reference.base)
    fits = outputs.rows[0].shape == reference.base.rows[0].shape
    return outputs if fits else None


def _loads(reason: str, *, absent: bool = False) -> Check:
    return Check.of("gguf_loads", not reason, not reason, reason=" ".join(reason.split())[-300:], absent=absent)


def _logits(
    source: Source, reference: Reference, answers: Answers, dtype: str, written: Written | None
) -> tuple[Check, ...]:
    """Return whether llama.cpp computes what the weights in the file say."""
    if dtype == "f32":
        value, limit = compare(reference.trained, answers.outputs).max_logit_difference, _tolerance(source, reference)
        return (Check.of("gguf_logits", value <= limit, value, limit, exact=True, dtype=dtype),)
    if written is None or written.logits is None:
        return ()
    value = relative_difference(Outputs((written.logits,)), Outputs((answers.logits,)))
    limit, f16 = _arithmetic(FORMATS[dtype]), written.f16.apart if written.f16 else None
    failed = FORMATS[dtype].quantised and f16 is None
    right = value <= limit and not failed and (f16 is None or f16 <= F16_APART)
    evidence = {"exact": False, "dtype": dtype, "f16": f16, "f16_limit": F16_APART, "f16_failed": failed}
    return (Check.of("gguf_logits", right, value, limit, **evidence),)


def _tolerance(source: Source, reference: Reference) -> float:
    """Return by how much logits may differ where nothing was rounded.

    llama.cpp looks GELU up in a table of F16 numbers, which have 11 significant bits.
    """
    table = ARCHITECTURES[str(source.info.shapes.config["model_type"])].activation.startswith("gelu")
    trained = reference.trained
    return max(logit_tolerance(trained), 2**-11 * largest_logit(trained) if table else 0.0)


def _arithmetic(chosen: Format) -> float:
    return ARITHMETIC.get(chosen.weights, ARITHMETIC_OF_K_QUANTS if chosen.k_quant else ARITHMETIC_OF_BLOCKS)


def _cost(
    reference: Reference, outputs: Outputs, dtype: str, written: Written | None, base: Outputs | None
) -> tuple[Check, ...]:
    """Return what the format costs, and whether what was learnt is in the file."""
    quantised = FORMATS[dtype].quantised
    found = saved(reference, outputs, base, quantised=quantised)
    f16 = written.f16 if written else None
    cost = cost_check(found, dtype, f16)
    if not quantised:
        return cost, present_check(reference, found, dtype)
    if written is None:
        return (cost,)
    # Without the F16 file nothing else shows that training is in the weights that were quantised.
    return cost, present_check(reference, f16 or found, "f16" if f16 else dtype, beside=f16 is not None)
