"""Checks of what an export says: its outputs against those of base + trained part. measure.py has the reasoning."""

from __future__ import annotations

import math

from studio.engine.export.certificate import Check
from studio.engine.export.compare import Comparison, Outputs, compare, share_carried
from studio.engine.export.merge import DeltaLoss
from studio.engine.export.reference import Reference, logit_tolerance

# Nats per token. Beyond it the next word is no longer drawn from the same distribution for any practical purpose.
WORST_KL = 0.05
# Smallest share of positions with the same likeliest token, in every format. Below it, the export and the trained
# model differ more often than they agree.
WORST_TOP1 = 0.5
# Share of positions that may find another likeliest token where two are all but equally likely.
TOP1_TOLERANCE = 0.01
# An honest export repeats the rounding measured in memory; twice that leaves room for another order of additions.
SLACK = 2.0
# Share of training's effect that must have arrived: midway between none of it and all of it.
PRESENT = 0.5


def output_checks(
    reference: Reference, outputs: Outputs, found: Comparison, dtype: str, base_dtype: str
) -> tuple[Check, ...]:
    """Return the checks that compare outputs.

    Args:
        outputs: those of the export opened from disk.
        found: these against the reference's.
        dtype: the save format.
        base_dtype: the format in which the run kept the base's frozen weights.
    """
    rounding = reference.rounding
    tolerance = logit_tolerance(reference.trained)
    merge: tuple[Check, ...] = ()
    if reference.merge is not None:
        value = reference.merge.max_logit_difference
        merge = (Check.of("merge_exact", value <= tolerance, value, tolerance),)
    logits = _logits(found, rounding, tolerance, dtype)
    rounded_away = dtype != "fp32" and logits.passed
    return (
        *_quantisation(reference, base_dtype),
        *merge,
        logits,
        _divergence(found, rounding, tolerance, dtype),
        _top1(found, rounding),
        _present(reference, outputs, dtype if rounded_away else None),
        _lost(reference.delta, dtype),
    )


def _quantisation(reference: Reference, base_dtype: str) -> tuple[Check, ...]:
    """Only informs: the rounding was chosen before training, and training has adapted to it."""
    found = reference.quantisation
    if found is None:
        return ()
    value, in_export = found.max_logit_difference, reference.merge is not None
    evidence = {"kl": found.kl_divergence, "base_dtype": base_dtype, "in_export": in_export}
    return (Check.of("quantisation_loss", True, value, None, **evidence),)


def _logits(found: Comparison, rounding: Comparison, tolerance: float, dtype: str) -> Check:
    value, limit = found.max_logit_difference, SLACK * rounding.max_logit_difference + tolerance
    # A NaN fails every comparison, and so fails the check; a limit that is infinite would allow anything.
    return Check.of("max_logit_difference", value <= limit < math.inf, value, limit, dtype=dtype)


def _divergence(found: Comparison, rounding: Comparison, tolerance: float, dtype: str) -> Check:
    # KL ≤ ε²/2 where no logit differs by more than ε.
    value, limit = found.kl_divergence, min(SLACK * rounding.kl_divergence + tolerance**2, WORST_KL)
    too_coarse = rounding.kl_divergence > WORST_KL
    return Check.of("kl_divergence", value <= limit, value, limit, dtype=dtype, too_coarse=too_coarse)


def _top1(found: Comparison, rounding: Comparison) -> Check:
    value = found.top1_agreement
    limit = max(WORST_TOP1, 1.0 - SLACK * (1.0 - rounding.top1_agreement) - TOP1_TOLERANCE)
    return Check.of("top1_agreement", value >= limit, value, limit)


def _present(reference: Reference, outputs: Outputs, rounded_to: str | None) -> Check:
    """`rounded_to` names the save format when rounding to it explains what is missing."""
    trained = reference.few(reference.trained)
    effect = compare(trained, reference.base)
    value = share_carried(reference.base, trained, reference.few(outputs))
    evidence = {"logits": effect.max_logit_difference, "kl": effect.kl_divergence, "rounded_to": rounded_to}
    return Check.of("delta_present", value >= PRESENT, value, PRESENT, **evidence)


def _lost(delta: DeltaLoss, dtype: str) -> Check:
    """Only informs: whether the loss matters is what the outputs tell."""
    error = delta.relative_error
    return Check.of("delta_lost_in_dtype", True, error, dtype=dtype, unchanged=delta.unchanged, severe=error > PRESENT)
