"""What was found when a model was tried (`studio.engine.inference.behaviour`), in words made from a code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.i18n import gettext_noop, tr

WORDS = {
    "ends_its_turn": gettext_noop(
        "Tried: asked {asked} questions through its template, it ended every answer by itself, as a Chat model does."
    ),
    "ends_some_turns": gettext_noop(
        "Tried: asked {asked} questions through its template, it ended {ended} answers by itself within {limit} tokens."
    ),
    "never_ends_its_turn": gettext_noop(
        "Tried: asked {asked} questions through its template, it ended none of its answers within {limit} tokens, as a "
        "Base model does."
    ),
    "ends_plain_answers": gettext_noop(
        "Tried: asked {asked} questions as plain text, it ended every answer by itself."
    ),
    "ends_some_plain_answers": gettext_noop(
        "Tried: asked {asked} questions as plain text, it ended {ended} answers within {limit} tokens."
    ),
    "goes_on_after_plain_answers": gettext_noop(
        "Tried: asked {asked} questions as plain text, it went on writing behind every answer, as a Base model does."
    ),
    "ends_texts": gettext_noop("Tried: given the beginnings of {asked} texts, it ended each within {limit} tokens."),
    "ends_some_texts": gettext_noop(
        "Tried: given the beginnings of {asked} texts, it ended {ended} of them within {limit} tokens."
    ),
    "continues_text": gettext_noop("Tried: given the beginnings of {asked} texts, it continued every one of them."),
}


def finding_text(code: str, values: Mapping[str, Any]) -> str:
    """Return a finding in the language of the session. Raises `KeyError` where there are no words for the code."""
    return tr(WORDS[code]).format(**values)
