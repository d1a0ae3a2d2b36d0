"""The checks of a certificate: an export, opened from disk, against what it should be (DESIGN.md 3.4).

How the limits are found. An export is right when it is base + trained part, rounded once. Three things are
therefore measured separately, so that each limit can be tight and an honest export in 16 bits still passes:

1. The merge. Merged in fp32 and before any rounding, the model must answer like base + trained part up to the order
   of additions: `merge_exact`, 1e-3. A missing adapter, a wrong scale or a wrong layer shows here, however coarse
   the save format is.
2. The rounding. Its honest price is measured on the merged model in memory, on the same rows. It depends on model
   and format (SmolLM2: 0.1 in fp16 and 1 in bf16, on logits) and no constant would fit all.
3. The files. What was opened from disk must have the very bits that were to be written (`weights_as_written`), and
   must answer like base + trained part up to twice that price plus the fp32 tolerance of 1e-3. For fp32 the price is
   zero, and one formula serves all formats.

Two judges stay absolute. KL may in no case exceed `WORST_KL`: beyond it a format does not hold this model, honest or
not. And at least half of the effect of training on the logits must have arrived (`delta_present`), measured as a
projection, for which rounding noise hardly counts. That can fail an export without a fault in it: where training
changed the weights by less than the format can tell apart, most of them are the base's own again, and what would be
passed on is not the trained model (SmolLM2, stored and saved in bf16: of an effect of 6e-6 nats 58 % arrive, of one
of 7e-7 nats 28 %).

Arithmetic is fp32 throughout, with the weights as the files hold them: what is judged is the export, not the
arithmetic of the machine that happens to check it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.control import Progress
from studio.engine.export.base import Target
from studio.engine.export.carry import GENERATION_CONFIG, stop_ids
from studio.engine.export.certificate import Check
from studio.engine.export.checks.carried import carried_checks, read_json
from studio.engine.export.checks.outputs import output_checks
from studio.engine.export.checks.stop import generate, never_generated, stop_check
from studio.engine.export.checks.weights import unloadable, weight_checks
from studio.engine.export.compare import record
from studio.engine.export.merge import release
from studio.engine.export.reference import Reference
from studio.engine.export.source import Source
from studio.errors import StudioError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def examine(
    source: Source,
    target: Target,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    reference: Reference,
    folder: Path,
    progress: Progress,
) -> tuple[Check, ...]:
    """Open the export in `folder` from disk and return every check. Raises `Cancelled`."""
    carried = carried_checks(source, tokenizer, reference.prefix, folder)
    try:
        reloaded = target.reload(source, folder)
    except StudioError:
        raise  # about the base, not about the export
    except Exception as error:  # noqa: BLE001  # a damaged folder makes the libraries raise anything; it is reported
        return (unloadable(error), *carried)
    weights = weight_checks(reloaded, reference.weights, dtype)
    model = reloaded.model.float()
    extra = reference.extra_of_export
    outputs = record(model, [prompt.ids for prompt in reference.prompts], progress, "verifying", extra)
    ends = stop_ids(read_json(folder / GENERATION_CONFIG) or {})
    stops, limit = generate(model, reference, ends, progress)
    answered = record(model, [(*stops.prompt.ids[: stops.prompt.answer], *stops.answer)], progress, "verifying", extra)
    release(model)
    return (
        *weights,
        *output_checks(reference, outputs, dtype, source.config.precision.base_dtype),
        *never_generated(answered, outputs, stops, reference),
        *carried,
        stop_check(stops, reference.stops, limit),
    )
