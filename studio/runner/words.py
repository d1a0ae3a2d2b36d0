"""Sentences about methods and latency, the same in the window and on the command line."""

from __future__ import annotations

from studio.engine.inference.figures import FormLatency, Latency
from studio.engine.methods import Method
from studio.i18n import gettext_noop, sentences, tr
from studio.runner.actions import exports_of
from studio.text.numbers import brief, share_text

FORMS = {"base": gettext_noop("Base"), "live": gettext_noop("Base + trained part"), "merged": gettext_noop("Merged")}
# Two measurements of the same model may differ by this share on a machine that does other work as well.
NOISE = 0.05


def exports_text(method: Method) -> str:
    """Return the forms of export that take a method, such as "Merged model, Adapter"; empty when there is none."""
    return tr(", ").join(tr(target.title) for target in exports_of(method))


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
    said = []
    if "live" in forms:
        said.append(_about(tr("Beside the base, the trained part"), forms["live"]))
    if "merged" in forms:
        said.append(_about(tr("Merged, it"), forms["merged"]))
    return sentences(said)


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
    return sentences((sentence, switched.format(milliseconds=brief(found.switch_ms))))
