"""Sentences about methods and latency, the same in the window and on the command line."""

from __future__ import annotations

from studio.engine.inference.figures import FormLatency, Latency
from studio.engine.methods import Method
from studio.i18n import gettext_noop, tr
from studio.runner.actions import Estimate, Remedy, exports_of
from studio.text.numbers import brief, share_text, size_text

FORMS = {"base": gettext_noop("Base"), "live": gettext_noop("Base + trained part"), "merged": gettext_noop("Merged")}
# What a remedy for memory does, as a button and a line say it.
REMEDIES = {
    "nf4": gettext_noop("Store the base in 4 bits (nf4)"),
    "recompute": gettext_noop("Recompute activations"),
    "states-8bit": gettext_noop("Optimizer states in 8 bits"),
    "adafactor": gettext_noop("Take Adafactor, which keeps next to no states"),
    "rank": gettext_noop("Rank {value}"),
    "rows": gettext_noop("Rows of {value} tokens at most"),
    "method": gettext_noop("Train with LoRA"),
    "together": gettext_noop("Several of these together"),
}
# Memory that other programs hold is worth a word from this share of the device on.
_TAKEN = 0.1
# Two measurements of the same model may differ by this share on a machine that does other work as well.
NOISE = 0.05


def exports_text(method: Method) -> str:
    """Return the forms of export that take a method, such as "Merged model, Adapter"; empty when there is none."""
    return ", ".join(tr(target.title) for target in exports_of(method))


def merging_text(method: Method) -> tuple[str, str]:
    """Return whether a method merges, and a word about it."""
    if method.form == "model":
        return tr("Not needed"), tr("is a whole model")
    return (tr("Yes"), tr("into the base")) if method.mergeable else (tr("No"), tr("stays apart"))


def unmergeable_text(method: Method) -> str:
    """Say before training that a method cannot be merged, and what its exports are instead; empty when it can."""
    if method.mergeable:
        return ""
    exports = exports_text(method)
    if not exports:
        return tr("It cannot be merged into the base, and there is no export for it yet.")
    return tr("It cannot be merged into the base. What you can export: {exports}.").format(exports=exports)


def choices_text(needs: Estimate) -> str:
    """Say how training is made to fit, such as "recomputes activations; 4 rows at a time; base in nf4"."""
    parts = []
    if needs.choices["recompute"]:
        parts.append(
            tr("recomputes activations, with the inputs of the layers in the computer's memory")
            if needs.choices["on_host"]
            else tr("recomputes activations")
        )
    parts.append(tr("1 row at a time") if needs.rows == 1 else tr("{count} rows at a time").format(count=needs.rows))
    if needs.choices["base_dtype"] in ("nf4", "int8"):
        parts.append(tr("base stored in {format}").format(format=needs.choices["base_dtype"]))
    return "; ".join(parts)


def taken_text(needs: Estimate) -> str:
    """Say how much of the memory other programs hold; empty where that is little."""
    taken = needs.device_bytes - needs.available_bytes
    if needs.available_bytes <= 0 or taken < _TAKEN * needs.device_bytes:
        return ""
    words = (
        tr("Other programs hold {taken} of the {total} of this computer's memory.")
        if needs.device == "cpu"
        else tr("Other programs hold {taken} of the GPU's {total}; closing them makes room.")
    )
    return words.format(taken=size_text(taken), total=size_text(needs.device_bytes))


def remedy_text(remedy: Remedy) -> str:
    """Return what a remedy does, and what training takes then: "Rank 8: 6.2 GB"."""
    value = next(iter(remedy.overrides.values()), "")
    words = tr(REMEDIES[remedy.name]).format(value=value)
    figure = ("{size}" if remedy.fits else tr("{size}, not enough")).format(size=size_text(remedy.total_bytes))
    return tr("{what}: {size}").format(what=words, size=figure)


def form_text(name: str) -> str:
    """Return the name of a form for people."""
    return tr(FORMS[name])


def ratio_text(ratio: float) -> str:
    """Return a ratio to the base: how much slower or faster, or that it is as fast."""
    if abs(ratio - 1.0) < NOISE:
        return tr("as fast")
    share = share_text(abs(ratio - 1.0), 1.0)
    return (tr("{share} slower") if ratio > 1 else tr("{share} faster")).format(share=share)


def latency_sentence(found: Latency) -> str:
    """Return in a sentence or two what the figures show."""
    forms = {form.form: form for form in found.forms}
    sentences = []
    if "live" in forms:
        sentences.append(_about(tr("Beside the base, the trained part"), forms["live"]))
    if "merged" in forms:
        sentences.append(_about(tr("Merged, it"), forms["merged"]))
    return " ".join(sentences)


def _about(subject: str, form: FormLatency) -> str:
    prefill, token = (ratio - 1.0 for ratio in (form.prefill_ratio, form.token_ratio))
    if max(prefill, token) < NOISE:
        return tr("{subject} costs nothing that can be measured here.").format(subject=subject)
    return tr("{subject} makes reading the prompt {prefill} and each token {token}.").format(
        subject=subject, prefill=ratio_text(form.prefill_ratio), token=ratio_text(form.token_ratio)
    )


def latency_conditions(found: Latency) -> str:
    """Return how many tokens were measured, in which format and where."""
    sentence = tr(
        "{rounds} rounds, {new} tokens after a prompt of {prompt}, {dtype} on {device}; medians, forms taking turns."
    ).format(
        rounds=found.rounds, new=found.new_tokens, prompt=found.prompt_tokens, dtype=found.dtype, device=found.device
    )
    if found.switch_ms is None:
        return sentence
    switched = tr("Switching the trained part on, with the base loaded, took {milliseconds} ms.")
    return f"{sentence} {switched.format(milliseconds=brief(found.switch_ms))}"
