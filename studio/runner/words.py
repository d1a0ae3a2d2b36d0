"""Sentences about methods and latency, the same in the window and on the command line."""

from __future__ import annotations

from studio.engine.inference.figures import FormLatency, Latency, Ratio
from studio.engine.methods import Method
from studio.i18n import gettext_noop, sentences, tr
from studio.runner.actions import exports_of
from studio.text.numbers import brief, share_text

FORMS = {"base": gettext_noop("Base"), "live": gettext_noop("Base + trained part"), "merged": gettext_noop("Merged")}


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


def latency_sentence(found: Latency) -> str:
    """Return in a sentence or two what the figures show; what may be noise is not called slower or faster."""
    forms = {form.form: form for form in found.forms}
    said = []
    if "live" in forms:
        said.append(_about(tr("Beside the base, the trained part"), forms["live"]))
    if "merged" in forms:
        said.append(_about(tr("Merged, it"), forms["merged"]))
    return sentences(said)


def _about(subject: str, form: FormLatency) -> str:
    prefill, token = form.prefill_ratio, form.token_ratio
    if prefill.differs and token.differs:
        sentence = tr("{subject} makes reading the prompt {prefill} and each token {token}.")
    elif prefill.differs:
        sentence = tr("{subject} makes reading the prompt {prefill}; each token showed no difference ({token}).")
    elif token.differs:
        sentence = tr("{subject} makes each token {token}; reading the prompt showed no difference ({prefill}).")
    else:
        sentence = tr("{subject} showed no measurable difference to the base (prompt {prefill}, each token {token}).")
    return sentence.format(subject=subject, prefill=_change(prefill), token=_change(token))


def _change(ratio: Ratio) -> str:
    """Return by how much a form is slower or faster, with the range of the ratio; the range alone where it is noise."""
    if not ratio.differs:
        return range_text(ratio)
    change = tr("{share} slower ({range})") if ratio.median > 1 else tr("{share} faster ({range})")
    return change.format(share=share_text(abs(ratio.median - 1), 1), range=range_text(ratio))


def range_text(ratio: Ratio) -> str:
    """Return the range of a ratio to the base; with a further digit where 1 would look like a part of it."""
    digits = 2 if not ratio.differs or abs(ratio.median - 1) >= 0.01 else 3
    return tr("{low} to {high}\u00a0×").format(low=f"{ratio.low:.{digits}f}", high=f"{ratio.high:.{digits}f}")


def latency_conditions(found: Latency) -> str:
    """Return how many tokens were measured, in which format and where."""
    sentence = tr(
        "{rounds} rounds, {new} tokens after a prompt of {prompt}, {dtype} on {device}. The forms take turns and are "
        "compared within each round; the ranges hold the median with 95 % confidence."
    ).format(
        rounds=found.rounds, new=found.new_tokens, prompt=found.prompt_tokens, dtype=found.dtype, device=found.device
    )
    if found.switch_ms is None:
        return sentence
    switched = tr("Switching the trained part on, with the base loaded, took {milliseconds} ms.")
    return sentences((sentence, switched.format(milliseconds=brief(found.switch_ms))))
