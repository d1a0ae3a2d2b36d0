"""What a number format costs a model, apart from whether the file is right.

Two figures decide, each against the trained model over held-out rows. KL divergence has a plain reading: a file that
is KL nats away gives the tokens that the trained model would say exp(-KL) of their probability (geometric mean). Up to
0.05 nats, what every export in 16 bits is held to, that is at least 95 %; at ln 2 it is half. The share of training's
effect that is left tells what KL cannot: whether what was lost is the very thing that the file was made for.

Measured, KL in nats: SmolLM2-135M q8_0 0.007, q6_k 0.02, q4_k_m 0.09, q5_k_m 0.15, q4_0 0.5. Models of seven and more
billion parameters lose a tenth of that, and their 4-bit files are small costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.engine.export.certificate import Check
from studio.engine.export.checks.outputs import PRESENT, WORST_KL, WORST_TOP1
from studio.engine.export.compare import Comparison, Outputs, compare, relative_difference, share_carried
from studio.engine.export.gguf.formats import FORMATS
from studio.engine.export.reference import Reference

SMALL, CLEAR, HEAVY = "small", "clear", "heavy"
# The tokens that the trained model would say have half of their probability.
HEAVY_KL = math.log(2)
# Below it, a fifth of what training did is gone, which is more than a reader of answers overlooks.
SMALL_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A model as a file has it, beside the trained one.

    Attributes:
        loss: the file's outputs in llama.cpp against the trained model's.
        apart: how far these are apart, as a share of the logits' size.
        share: of the effect of training, how much is there; None where that cannot be told.
    """

    loss: Comparison
    apart: float
    share: float | None

    @property
    def level(self) -> str:
        """What it costs: `SMALL`, `CLEAR` or `HEAVY`. A number that is none makes it heavy."""
        kl, top1, share = self.loss.kl_divergence, self.loss.top1_agreement, self.share
        if kl <= WORST_KL and top1 >= WORST_TOP1 and (share is None or share >= SMALL_SHARE):
            return SMALL
        bearable = kl <= HEAVY_KL and top1 >= WORST_TOP1 and (share is None or share >= PRESENT)
        return CLEAR if bearable else HEAVY


def saved(reference: Reference, outputs: Outputs, base: Outputs | None, *, quantised: bool) -> Saved:
    """Return what a file with these outputs has lost.

    Args:
        base: outputs of the base saved in the same format, over the first few tokens. Quantisation moves the outputs
            of both models alike, and often further than training did; what training did is their difference.
        quantised: whether the share is told only where `base` is known.
    """
    trained, few = reference.few(reference.trained), reference.few(outputs)
    share = None
    if base is not None:
        share = share_carried(reference.base, trained, _moved(reference.base, base, few))
    elif not quantised:
        share = share_carried(reference.base, trained, few)
    apart = relative_difference(reference.trained, outputs)
    return Saved(loss=compare(reference.trained, outputs), apart=apart, share=share)


def cost_check(found: Saved, dtype: str, f16: Saved | None) -> Check:
    """Return what the format costs. It fails only where nothing was quantised, or nothing was computed."""
    kl, top1 = found.loss.kl_divergence, found.loss.top1_agreement
    limit = None if FORMATS[dtype].quantised else WORST_KL
    passed = math.isfinite(kl) if limit is None else kl <= limit and top1 >= WORST_TOP1
    return Check.of(
        "gguf_cost",
        passed,
        kl,
        limit,
        dtype=dtype,
        level=found.level,
        top1=top1,
        share=found.share,
        kl_f16=f16.loss.kl_divergence if f16 else None,
        top1_f16=f16.loss.top1_agreement if f16 else None,
        share_f16=f16.share if f16 else None,
    )


def present_check(reference: Reference, found: Saved, dtype: str, *, beside: bool = False) -> Check:
    """Return whether what was learnt is in a file.

    Args:
        beside: whether the file is the one beside a quantised export, since what quantisation takes away is a cost,
            and no error.
    """
    trained = reference.few(reference.trained)
    effect = compare(trained, reference.base)
    share = found.share if found.share is not None else 0.0
    return Check.of(
        "delta_present",
        share >= PRESENT,
        share,
        PRESENT,
        logits=effect.max_logit_difference,
        kl=effect.kl_divergence,
        rounded_to=None if dtype == "f32" else dtype,
        beside=beside,
    )


def _moved(base: Outputs, rounded_base: Outputs, rounded: Outputs) -> Outputs:
    """Return the base's outputs moved as far as training moved those of the quantised base."""
    triples = zip(base.rows, rounded_base.rows, rounded.rows, strict=True)
    return Outputs(tuple(start + (end - begin) for start, begin, end in triples))
