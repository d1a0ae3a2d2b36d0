"""Base or Chat in the words of the field: recommendations, what does not fit, remedies (`studio.runner.advice`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.i18n import gettext_noop, ngettext_noop, tr, trn

ADVICE = {
    "chat_for_dialogue": gettext_noop(
        "Take a Chat model. It speaks already: it knows turns, when to stop, and manners that a few hundred rows would "
        "not teach. Your rows are written in its own template, so that nothing of this is unlearnt."
    ),
    "chat_for_manners": gettext_noop(
        "Take a Chat model. For the task alone a Base model would do, but one that already follows instructions keeps "
        "its manners beside the new task. Ask for the task through its own template."
    ),
    "base_for_own_dialogue": gettext_noop(
        "Take a Base model, and install a chat template. A format of your own need not be learnt against the manners "
        "of a Chat model; but the model learns to speak and to stop from your rows alone, so have some thousands."
    ),
    "base_for_tasks": gettext_noop(
        "Take a Base model. Summaries, classification and extraction are not dialogue: the model continues text in a "
        "format of your own, without turns and without the habits of an assistant. Write the format as prompt template."
    ),
}

MISFITS: dict[str, str | tuple[str, str]] = {
    "chat_without_template": gettext_noop(
        "The model is to be treated as a Chat model, but it has no template that works."
    ),
    "template_tokens_missing": gettext_noop("The template {name} needs {tokens}, which the tokenizer does not have."),
    "template_tokens_untaught": gettext_noop(
        "The tokenizer has {tokens}, but the model was never taught them, as it seems. Methods that leave the "
        "embedding frozen, such as LoRA, cannot change that."
    ),
    "dialogue_on_base": gettext_noop(
        "The rows are conversations, and the model is a Base model: it learns them as text with headings, and no chat "
        "template is in the export."
    ),
    "text_on_chat": gettext_noop(
        "The rows are plain text, and the model is a Chat model: they are learnt without its template, and it may "
        "unlearn to answer and to stop."
    ),
    "no_place_for_system": ngettext_noop(
        "The chat template has no place for the system text of {count} row. It can be a part of the question instead: "
        "the rows above then show how it reads. Put it there too when you use the model.",
        "The chat template has no place for the system text of {count} rows. It can be a part of the question instead: "
        "the rows above then show how it reads. Put it there too when you use the model.",
    ),
    "behaves_like_base": gettext_noop("It is treated as a Chat model, but it behaves like a Base model."),
    "behaves_like_chat": gettext_noop("It is treated as a Base model, but it behaves like a Chat model."),
}

REMEDIES = {
    "system_before_question": gettext_noop("Put the system text before the question"),
    "install_template": gettext_noop("Install the template {template}"),
    "use_own_template": gettext_noop("Teach it its own template"),
    "treat_as_base": gettext_noop("Treat it as a Base model"),
    "treat_as_chat": gettext_noop("Treat it as a Chat model"),
}

TEMPLATES = {"chatml": gettext_noop("ChatML"), "headings": gettext_noop("Headings")}


def template_title(name: str) -> str:
    """Return the title of a chat template that ships."""
    return tr(TEMPLATES[name])


def advice_text(code: str) -> str:
    """Return a recommendation with its reason. Raises `KeyError` where there are no words for the code."""
    return tr(ADVICE[code])


def pick_text(kind: str, name: str) -> str:
    """Say that another model is to be picked; `name` is what it is usually called, "" where that is not known."""
    words = {
        ("chat", True): tr("This model is a Base model. Pick the Chat model of its family, usually called {name}."),
        ("chat", False): tr("This model is a Base model. Pick the Chat model of its family."),
        ("base", True): tr("This model is a Chat model. Pick the Base model of its family, usually called {name}."),
        ("base", False): tr("This model is a Chat model. Pick the Base model of its family."),
    }
    return words[kind, bool(name)].format(name=name)


def misfit_text(code: str, values: Mapping[str, Any]) -> str:
    """Return what does not fit. Raises `KeyError` where there are no words for the code."""
    words = MISFITS[code]
    return (tr(words) if isinstance(words, str) else trn(*words, values["count"])).format(**values)


def remedy_text(code: str, options: Mapping[str, str]) -> str:
    """Return the words on the button of a remedy."""
    template = options.get("model.chat_template", "")
    return tr(REMEDIES[code]).format(template=template_title(template) if template else "")
