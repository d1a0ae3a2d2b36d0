"""The checks of a certificate: an export, opened from disk, against what it should be (DESIGN.md 3.4).

An export is right when it is base + trained part, rounded once. Three errors are measured separately, so that each
limit is tight and a correct export in 16 bits still passes:

1. The merge, in fp32 before any rounding: it must answer like base + trained part within 1e-3, or within 1e-5 of the
   largest logit where that is more (`merge_exact`). A missing adapter, a wrong scale or a wrong layer shows here in
   every save format. In fp32, where nothing is rounded, it is measured on what was opened from disk, if that has, bit
   for bit, the merged weights.
2. The rounding. It depends on model and format (SmolLM2: 0.1 in fp16 and 1 in bf16, on logits), so that no constant
   fits all. For fp32 it is zero. Where what was opened from disk has, bit for bit, the rounded weights, its outputs
   are those of rounding alone; an export that is checked again is compared with the rounding measured in memory.
3. The files. What was opened from disk must have the bits that were to be written (`weights_as_written`), and must
   answer like base + trained part within twice the rounding error plus that.

Two limits do not depend on the rounding. KL may not exceed `WORST_KL`: beyond it, the format is too coarse for this
model. At least half of the effect of training on the logits must be there (`delta_present`), measured as a
projection, which rounding noise hardly changes. A faultless export fails this where training changed the weights by
less than the format can represent (SmolLM2, stored and saved in bf16: 58 % of an effect of 6e-6 nats is there, 28 % of
one of 7e-7 nats).

All arithmetic is fp32, with the weights as the files hold them, so that the result does not depend on the machine.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.control import Progress
from studio.engine.export import stopping
from studio.engine.export.base import ModelTarget
from studio.engine.export.carry import generation_config, stop_ids
from studio.engine.export.certificate import Check
from studio.engine.export.checks.carried import carried_checks
from studio.engine.export.checks.files import read_table
from studio.engine.export.checks.outputs import output_checks
from studio.engine.export.checks.stop import answer, never_generated
from studio.engine.export.checks.weights import unloadable, weight_checks
from studio.engine.export.compare import compare, record
from studio.engine.export.merge import count_non_finite, fingerprint_weights, release
from studio.engine.export.reference import Reference, trained_model
from studio.engine.export.source import Source
from studio.engine.models.files import GENERATION_CONFIG
from studio.errors import StudioError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def examine(
    source: Source,
    target: ModelTarget,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    reference: Reference,
    folder: Path,
    progress: Progress,
) -> tuple[Check, ...]:
    """Open the export in `folder` from disk and return every check. Raises `Cancelled`."""
    carried = carried_checks(source, target, dtype, tokenizer, reference.prefix, folder)
    try:
        reloaded = target.reload(source, folder)
    except StudioError:
        raise  # about the base, not about the export
    except Exception as error:  # noqa: BLE001  # a damaged folder makes the libraries raise anything; it is reported
        return (unloadable(error), *carried)
    prints = fingerprint_weights(reloaded.model)
    weights = weight_checks(
        reloaded.problems,
        prints,
        count_non_finite(reloaded.model.state_dict().values()),
        reference.weights,
        dtype,
    )
    model = reloaded.model.float()
    extra = reference.extra_of_export
    rows = [prompt.ids for prompt in reference.prompts]
    began = time.monotonic()
    outputs = record(model, rows, progress, "verifying", extra, reference.asked)
    compared = compare(reference.trained, outputs)
    seconds = max(stopping.PATIENCE, time.monotonic() - began)
    if prints == reference.weights and target.plain_model and reference.merge is None:
        reference = dataclasses.replace(reference, merge=compared)
    if reference.weights is not None and all(check.passed for check in weights):
        reference = reference.with_rounding(compared, dtype)
    ends = (
        stop_ids(read_table(folder / GENERATION_CONFIG) or {}),
        stop_ids(generation_config(source, tokenizer, reference.prefix)),
    )
    stops, stopped = answer(model, lambda: trained_model(source, progress), reference, outputs, ends, seconds, progress)
    silent: tuple[Check, ...] = ()
    if stops and reference.prefix.ids:
        answered = (*stops.prompt.ids[: stops.prompt.answer], *stops.answer)
        silent = (never_generated(record(model, [answered], progress, "verifying", extra), outputs, stops, reference),)
    release(model)
    return (
        *weights,
        *output_checks(reference, outputs, compared, dtype, source.config.precision.base_dtype),
        *silent,
        *carried,
        stopped,
    )
