"""What a measurement of latency says, in words: the same in the window and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.i18n import gettext_noop, tr
from studio.text.numbers import brief, share_text

if TYPE_CHECKING:
    from studio.engine.inference.figures import FormLatency, Latency

FORMS = {"base": gettext_noop("Base"), "live": gettext_noop("Base + trained part"), "merged": gettext_noop("Merged")}
# Two measurements of the same model differ by so much on a machine that does other things as well.
NOISE = 0.05


def form_text(name: str) -> str:
    """Return the name of a form for people."""
    return tr(FORMS[name])


def ratio_text(ratio: float) -> str:
    """Return a ratio to the base: how much slower or faster, or that it is as fast."""
    if abs(ratio - 1.0) < NOISE:
        return tr("as fast")
    share = share_text(abs(ratio - 1.0), 1.0)
    return (tr("{share} slower") if ratio > 1 else tr("{share} faster")).format(share=share)


def conclusion(found: Latency) -> str:
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


def conditions(found: Latency) -> str:
    """Return what was measured, and how."""
    sentence = tr(
        "{rounds} rounds, {new} tokens after a prompt of {prompt}, {dtype} on {device}; medians, forms taking turns."
    ).format(
        rounds=found.rounds,
        new=found.new_tokens,
        prompt=found.prompt_tokens,
        dtype=found.dtype,
        device=found.device,
    )
    if found.switch_ms is None:
        return sentence
    switched = tr("Switching the trained part on, with the base loaded, took {milliseconds} ms.")
    return f"{sentence} {switched.format(milliseconds=brief(found.switch_ms))}"
