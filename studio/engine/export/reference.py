"""What an export is measured against: the base, and base + trained part in fp32, before anything is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from studio.engine.control import Progress
from studio.engine.dtypes import DTYPES, torch_dtype
from studio.engine.export.base import ModelTarget
from studio.engine.export.carry import generation_config, stop_ids
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
from studio.engine.export.prompts import Prompt, answer_ends, choose_prompts
from studio.engine.export.rounded_base import is_rounded, round_base
from studio.engine.export.source import Source
from studio.engine.models.load import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# fp32 adds in another order, so that the logits of two equal models differ a little: by up to LOGIT_TOLERANCE, or in
# models with large logits by up to this share of the largest one (measured: 4e-6 after 28 layers).
LOGIT_TOLERANCE = 1e-3
RELATIVE_TOLERANCE = 1e-5
# Tokens over which the base and the merge are measured. A wrong merge, and what training did, show at every token.
FEW_TOKENS = 128


def logit_tolerance(trained: Outputs) -> float:
    """Return by how much the logits of two equal models may differ."""
    # max() passes over a NaN that stands second, so a NaN among the logits allows nothing more.
    return max(LOGIT_TOLERANCE, RELATIVE_TOLERANCE * largest_logit(trained))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The measurements that an export has to live up to.

    Attributes:
        prefix: tokens that the export has and the base has not, in front of every row.
        asked: for each prompt that ends in an answer's end, its number and the position in front of that end.
        trained: outputs of base + trained part, unmerged and in fp32.
        base: outputs of the base as the run saw it, over the first few tokens of the prompts.
        quantisation: the base as the run saw it against the base as its files have it; None where both are the same.
        merge: the merged model in fp32, before rounding, against `trained`; None when nothing is merged, and as long
            as it is not measured.
        rounding: what rounding the merged model to the save format alone does to its outputs; nothing for fp32, and
            nothing where the merge is wrong, or as long as it is not measured.
        delta: what that rounding does to the change of the weights.
        weights: a hash of each finished weight that is to be written, by name; None where that is not read back.
    """

    prompts: tuple[Prompt, ...]
    asked: tuple[tuple[int, int], ...]
    prefix: Prefix
    base: Outputs
    trained: Outputs
    quantisation: Comparison | None
    merge: Comparison | None
    rounding: Comparison
    delta: DeltaLoss
    weights: dict[str, str] | None

    @property
    def extra_of_export(self) -> Extra:
        """How the export's outputs are recorded, so that they can be compared with these."""
        return Extra(opening=self.prefix.ids, left_out=self.prefix.ids)

    def few(self, outputs: Outputs) -> Outputs:
        """Return the outputs over those tokens over which the base was measured."""
        return outputs.over(self.base)

    def with_rounding(self, found: Comparison, dtype: str) -> Reference:
        """Return these measurements with that of rounding; the same where the merge is wrong.

        Args:
            found: a model whose weights are, bit for bit, the merged ones rounded to `dtype`, against `trained`.
        """
        exact = self.merge is not None and self.merge.max_logit_difference <= logit_tolerance(self.trained)
        return dataclasses.replace(self, rounding=found) if exact and dtype != "fp32" else self


def gather(
    source: Source,
    target: ModelTarget,
    dtype: str,
    prefix: Prefix,
    tokenizer: PreTrainedTokenizerBase,
    progress: Progress,
    *,
    read_back: bool,
) -> tuple[Reference, nn.Module]:
    """Measure base and base + trained part, and return that with the finished model, cast to the save format.

    One model is in memory at a time, and while merging a copy of the base's weights in the format of its files.

    Args:
        read_back: whether what is written will be opened again and measured. If it has, bit for bit, the weights
            that were to be written, it tells what the rounding does, and in fp32, where nothing is rounded, how exact
            the merge is. Otherwise that is measured here.
    """
    prompts = choose_prompts(source, tokenizer, progress)
    rows = [prompt.ids for prompt in prompts]
    asked = answer_ends(prompts, stop_ids(generation_config(source, tokenizer, prefix)))
    model = load_model(source.base, "fp32", progress)
    # New tokens may take rows that the base has and its tokenizer does not use; their logits are not compared.
    known = model.get_output_embeddings().weight.shape[0]
    unused = Extra(left_out=tuple(token for token in prefix.ids if token < known))
    base = record(model, rows, progress, "merging", unused, tokens=FEW_TOKENS)
    quantisation = None
    if is_rounded(source):
        round_base(model, source.config.precision.base_dtype)
        original, base = base, record(model, rows, progress, "merging", unused, tokens=FEW_TOKENS)
        quantisation = compare(original, base)
        del original
    stored = source.info.dtype if source.info.dtype in DTYPES else "fp32"
    before = copy_weights(model, torch_dtype(stored)) if target.plain_model and dtype != "fp32" else {}
    loaded = source.method.load(model, source.folder.adapter)
    trained = record(loaded, rows, progress, "merging", unused, asked)
    merge, delta, finished, rounded = None, NOTHING_LOST, loaded, None
    if target.plain_model:
        finished = finished_model(source, loaded, target, tokenizer)
        extra = Extra(opening=prefix.ids, left_out=prefix.ids)
        if not (read_back and dtype == "fp32"):
            merged = record(finished, rows, progress, "merging", extra, tokens=FEW_TOKENS)
            merge = compare(trained.over(merged), merged)
            del merged
        formats = save_formats(finished, torch_dtype(dtype))
        delta = round_weights(finished, before, formats)
        if not read_back and dtype != "fp32":
            rounded = record(finished, rows, progress, "merging", extra)
        cast(finished, formats)
    reference = Reference(
        prompts=prompts,
        asked=asked,
        prefix=prefix,
        base=base,
        trained=trained,
        quantisation=quantisation,
        merge=merge,
        rounding=EQUAL,
        delta=delta,
        weights=fingerprint_weights(finished) if read_back else None,
    )
    return reference.with_rounding(compare(trained, rounded), dtype) if rounded else reference, finished


def trained_model(source: Source, progress: Progress) -> nn.Module:
    """Return base + trained part, unmerged and in fp32. Raises `Cancelled`."""
    model = load_model(source.base, "fp32", progress)
    if is_rounded(source):
        round_base(model, source.config.precision.base_dtype)
    return source.method.load(model, source.folder.adapter)


def finished_model(
    source: Source, loaded: nn.Module, target: ModelTarget, tokenizer: PreTrainedTokenizerBase
) -> nn.Module:
    """Return the plain fp32 model that the target makes of base + trained part."""
    return target.finish(source, loaded, tokenizer).eval()
