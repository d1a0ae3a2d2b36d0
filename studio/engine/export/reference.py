"""What an export is measured against: the base, and base + trained part in fp32, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from studio.engine.control import Progress
from studio.engine.dtypes import DTYPES, torch_dtype
from studio.engine.export.base import Target
from studio.engine.export.compare import EQUAL, Comparison, Extra, Outputs, compare, largest_logit, record
from studio.engine.export.merge import (
    NOTHING_LOST,
    DeltaLoss,
    cast,
    copy_weights,
    fingerprint_weights,
    round_weights,
    save_formats,
)
from studio.engine.export.prefix import Prefix
from studio.engine.export.prompts import Prompt, choose_prompts
from studio.engine.export.rounded_base import is_rounded, round_base
from studio.engine.export.source import Source
from studio.engine.export.stopping import TaughtStops
from studio.engine.models.load import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# fp32 adds in another order, so that the logits of two equal models differ a little: by up to LOGIT_TOLERANCE, or in
# models with large logits by up to this share of the largest one (measured: 4e-6 after 28 layers).
LOGIT_TOLERANCE = 1e-3
RELATIVE_TOLERANCE = 1e-5


def logit_tolerance(trained: Outputs) -> float:
    """Return by how much the logits of two equal models may differ."""
    # max() passes over a NaN that stands second, so a NaN among the logits allows nothing more.
    return max(LOGIT_TOLERANCE, RELATIVE_TOLERANCE * largest_logit(trained))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The measurements that an export has to live up to.

    Attributes:
        prefix: tokens that the export has and the base has not, in front of every row.
        base, trained: outputs of the base as the run saw it, and of that + trained part, unmerged and in fp32.
        quantisation: the base as the run saw it against the base as its files have it; None where both are the same.
        stops: of a model that does not fit into memory, where base + trained part would end the held-out answers.
        merge: the merged model in fp32, before rounding, against `trained`; None when nothing is merged.
        rounding: what rounding the merged model to the save format alone does to its outputs, in memory; nothing
            for fp32, and nothing where the merge is wrong.
        delta: what that rounding does to the change of the weights.
        weights: SHA-256 of each finished weight that is to be written, by name; None when an export is checked again.
    """

    prompts: tuple[Prompt, ...]
    prefix: Prefix
    base: Outputs
    trained: Outputs
    quantisation: Comparison | None
    stops: TaughtStops | None
    merge: Comparison | None
    rounding: Comparison
    delta: DeltaLoss
    weights: dict[str, str] | None

    @property
    def extra_of_export(self) -> Extra:
        """How the export's outputs are recorded, so that they can be compared with these."""
        return Extra(opening=self.prefix.ids, left_out=self.prefix.ids)


def gather(
    source: Source, target: Target, dtype: str, prefix: Prefix, tokenizer: PreTrainedTokenizerBase, progress: Progress
) -> tuple[Reference, nn.Module]:
    """Measure base and base + trained part, and return that with the finished model, cast to the save format.

    One model is in memory at a time, and while merging a copy of the base's weights in the format of its files.
    """
    prompts = choose_prompts(source, tokenizer, progress)
    rows = [prompt.ids for prompt in prompts]
    model = load_model(source.base, "fp32", progress)
    # New tokens may take rows that the base has and its tokenizer does not use; their logits are not compared.
    known = model.get_output_embeddings().weight.shape[0]
    unused = Extra(left_out=tuple(token for token in prefix.ids if token < known))
    base = record(model, rows, progress, "merging", unused)
    quantisation = None
    if is_rounded(source):
        round_base(model, source.config.precision.base_dtype)
        original, base = base, record(model, rows, progress, "merging", unused)
        quantisation = compare(original, base)
        del original
    stored = source.info.dtype if source.info.dtype in DTYPES else "fp32"
    before = copy_weights(model, torch_dtype(stored)) if target.plain_model else {}
    loaded = source.method.load(model, source.folder.adapter)
    trained = record(loaded, rows, progress, "merging", unused)
    merge, rounding, delta, finished = None, EQUAL, NOTHING_LOST, loaded
    if target.plain_model:
        finished = finished_model(source, loaded, target, tokenizer)
        extra = Extra(opening=prefix.ids, left_out=prefix.ids)
        merge = compare(trained, record(finished, rows, progress, "merging", extra))
        formats = save_formats(finished, torch_dtype(dtype))
        delta = round_weights(finished, before, formats)
        if dtype != "fp32" and merge.max_logit_difference <= logit_tolerance(
            trained
        ):  # a wrong merge may not excuse itself
            rounding = compare(trained, record(finished, rows, progress, "merging", extra))
        cast(finished, formats)
    reference = Reference(
        prompts=prompts,
        prefix=prefix,
        base=base,
        trained=trained,
        quantisation=quantisation,
        stops=None,
        merge=merge,
        rounding=rounding,
        delta=delta,
        weights=fingerprint_weights(finished),
    )
    return reference, finished


def trained_model(source: Source, progress: Progress) -> nn.Module:
    """Return base + trained part, unmerged and in fp32. Raises `Cancelled`."""
    model = load_model(source.base, "fp32", progress)
    if is_rounded(source):
        round_base(model, source.config.precision.base_dtype)
    return source.method.load(model, source.folder.adapter)


def finished_model(source: Source, loaded: nn.Module, target: Target, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """Return the plain fp32 model that the target makes of base + trained part."""
    return target.finish(source, loaded, tokenizer).eval()
