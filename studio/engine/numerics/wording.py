"""Verdicts in words: a sentence on what is the matter and one on what to do, from the evidence alone.

Whoever reads them may never have heard of loss scaling, so each term is explained where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import PurePath
from typing import Any, TypeAlias

from studio.exponents import FP16
from studio.i18n import tr
from studio.text.numbers import share_text

Evidence: TypeAlias = Mapping[str, Any]
Remedies: TypeAlias = Collection[str]
SHOWN_ROWS = 3


def describe(verdict: str, evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    """Return the sentence and the advice of a verdict, in the language of the session."""
    return _WORDS[verdict](evidence, remedies)


def _scale_search(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    values = {
        "count": evidence["skipped"],
        "step": evidence["first_step"],
        "before": _number(evidence["from_scale"]),
        "scale": _number(evidence["to_scale"]),
    }
    if evidence["at_start"]:
        sentence = tr(
            "The loss scale, a factor that lifts small gradients into the range of fp16, was searched for from "
            "{before} down to {scale}; steps skipped on the way: {count}."
        )
        advice = tr("Nothing to do: runs in fp16 begin like this. The rows were computed again at the smaller scale.")
    else:
        sentence = tr(
            "From step {step} on gradients were larger than before, so the loss scale, a factor that lifts small "
            "gradients into the range of fp16, fell from {before} to {scale}; steps skipped: {count}."
        )
        advice = tr("Nothing to do: the scale follows the gradients, and the rows were computed again.")
    return sentence.format(**values), advice


def _growth_probe(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    sentence = tr(
        "The loss scale, a factor that lifts small gradients into the range of fp16, had been raised to {tried}, which "
        "proved too large; it went back to {scale}, and steps were skipped for that: {count}."
    ).format(tried=_number(evidence["tried_scale"]), scale=_number(evidence["scale"]), count=evidence["skipped"])
    advice = tr("Nothing to do: after every {interval} good updates a larger scale is tried, to lose fewer gradients.")
    return sentence, advice.format(interval=evidence["growth_interval"])


def _chronic_overflow(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    values = {
        "skipped": evidence["skipped"],
        "steps": evidence["steps"],
        "share": share_text(evidence["skipped"], evidence["steps"]),
        "scale": _number(evidence["scale"]),
        "limit": _number(FP16.largest),
    }
    sentence = {
        "dynamic": tr(
            "{skipped} of the last {steps} steps were skipped ({share}): each time the loss scale (a factor that "
            "lifts small gradients, last {scale}) grows, gradients exceed what fp16 can hold ({limit})."
        ),
        "static": tr(
            "{skipped} of the last {steps} steps were skipped ({share}): multiplied by the fixed loss scale {scale} "
            "(a factor that lifts small gradients), gradients exceed what fp16 can hold ({limit})."
        ),
        "off": tr(
            "{skipped} of the last {steps} steps were skipped ({share}): gradients exceed what fp16 can hold "
            "({limit}), even at scale {scale}, that is without loss scaling (a factor that lifts small gradients)."
        ),
    }[evidence["scaling"]].format(**values)
    if "use_dynamic_scaling" not in remedies:
        return _located(sentence, evidence), _wider(remedies, tr("or lower the learning rate"))
    if evidence["scaling"] == "dynamic":
        advice = tr("The scale grows after only {interval} good updates; let it wait for 2000, as is customary.")
        return _located(sentence, evidence), advice.format(interval=evidence["growth_interval"])
    return _located(sentence, evidence), tr("Use dynamic loss scaling, which finds a scale that fits by itself.")


def _scale_collapse(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    sentence = tr(
        "The loss scale, a factor that lifts small gradients into the range of fp16, is at its lowest, {scale}, and "
        "gradients still overflow; steps lost there so far: {count}."
    ).format(scale=_number(evidence["scale"]), count=evidence["overflows"])
    return _located(sentence, evidence), _wider(remedies, tr("or lower the learning rate if this began while training"))


def _forward_overflow(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    sentence = tr(
        "The output of {module} exceeds what fp16 can hold ({limit}), so the model's own values overflow before there "
        "is any gradient; the largest value before was {largest}."
    )
    if evidence.get("weights"):
        sentence = tr(
            "Numbers in {module} exceed what fp16 can hold ({limit}) and became infinite when they were stored in it, "
            "so the model cannot compute in fp16; the largest that fits is {largest}."
        )
    sentence = sentence.format(
        module=evidence["module"], limit=_number(FP16.largest), largest=_number(evidence["largest_before"], exact=False)
    )
    sentence += _on_rows(evidence)
    return sentence, tr("Loss scaling cannot help here, because it only acts on gradients.") + " " + _wider(remedies)


def _underflow(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    values = {"share": share_text(evidence["share"], 1.0), "scale": _number(evidence["scale"])}
    sentence = tr(
        "About {share} of the gradients are too small for fp16 at the loss scale {scale} (a factor that lifts small "
        "gradients) and become zero, so their weights do not learn."
    )
    if evidence["scaling"] == "off":
        sentence = tr(
            "About {share} of the gradients are too small for fp16 and become zero, so their weights do not learn; the "
            "loss scale, a factor that would lift them, is {scale}, that is off."
        )
    if "raise_scale" not in remedies and "use_dynamic_scaling" not in remedies:
        return sentence.format(**values), tr("A larger scale would overflow.") + " " + _wider(remedies)
    if "raise_scale" not in remedies:
        return sentence.format(**values), tr("Use dynamic loss scaling, which finds the largest scale that fits.")
    if evidence["scaling"] == "dynamic":
        advice = tr("Begin with the loss scale {scale}; dynamic scaling gets there by itself, but slowly.")
    else:
        advice = tr("Use dynamic loss scaling, which finds the largest scale that fits, or raise the scale to {scale}.")
    return sentence.format(**values), advice.format(scale=_number(evidence["suggested_scale"]))


def _bf16_stall(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    sentence = tr(
        "{share} of the weights stood still in an update that was meant to move them: {format} has only {bits} bits of "
        "detail, and the steps at the learning rate {rate:g} are rounded away."
    ).format(
        share=share_text(evidence["share"], 1.0),
        format=evidence["format"],
        bits=8 if evidence["format"] == "bf16" else 11,
        rate=evidence["learning_rate"],
    )
    if "stochastic_rounding" in remedies:
        return sentence, tr(
            "Use stochastic rounding (small updates count by chance), or bf16-mixed, which keeps an fp32 copy of the "
            "weights for them."
        )
    if "use_bf16" in remedies:
        return sentence, tr("Use bf16-mixed, which keeps an fp32 copy of the weights for small updates.")
    return sentence, _wider(remedies)


def _nonfinite_weights(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    if not evidence["update"]:
        sentence = tr("The model came with weights that are not numbers (nan or infinity){where}.")
        advice = tr("Download the model again, or take another copy; no training can mend it.")
    else:
        sentence = tr("Weights of the model are no longer numbers (nan or infinity){where}, after update {update}.")
        advice = (
            tr("Go back to the last good checkpoint, and lower the learning rate.")
            if "restore_checkpoint" in remedies
            else tr("Start again, at a lower learning rate; there is no good checkpoint to go back to.")
        )
    where = tr(", first in {module}").format(module=evidence["module"]) if evidence["module"] else ""
    return sentence.format(where=where, update=evidence["update"]), advice


def _nonfinite_loss(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    if evidence["direction"] == "forward":
        sentence = tr("The loss is {loss}, not a number to learn from: the first value that is none came from {module}")
    elif evidence["direction"] == "loss":
        sentence = tr("The loss is {loss}, not a number to learn from, although all that the model computed is finite")
    else:
        sentence = tr("The loss is {loss}, not a number to learn from; where that began is not known")
    sentence = sentence.format(loss=evidence["loss"], module=evidence["module"]) + "." + _on_rows(evidence)
    if evidence["direction"] == "loss":
        return sentence, tr("Look at these rows for answers that are empty or cut off, and leave them out if need be.")
    if not evidence["update"]:
        return sentence, tr("Look at the rows, or take another copy of the model; it was so before the first update.")
    if "restore_checkpoint" not in remedies:
        return sentence, tr("Look at the rows; if they are in order, lower the learning rate.")
    return sentence, tr("Look at the rows; if they are in order, go back to the last good weights at a lower rate.")


def _exploding_gradients(evidence: Evidence, remedies: Remedies) -> tuple[str, str]:
    advice = (
        tr("Lower the learning rate, and go back to a checkpoint from before if the loss has risen.")
        if "restore_checkpoint" in remedies
        else tr("Lower the learning rate, and start again if the loss has risen.")
    )
    if "overflows" in evidence:
        sentence = tr("Gradients became infinite or undefined in steps whose loss was finite; such steps: {count}.")
        return _located(sentence.format(count=evidence["overflows"]), evidence), advice
    values = {"norm": _number(evidence["grad_norm"], exact=False), "steps": evidence["steps"]}
    if not evidence["max_grad_norm"]:
        sentence = tr("Gradients explode: their length (norm) is about {norm}, {steps} steps in a row, unclipped.")
        return sentence.format(**values), advice
    sentence = tr(
        "Gradients explode: their length (norm) is about {norm}, {steps} steps in a row, and is shortened (clipped) "
        "to {clip}, one part in {ratio}."
    )
    ratio, clip = _number(evidence["ratio"], exact=False), _number(evidence["max_grad_norm"])
    return sentence.format(**values, clip=clip, ratio=ratio), advice


_WORDS: dict[str, Callable[[Evidence, Remedies], tuple[str, str]]] = {
    "scale_search": _scale_search,
    "growth_probe": _growth_probe,
    "chronic_overflow": _chronic_overflow,
    "scale_collapse": _scale_collapse,
    "forward_overflow": _forward_overflow,
    "underflow": _underflow,
    "bf16_stall": _bf16_stall,
    "nonfinite_weights": _nonfinite_weights,
    "nonfinite_loss": _nonfinite_loss,
    "exploding_gradients": _exploding_gradients,
}


def _wider(remedies: Remedies, otherwise: str = "") -> str:
    """Advise the precision with more range that there is here."""
    advice = (
        tr("Use bf16, which has the range of fp32")
        if "use_bf16" in remedies
        else tr("Use fp32 (this device has no bf16)")
    )
    return f"{advice}, {otherwise}." if otherwise else f"{advice}."


def _located(sentence: str, evidence: Evidence) -> str:
    if not evidence.get("module"):
        return sentence
    return sentence + " " + tr("It begins in {module}.").format(module=evidence["module"])


def _on_rows(evidence: Evidence) -> str:
    """Name the rows of the micro-batch, the first few of them."""
    rows = evidence["rows"]
    if not rows:
        return ""
    named = [
        tr("{file} row {number} ({tokens} tokens)").format(
            file=PurePath(row["source"]).name, number=row["number"], tokens=row["tokens"]
        )
        for row in rows[:SHOWN_ROWS]
    ]
    more = tr(" and {count} more").format(count=len(rows) - SHOWN_ROWS) if len(rows) > SHOWN_ROWS else ""
    shown = ", ".join(named) + more
    tried = evidence.get("rows_tried", 0)
    if not tried:
        return " " + tr("Rows: {rows}.").format(rows=shown)
    sentence = tr("Repeated one at a time, {count} of {tried} rows lead to this: {rows}.")
    return " " + sentence.format(count=len(rows), tried=tried, rows=shown)


def _number(value: float, *, exact: bool = True) -> str:
    """A number as people read it: scales exactly while they are short, measured values to three digits."""
    shown = value if exact else float(f"{value:.3g}")
    return f"{shown:,.0f}" if abs(shown) < 1e9 and shown == int(shown) else f"{shown:.3g}"
