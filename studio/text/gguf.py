"""What the checks of a GGUF file found, in words made from their results (`studio.text.checks`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from studio.i18n import gettext_noop, sentences, tr
from studio.text.numbers import brief, percent

Found: TypeAlias = Mapping[str, Any]


def gguf_loads(found: Found) -> str:
    if found["passed"]:
        return tr("llama.cpp opens the file, with every weight in its place.")
    if found["absent"]:
        return tr("The file was written, but never opened: {reason}").format(reason=found["reason"])
    return tr("llama.cpp cannot open the file: {reason}").format(reason=found["reason"])


def gguf_tokens(found: Found) -> str:
    words = (
        tr("llama.cpp splits all {all} texts, held-out rows among them, into the tokens that the model was trained on.")
        if found["passed"]
        else tr("llama.cpp splits {count} of {all} texts into other tokens than the model was trained on.")
    )
    return words.format(count=found["value"], all=found["texts"])


def gguf_settings(found: Found) -> str:
    """The keys of the file: what it says of the model, and its tokenizer."""
    if found["passed"]:
        return tr(
            "All {count} settings in the file, its tokens and merges among them, are those that were to be written."
        ).format(count=found["count"])
    return tr("Settings in the file are not those that were to be written: {names}.").format(
        names=tr(", ").join(found["settings"])
    )


def gguf_weights(found: Found) -> str:
    """`worst` is the largest error of a tensor, as a share of its size."""
    if not found["passed"]:
        return tr(
            "Weights in the file are not the trained ones, beyond what rounding to {dtype} does: {names}."
        ).format(dtype=found["dtype"], names=", ".join(found["weights"]))
    if not found["worst"]:
        return tr("Every weight in the file is exactly the one that was to be written.")
    return tr(
        "Every weight in the file is the one that was to be written, rounded to {dtype}; no tensor is changed by more "
        "than {worst} of its size."
    ).format(dtype=found["dtype"], worst=percent(float(found["worst"])))


def gguf_logits(found: Found) -> str:
    """`exact` says that nothing was rounded, so that the logits have to be equal."""
    if found["exact"]:
        words = (
            tr(
                "In llama.cpp, no score (logit) differs from the trained model's by more than {value}; {limit} is "
                "allowed."
            )
            if found["passed"]
            else tr(
                "In llama.cpp, no score (logit) may differ from the trained model's by more than {limit}; one differs "
                "by {value}."
            )
        )
        return words.format(value=_number(found["value"]), limit=_number(found["limit"]))
    return _arithmetic(found)


def _arithmetic(found: Found) -> str:
    """`value` is the difference of the logits as a share of their size; `f16` that of the model saved as f16."""
    words = (
        tr(
            "llama.cpp computes what the weights in the file say: its scores (logits) differ from ours with the same "
            "weights by {value} of their size, where {limit} is allowed for its coarser arithmetic."
        )
        if found["passed"]
        else tr(
            "llama.cpp does not compute what the weights in the file say: its scores (logits) differ from ours with "
            "the same weights by {value} of their size, where {limit} is allowed."
        )
    )
    parts = [words.format(value=percent(float(found["value"])), limit=percent(float(found["limit"])))]
    if found["f16_failed"]:
        parts.append(tr("Saved as f16, the model does not open, so that part of the conversion was not measured."))
    elif found["f16"] is not None:
        values = percent(float(found["f16"])), percent(float(found["f16_limit"]))
        parts.append(
            tr("Saved as f16, they differ from the trained model's by {value}; {limit} is allowed.").format(
                value=values[0], limit=values[1]
            )
        )
    return sentences(parts)


# A file with a smaller share of training's effect has lost most of it.
_MOST = 0.5


def cost_headline(found: Found) -> str:
    """Return in one sentence what a format costs; `level` is that of `studio.engine.export.gguf.cost`."""
    words = {
        "small": tr("{dtype} costs this model little."),
        "clear": tr("{dtype} has a clear cost for this model: compare answers, or choose a larger format."),
        "heavy": tr("{dtype} makes another model of it: choose a larger format."),
    }[found["level"]]
    if found["level"] == "heavy" and found["share"] is not None and float(found["share"]) < _MOST:
        words = tr("{dtype} loses most of what training did: choose a larger format.")
    return words.format(dtype=found["dtype"])


def loss_headline(checks: Iterable[Any]) -> str:
    """Return what the checks of a certificate say of a format's cost; "" where that is little."""
    found = _loss(checks)
    return cost_headline(found) if found else ""


def loss_level(checks: Iterable[Any]) -> str:
    """Return a format's cost in a word; "" where that is little."""
    found = _loss(checks)
    return tr(COSTS[found["level"]]) if found else ""


def _loss(checks: Iterable[Any]) -> Found | None:
    costs = (check.evidence for check in checks if check.name == "gguf_cost" and check.passed and check.evidence)
    return next((found for found in costs if found["level"] != "small"), None)


COSTS = {"small": gettext_noop("small"), "clear": gettext_noop("clear"), "heavy": gettext_noop("heavy")}


def gguf_cost(found: Found) -> str:
    """`value` is the KL divergence, `share` how much of training's effect is left; with `_f16`, those saved as f16."""
    parts = [cost_headline(found)] if found["passed"] else []
    parts.append(
        tr(
            "Saved as {dtype}, the probabilities of the next token differ from the trained model's by {value} nats "
            "(KL, mean), and the likeliest token is the same at {top1} of all positions."
        ).format(dtype=found["dtype"], value=_number(found["value"]), top1=percent(float(found["top1"])))
    )
    if found["limit"] is not None and not found["passed"]:
        parts.append(tr("At most {limit} nats are allowed.").format(limit=_number(found["limit"])))
    if found["share"] is not None:
        share = percent(float(found["share"]))
        parts.append(tr("{share} of what training did is left.").format(share=share))
    if found["kl_f16"] is not None:
        parts.append(
            tr("As f16, it would be {kl} nats and {top1}: the rest is the price of the smaller file.").format(
                kl=_number(found["kl_f16"]), top1=percent(float(found["top1_f16"]))
            )
        )
    return sentences(parts)


def gguf_template(found: Found) -> str:
    if not found["passed"]:
        return tr("The chat template in the file is not the one the model was trained with.")
    if not found["has_one"]:
        return tr("The model has no chat template, and so has the file.")
    return tr("The chat template in the file is the one the model was trained with.")


def gguf_ends(found: Found) -> str:
    if not found["value"]:
        return tr("The model names no token that ends a text, so generation can only end at a length.")
    if found["passed"]:
        return tr("llama.cpp ends an answer at {tokens}, as in training.").format(tokens=found["value"])
    return tr("llama.cpp would not end an answer at {tokens}, though answers end there in training.").format(
        tokens=found["missing"]
    )


def gguf_answers(found: Found) -> str:
    answers = " ".join(f"“{entry['asked']}” → “{entry['answer']}”" for entry in found["answers"])
    return tr("Asked in llama.cpp: {answers}").format(answers=answers)


def ollama_template(found: Found) -> str:
    stops = tr(", ").join(found["stops"]) or tr("none")
    words = (
        tr("The Modelfile writes conversations as the chat template does, and stops at: {stops}.")
        if found["passed"]
        else tr(
            "Ollama's language has no words for this chat template, so Ollama would guess one; take the GGUF file in "
            "llama.cpp, or write a TEMPLATE into the Modelfile. It stops at: {stops}."
        )
    )
    return words.format(stops=stops)


def created_text(name: str, asked: str, answer: str, expected: str | None) -> str:
    """Return what Ollama answered, beside what llama.cpp answered when the export was checked."""
    words = (
        tr("Ollama has {name}. Asked “{asked}”, it answers “{answer}”, as llama.cpp did.")
        if answer == expected
        else tr("Ollama has {name}. Asked “{asked}”, it answers “{answer}”, and llama.cpp answered “{expected}”.")
    )
    return words.format(name=name, asked=asked, answer=answer, expected=expected or "")


def _number(value: Any) -> str:
    return brief(float(value))


SENTENCES = {
    "gguf_loads": gguf_loads,
    "gguf_tokens": gguf_tokens,
    "gguf_settings": gguf_settings,
    "gguf_weights": gguf_weights,
    "gguf_logits": gguf_logits,
    "gguf_cost": gguf_cost,
    "gguf_template": gguf_template,
    "gguf_ends": gguf_ends,
    "gguf_answers": gguf_answers,
    "ollama_template": ollama_template,
}
