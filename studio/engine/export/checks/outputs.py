"""Checks of what an export says: its outputs against those of base + trained part. measure.py has the reasoning."""

from __future__ import annotations

from studio.engine.export.certificate import Check
from studio.engine.export.compare import Comparison, Outputs, compare, share_carried
from studio.engine.export.merge import DeltaLoss
from studio.engine.export.reference import KL_TOLERANCE, LOGIT_TOLERANCE, Reference
from studio.i18n import tr

# Nats per token. Beyond it the next word is no longer drawn from the same distribution for any practical purpose.
WORST_KL = 0.05
# Share of positions that may find another likeliest token where two are all but equally likely.
TOP1_TOLERANCE = 0.01
# An honest export repeats the rounding measured in memory; twice that leaves room for another order of additions.
SLACK = 2.0
# Share of training's effect that must have arrived: midway between none of it and all of it.
PRESENT = 0.5


def output_checks(reference: Reference, outputs: Outputs, dtype: str, base_dtype: str) -> tuple[Check, ...]:
    """Return the checks that compare outputs.

    Args:
        outputs: those of the export opened from disk.
        dtype: the save format.
        base_dtype: the format in which the run kept the base's frozen weights.
    """
    found = compare(reference.trained, outputs)
    rounding = reference.rounding
    merge = () if reference.merge is None else (_merge(reference.merge),)
    logits = _logits(found, rounding, dtype)
    rounded_away = dtype != "fp32" and logits.passed
    return (
        *_quantisation(reference, base_dtype),
        *merge,
        logits,
        _divergence(found, rounding, dtype),
        _top1(found, rounding),
        _present(reference, outputs, dtype if rounded_away else None),
        _lost(reference.delta, dtype),
    )


def _quantisation(reference: Reference, base_dtype: str) -> tuple[Check, ...]:
    """Only informs: the rounding was chosen before training, and training has adapted to it."""
    found = reference.quantisation
    if found is None:
        return ()
    if reference.merge is None:
        meaning = tr(
            "The run was trained, and its result is checked, on the base rounded to {base}; load the base in {base} to "
            "use it. Without the training, that rounding alone moves logits by up to {value} (KL {kl} nats)."
        )
    else:
        meaning = tr(
            "The run was trained on the base rounded to {base}, so the rounded weights are those in this export. "
            "Without the training, that rounding alone moves logits by up to {value} (KL {kl} nats)."
        )
    value = found.max_logit_difference
    text = meaning.format(base=base_dtype, value=short(value), kl=short(found.kl_divergence))
    return (Check(name="quantisation_loss", passed=True, value=value, limit=None, meaning=text),)


def _merge(merge: Comparison) -> Check:
    value = merge.max_logit_difference
    passed = value <= LOGIT_TOLERANCE
    meaning = (
        tr("Before rounding, the finished model answers exactly like the trained one, up to the order of additions.")
        if passed
        else tr(
            "The finished model is wrong: before any rounding, its logits differ from the trained model's by up to "
            "{value}."
        )
    )
    return Check(
        name="merge_exact",
        passed=passed,
        value=value,
        limit=LOGIT_TOLERANCE,
        meaning=meaning.format(value=short(value)),
    )


def _logits(found: Comparison, rounding: Comparison, dtype: str) -> Check:
    value, limit = found.max_logit_difference, SLACK * rounding.max_logit_difference + LOGIT_TOLERANCE
    meaning = tr(
        "No score (logit) of the export may differ from the trained model's by more than {limit}, which arithmetic and "
        "rounding to {dtype} explain; the largest difference is {value}."
    )
    return _bounded("max_logit_difference", value, limit, meaning, dtype)


def _divergence(found: Comparison, rounding: Comparison, dtype: str) -> Check:
    value, limit = found.kl_divergence, min(SLACK * rounding.kl_divergence + KL_TOLERANCE, WORST_KL)
    meaning = tr(
        "The export's probabilities for the next token may differ from the trained model's by {limit} nats (KL, mean); "
        "they differ by {value}."
    )
    if rounding.kl_divergence > WORST_KL:
        meaning = tr(
            "{dtype} does not hold this model: rounding alone changes the probabilities of the next token by {value} "
            "nats (KL, mean), where {limit} is allowed; export as fp32."
        )
    return _bounded("kl_divergence", value, limit, meaning, dtype)


def _bounded(name: str, value: float, limit: float, meaning: str, dtype: str) -> Check:
    text = meaning.format(value=short(value), limit=short(limit), dtype=dtype)
    return Check(name=name, passed=value <= limit, value=value, limit=limit, meaning=text)


def _top1(found: Comparison, rounding: Comparison) -> Check:
    value = found.top1_agreement
    limit = max(0.0, 1.0 - SLACK * (1.0 - rounding.top1_agreement) - TOP1_TOLERANCE)
    meaning = tr(
        "The export and the trained model find the same token the likeliest at {value} of all positions; "
        "at least {limit} is expected."
    ).format(value=percent(value), limit=percent(limit))
    return Check(name="top1_agreement", passed=value >= limit, value=value, limit=limit, meaning=meaning)


def _present(reference: Reference, outputs: Outputs, coarse: str | None) -> Check:
    """`coarse` names the save format when rounding to it explains what is missing."""
    effect = compare(reference.trained, reference.base)
    value = share_carried(reference.base, reference.trained, outputs)
    passed = value >= PRESENT
    return Check(
        name="delta_present",
        passed=passed,
        value=value,
        limit=PRESENT,
        meaning=_presence(effect, passed, coarse is not None).format(
            logits=short(effect.max_logit_difference),
            kl=short(effect.kl_divergence),
            share=percent(value),
            dtype=coarse,
            better="fp32" if coarse == "fp16" else tr("fp16 or fp32"),
        ),
    )


def _presence(effect: Comparison, passed: bool, rounded_away: bool) -> str:
    if not effect.max_logit_difference:
        return tr("Training changed nothing: the trained model answers exactly like the base.")
    if passed:
        return tr(
            "Training moved the outputs by up to {logits} (KL {kl} nats), and {share} of that effect is in the export."
        )
    if rounded_away:
        return tr(
            "{dtype} is too coarse for what was learnt: training moved the outputs by up to {logits} (KL {kl} nats), "
            "and only {share} of that effect survives the rounding; export as {better}, or train longer."
        )
    return tr(
        "What was learnt has not arrived: training moved the outputs by up to {logits} (KL {kl} nats), and only "
        "{share} of that effect is in the export."
    )


def _lost(delta: DeltaLoss, dtype: str) -> Check:
    """Only informs: whether the loss matters is what the outputs tell."""
    return Check(
        name="delta_lost_in_dtype", passed=True, value=delta.relative_error, limit=None, meaning=_loss(delta, dtype)
    )


def _loss(delta: DeltaLoss, dtype: str) -> str:
    if not delta.relative_error:
        return tr("{dtype} holds the change of the weights that training made without any loss.").format(dtype=dtype)
    facts = tr(
        "Rounding to {dtype} disturbs the change that training made by {error} of its size and undoes it in "
        "{unchanged} of the changed weights"
    ).format(dtype=dtype, error=percent(delta.relative_error), unchanged=percent(delta.unchanged))
    if delta.relative_error <= PRESENT:
        return tr("{facts}.").format(facts=facts)
    return tr("{facts}; export as {better} to keep it.").format(
        facts=facts, better="fp32" if dtype == "fp16" else tr("fp16 or fp32")
    )


def short(value: float) -> str:
    """Return a measured number with two significant digits."""
    return f"{value:.2g}"


def percent(value: float) -> str:
    """Return a share as a percentage with two to four significant digits."""
    return f"{100 * value:.4g} %" if abs(value) > 0.1 else f"{100 * value:.2g} %"
