"""Base or Chat: what to take for a purpose, and what does not fit where model and data are chosen already.

Everything here is a code with the options that mend it; the words are in `studio.text.advice`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from studio.engine.data.report import Remark
from studio.engine.models.info import ModelInfo

if TYPE_CHECKING:
    from studio.engine.data.inspect import DataInspection

Kind = Literal["base", "chat"]
# The parts of a model's name that say that it is a Chat model, or a Base model.
_CHAT_PART = re.compile(r"[-_. ](instruct|chat|it|sft|dpo)(?=$|[-_. ])", re.IGNORECASE)
_BASE_PART = re.compile(r"[-_. ](base|pt|pretrained)(?=$|[-_. ])", re.IGNORECASE)


@dataclass(frozen=True)
class Advice:
    """A recommendation for a model that is known, or not yet.

    Attributes:
        code: why, for the words.
        kind: what to take.
        options: what applies it, by dotted key; empty where the model is not of the right kind.
        name: where another model is to be picked: what it is called, as far as a name can tell; "" where not known.
    """

    code: str
    kind: Kind
    options: dict[str, str] = field(default_factory=dict)
    name: str = ""


def advise(dialogue: bool, keep: bool, found: ModelInfo | None) -> Advice:
    """Return what to take.

    Args:
        dialogue: whether the model is to converse.
        keep: whether it is to keep the manners that it has, and not to learn a format of the user's own.
        found: the model as its files describe it.
    """
    if keep:
        code = "chat_for_dialogue" if dialogue else "chat_for_manners"
        if found is None:
            return Advice(code, "chat")
        if found.kind == "chat":
            return Advice(code, "chat", {"model.kind": "chat", "model.chat_template": ""})
        return Advice(code, "chat", name=chat_name(found.name))
    code = "base_for_own_dialogue" if dialogue else "base_for_tasks"
    if found is None:
        return Advice(code, "base")
    if found.kind == "chat":
        return Advice(code, "base", name=base_name(found.name))
    if not dialogue:
        return Advice(code, "base", {"model.kind": "base", "model.chat_template": ""})
    return Advice(code, "base", teach_dialogue(found))


def teach_dialogue(found: ModelInfo) -> dict[str, str]:
    """Return the options that teach a Base model dialogue: its own template where it has one, else one that ships.

    Empty where its tokenizer has no token that could end an answer.
    """
    if found.has_template and not found.chat_template:
        return {"model.kind": "chat", "model.chat_template": ""}
    template = found.recommended_template
    return {"model.kind": "chat", "model.chat_template": template} if template else {}


def base_name(name: str) -> str:
    """Return what the Base model of a Chat model is called, as families name them; "" where that cannot be told."""
    return _CHAT_PART.sub("", name, count=1) if _CHAT_PART.search(name) else ""


def chat_name(name: str) -> str:
    """Return what the Chat model of a Base model is called, as families of models name them."""
    plain = _BASE_PART.sub("", name, count=1)
    if name.lower().startswith("gemma"):
        return f"{plain}-it"
    if plain != name:  # Qwen3-8B speaks, Qwen3-8B-Base does not
        return plain
    return re.sub(r"(-v[\d.]+)?$", r"-Instruct\1", name, count=1)  # Mistral-7B-Instruct-v0.3


@dataclass(frozen=True)
class Misfit:
    """Something that does not fit.

    Attributes:
        code, values: for the words.
        remedies: options by dotted key, each with the code of its words.
        fatal: a run cannot start with it.
    """

    code: str
    values: dict[str, Any]
    remedies: tuple[tuple[str, dict[str, str]], ...] = ()
    fatal: bool = False


def misfit_of_model(found: ModelInfo, treated: ModelInfo) -> Misfit | None:
    """Return why a model cannot be treated as it was chosen.

    Args:
        found: as its files describe it.
        treated: as it was chosen (`treated_as`).
    """
    as_base = ("treat_as_base", {"model.kind": "base", "model.chat_template": ""})
    if treated.chat_template:
        offer = next((offer for offer in found.offers if offer.name == treated.chat_template), None)
        others = teach_dialogue(found)
        instead = (("install_template", others),) if others.get("model.chat_template") else ()
        if offer and offer.missing:
            values = {"name": offer.name, "tokens": ", ".join(offer.missing)}
            return Misfit("template_tokens_missing", values, (*instead, as_base), fatal=True)
        if offer and offer.untaught and others.get("model.chat_template") != offer.name:
            return Misfit("template_tokens_untaught", {"tokens": ", ".join(offer.untaught)}, instead)
        return None
    if treated.kind == "chat" and not treated.has_template:
        options = teach_dialogue(found)
        remedies = ("install_template", options), as_base
        return Misfit("chat_without_template", {}, remedies if options else (as_base,), fatal=True)
    return None


def misfit_of_data(found: ModelInfo, treated: ModelInfo, shapes: Collection[str]) -> Misfit | None:
    """Return why data and model do not fit.

    Args:
        shapes: what the rows of the domain are: "dialogue", "exchange" or "text".
    """
    if treated.kind == "base" and "dialogue" in shapes:
        options = teach_dialogue(found)
        own = options.get("model.chat_template") == ""
        remedy = ("use_own_template" if own else "install_template", options)
        return Misfit("dialogue_on_base", {}, (remedy,) if options else ())
    if treated.kind == "chat" and set(shapes) == {"text"}:
        return Misfit("text_on_chat", {}, (("treat_as_base", {"model.kind": "base", "model.chat_template": ""}),))
    return None


def misfit_of_system(inspections: Iterable[DataInspection]) -> Misfit | None:
    """Return that the chat template has no place for the system text of some rows, and what mends it."""
    count = 0
    for found in inspections:
        count += found.reasons.get(Remark("system_refused"), 0)
        count += sum(dict(one.values)["count"] for one in found.problems if one.code == "system_dropped")
    remedy = ("system_before_question", {"data.system_turns": "question"})
    return Misfit("no_place_for_system", {"count": count}, (remedy,)) if count else None
