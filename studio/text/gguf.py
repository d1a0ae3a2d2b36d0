"""What the checks of a GGUF file found, in words made from their results (`studio.text.checks`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from studio.i18n import tr
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


def gguf_logits(found: Found) -> str:
    """`exact` says that nothing was rounded, so that the logits have to be equal."""
    words = (
        tr(
            "In llama.cpp, no score (logit) may differ from the trained model's by more than {limit}; one differs by "
            "{value}."
        )
        if found["exact"] and not found["passed"]
        else tr(
            "In llama.cpp, no score (logit) differs from the trained model's by more than {value}; {limit} is allowed."
        )
        if found["exact"]
        else tr("In llama.cpp, scores (logits) differ from the trained model's by up to {value}.")
    )
    return words.format(value=_number(found["value"]), limit=_number(found["limit"] or 0))


def gguf_loss(found: Found) -> str:
    """`value` is the KL divergence; `kl_f16` and `top1_f16` are those of the same model saved as f16, or None."""
    facts = tr(
        "Saved as {dtype}, the probabilities of the next token differ from the trained model's by {value} nats (KL, "
        "mean; {limit} is allowed), and the likeliest token is the same at {top1} of all positions"
    ).format(
        dtype=found["dtype"],
        value=_number(found["value"]),
        limit=_number(found["limit"]),
        top1=percent(float(found["top1"])),
    )
    words = tr("{facts}.").format(facts=facts)
    if found["kl_f16"] is not None:
        words = tr(
            "{facts}. As f16, it would be {kl} nats and {top1}: the rest is the price of the smaller file."
        ).format(facts=facts, kl=_number(found["kl_f16"]), top1=percent(float(found["top1_f16"])))
    if not found["severe"]:
        return words
    return tr("{facts} That is a heavy loss, which answers show: take a finer format if memory allows.").format(
        facts=words
    )


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
    "gguf_logits": gguf_logits,
    "gguf_loss": gguf_loss,
    "gguf_template": gguf_template,
    "gguf_ends": gguf_ends,
    "gguf_answers": gguf_answers,
    "ollama_template": ollama_template,
}
