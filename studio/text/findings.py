"""What is wrong with some rows of the data, and what a button does about it, in words made from a code.

`studio.engine.data.findings` gives the codes. `{count}` is the number of rows that a finding is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.i18n import gettext_noop, ngettext_noop, tr, trn

TITLES = {
    "duplicates": gettext_noop("Repeated rows"),
    "near_duplicates": gettext_noop("Nearly repeated rows"),
    "leaked": gettext_noop("Validation rows in training"),
    "empty_answers": gettext_noop("Empty answers"),
    "same_answers": gettext_noop("The same answer to many questions"),
    "contradictions": gettext_noop("Contradictory answers"),
    "placeholders": gettext_noop("Unfilled placeholders"),
    "control_tokens": gettext_noop("Control tokens in the text"),
    "language_mix": gettext_noop("Answers in another language"),
    "nothing_learned": gettext_noop("Nothing to learn"),
    "end_not_learned": gettext_noop("End not learned"),
    "truncated": gettext_noop("Cut off at the longest length"),
}

FINDINGS = {
    "duplicates": ngettext_noop(
        "{count} row repeats an earlier row exactly. A row that stands there twice is learnt twice as strongly.",
        "{count} rows repeat an earlier row exactly. A row that stands there twice is learnt twice as strongly.",
    ),
    "near_duplicates": ngettext_noop(
        "{count} row repeats an earlier row with hardly a change, such as in case, spacing or a single word.",
        "{count} rows repeat an earlier row with hardly a change, such as in case, spacing or a single word.",
    ),
    "empty_answers": ngettext_noop(
        'The answer of {count} row is empty or says nothing, such as "N/A". The model learns to say nothing.',
        'The answers of {count} rows are empty or say nothing, such as "N/A". The model learns to say nothing.',
    ),
    "same_answers": ngettext_noop(
        "{count} row gives an answer that other questions have already got, word for word or nearly. The "
        "model learns to give it to everything.",
        "{count} rows give an answer that other questions have already got, word for word or nearly. The "
        "model learns to give it to everything.",
    ),
    "placeholders": ngettext_noop(
        "{count} row holds placeholders that were never filled in, such as [NAME]. The model learns to write them.",
        "{count} rows hold placeholders that were never filled in, such as [NAME]. The model learns to write them.",
    ),
    "control_tokens": ngettext_noop(
        "The text of {count} row spells control tokens, such as <|im_end|>. They are learnt as plain text; "
        "perhaps the row was rendered with a chat template before.",
        "The text of {count} rows spells control tokens, such as <|im_end|>. They are learnt as plain text; "
        "perhaps the rows were rendered with a chat template before.",
    ),
    "leaked": ngettext_noop(
        "{count} row held out for validation is nearly the same as a row that is trained on. The validation "
        "loss looks better than it is.",
        "{count} rows held out for validation are nearly the same as rows that are trained on. The validation"
        " loss looks better than it is.",
    ),
    "language_mix": ngettext_noop(
        "The answer of {count} row is in another language than nearly all others, or than its question, and "
        "nobody asked for it.",
        "The answers of {count} rows are in another language than nearly all others, or than their question, "
        "and nobody asked for it.",
    ),
    "contradictions": ngettext_noop(
        "{count} row answers a question otherwise than another row answers the same question. The model can "
        "learn neither answer.",
        "{count} rows answer a question otherwise than another row answers the same question. The model can "
        "learn neither answer.",
    ),
    "nothing_learned": ngettext_noop(
        "In {count} row the answer begins behind the longest length ({limit} tokens), so that nothing is "
        "learnt from it.",
        "In {count} rows the answer begins behind the longest length ({limit} tokens), so that nothing is "
        "learnt from them.",
    ),
    "end_not_learned": ngettext_noop(
        "The answer of {count} row ends without an end token that the model could learn. It will not know "
        "where to stop.",
        "The answers of {count} rows end without an end token that the model could learn. It will not know "
        "where to stop.",
    ),
    "truncated": ngettext_noop(
        "{count} row ({share:.1%}) is longer than {limit} tokens and loses its end (tokens lost: {lost}). "
        "With {suggested} tokens, {share_then:.1%} are cut off.",
        "{count} rows ({share:.1%}) are longer than {limit} tokens and lose their end, {lost} tokens in all. "
        "With {suggested} tokens, {share_then:.1%} are cut off.",
    ),
}

REMEDIES = {
    "drop_repeats": gettext_noop("Keep one of each"),
    "drop_rows": gettext_noop("Leave these rows out"),
    "skip_empty_answers": gettext_noop("Skip empty answers"),
    "raise_max_length": gettext_noop("Set the longest row to {value:,} tokens"),
    "move_out_of_validation": gettext_noop("Move them to the training rows"),
}


def finding_title(name: str) -> str:
    """Return the title of a finding in the language of the session. Raises `KeyError` for an unknown name."""
    return tr(TITLES[name])


def finding_text(name: str, values: Mapping[str, Any]) -> str:
    """Return a finding in the language of the session. Raises `KeyError` for an unknown name or a missing value."""
    return trn(*FINDINGS[name], values["count"]).format(**values)


def remedy_text(code: str, values: Mapping[str, Any]) -> str:
    """Return the words of a button in the language of the session. Raises `KeyError` for an unknown code."""
    return tr(REMEDIES[code]).format(**values)
