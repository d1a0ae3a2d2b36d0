"""What an export is measured against: the base, and base + trained part in fp32, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from studio.engine.control import Progress
from studio.engine.export import stopping
from studio.engine.export.base import Target
from studio.engine.export.carry import generation_config, stop_ids
from studio.engine.export.compare import EQUAL, Comparison, Outputs, compare, record
from studio.engine.export.merge import NOTHING_LOST, DeltaLoss, copy_weights, print_weights, round_weights
from studio.engine.export.prompts import Prompt
from studio.engine.export.source import Source
from studio.engine.export.stopping import Stops, first_stop
from studio.engine.models.load import DTYPES, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The same sums in another order: what fp32 arithmetic itself leaves open between two equal models. The bound on KL
# is the one that follows from it (KL ≤ ε²/2 when no logit differs by more than ε), with room for its own arithmetic.
LOGIT_TOLERANCE = 1e-3
KL_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The measurements that an export has to live up to.

    Attributes:
        base, trained: outputs of the base, and of base + trained part, unmerged and in fp32.
        stops: how base + trained part ended an answer; the shortest held-out answers were asked for first.
        merge: the merged model in fp32, before rounding, against `trained`; None when nothing is merged.
        rounding: what rounding the merged model to the save format alone does to its outputs, in memory; nothing
            for fp32, and nothing where the merge is wrong.
        delta: what that rounding does to the change of the weights.
        weights: prints of the finished weights that are to be written; None when nothing is.
    """

    prompts: tuple[Prompt, ...]
    base: Outputs
    trained: Outputs
    stops: Stops
    merge: Comparison | None
    rounding: Comparison
    delta: DeltaLoss
    weights: dict[str, str] | None


def gather(
    source: Source,
    target: Target,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    prompts: tuple[Prompt, ...],
    progress: Progress,
) -> tuple[Reference, nn.Module]:
    """Measure base and base + trained part, and return that with the finished model, cast to the save format.

    One model is in memory at a time, and while merging a copy of the base's weights in the format of its files.
    """
    rows = [prompt.ids for prompt in prompts]
    model = load_model(source.base, "fp32", progress)
    before = copy_weights(model, DTYPES.get(source.info.dtype, torch.float32)) if target.finish else {}
    base = record(model, rows, progress, "merging")
    loaded = source.method.load(model, source.folder.adapter)
    trained = record(loaded, rows, progress, "merging")
    ends = stop_ids(generation_config(source, tokenizer))
    by_answer = sorted(prompts, key=lambda prompt: len(prompt.ids) - prompt.answer)
    stops = first_stop(loaded, by_answer, ends, stopping.LIMIT, progress, "merging")
    merge, rounding, delta, finished = None, EQUAL, NOTHING_LOST, loaded
    if target.finish:
        finished = finished_model(source, loaded, target, tokenizer)
        merge = compare(trained, record(finished, rows, progress, "merging"))
        delta = round_weights(finished, before, DTYPES[dtype])
        if dtype != "fp32" and merge.max_logit_difference <= LOGIT_TOLERANCE:  # a wrong merge may not excuse itself
            rounding = compare(trained, record(finished, rows, progress, "merging"))
        finished = finished.to(DTYPES[dtype])
    reference = Reference(
        prompts=prompts,
        base=base,
        trained=trained,
        stops=stops,
        merge=merge,
        rounding=rounding,
        delta=delta,
        weights=print_weights(finished),
    )
    return reference, finished


def finished_model(source: Source, loaded: nn.Module, target: Target, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """Return the plain fp32 model that the target makes of base + trained part."""
    assert target.finish is not None
    return target.finish(source, loaded, tokenizer).eval()
