"""What there is to say of the rows of a dataset, in words made from a code and its values.

The codes are given by `studio.engine.data`, as `Remark`s. `{file}` is the source, `{count}` the rows that it is about
and `{rows}` all rows of the source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from studio.i18n import gettext_noop, ngettext_noop, tr, trn
from studio.text.findings import finding_title

WORDS: dict[str, str | tuple[str, str]] = {
    # Why a row is skipped: parts of a sentence.
    "unreadable_line": gettext_noop("what stands there cannot be read"),
    "empty_field": gettext_noop('"{field}" is missing or empty'),
    "empty_answer": gettext_noop("the answer is empty"),
    "empty_question": gettext_noop("a question is empty"),
    "not_text": gettext_noop('"{field}" is not text'),
    "not_a_list": gettext_noop('"{field}" is not a list of messages'),
    "list_as_text": gettext_noop('"{field}" is a list written as text; save it as a list'),
    "message_not_object": gettext_noop("a message is not an object with a role and a content"),
    "message_without_role": gettext_noop("a message has no role (it has {keys})"),
    "message_without_content": gettext_noop("a message has no content"),
    "unknown_mark": gettext_noop(
        'the mark "{field}" of a message says "{value}", which is not understood: write true to learn it, or false'
    ),
    "mask_of_other_length": gettext_noop(
        'the conversation has {turns} turns, and "{field}" another number of marks ({marks}): give one for each turn, '
        "or one for each answer"
    ),
    "unknown_role": gettext_noop("the role {role} is not known"),
    "lost_parent": gettext_noop(
        "the message that it answers is not before it in its tree; put the messages of a tree one after the other"
    ),
    "calls_tools": gettext_noop("it calls tools, which cannot be learnt yet"),
    "needs_media": gettext_noop('it is about what "{field}" holds, and only text can be learnt'),
    "holds_media": gettext_noop("it contains an image, a sound or a file"),
    "thought_without_answer": gettext_noop("a thought is not followed by an answer"),
    "no_answer": gettext_noop("no message of it is an answer"),
    "bad_answer": gettext_noop("the answer is marked as bad"),
    "not_to_learn": gettext_noop('"{field}" says that it is not to be learnt'),
    "no_learnt_answer": gettext_noop("none of its answers is marked to be learnt"),
    "several_answers": gettext_noop(
        '"{field}" holds several answers, and only one can be learnt: keep one, or, where the first is the best, take '
        'the column for "chosen"'
    ),
    "no_such_choice": gettext_noop("the answer {number} is the number of no choice; they are counted from 0"),
    "answer_cut_off": gettext_noop("the answer begins behind the longest length"),
    "refused_by_template": gettext_noop("the chat template refuses it ({error})"),
    "system_refused": gettext_noop("the chat template takes no system text; it can stand before the first question"),
    "endless_template": gettext_noop("the chat template makes far too much text of it"),
    "answer_not_found": gettext_noop("the chat template does not show where the answer begins"),
    "reserved_characters": gettext_noop(
        "it holds characters of Unicode's last private-use plane beside control tokens"
    ),
    "inseparable_control_tokens": gettext_noop("its text cannot be kept apart from the control tokens of the model"),
    # Of rows that are learnt all the same.
    "unwrapped": ngettext_noop(
        '{file}: {count} of {rows} rows was taken from the list "{key}" that wraps it.',
        '{file}: {count} of {rows} rows were taken from the list "{key}" that wraps them.',
    ),
    "message_trees": ngettext_noop(
        "{file}: its rows are single messages; {count} conversation was made of them, along the best-ranked "
        "replies to its first message.",
        "{file}: its rows are single messages; {count} conversations were made of them, each along the "
        "best-ranked replies to its first message.",
    ),
    "unanswered_turn": ngettext_noop(
        "{file}: {count} of {rows} conversations ends with a question that has no answer; it is left out, and"
        " the answers before it are learnt.",
        "{file}: {count} of {rows} conversations end with a question that has no answer; it is left out, and "
        "the answers before it are learnt.",
    ),
    "bare_strings": ngettext_noop(
        "{file}: {count} of {rows} rows is a bare string; it is learnt as plain text.",
        "{file}: {count} of {rows} rows are bare strings; they are learnt as plain text.",
    ),
    "each_paragraph": ngettext_noop(
        "{file}: its {count} paragraph is a row.",
        "{file}: each of its {count} paragraphs is a row.",
    ),
    "each_document": gettext_noop("{file}: the whole document is a row."),
    "repeated_key": gettext_noop("{file}: in {count} of {rows} rows a key stands twice; the last one counts."),
    "named_rows": ngettext_noop(
        "{file}: its {rows} row stands under a name, which is not used.",
        "{file}: its {rows} rows each stand under a name, which is not used.",
    ),
    "stored_by_columns": ngettext_noop(
        "{file} is a table stored by columns, as pandas writes it; it has {rows} row.",
        "{file} is a table stored by columns, as pandas writes it; it has {rows} rows.",
    ),
    "answers_only_read": gettext_noop(
        "{file}: in {count} of {rows} rows some answers are read and not learnt, because they are marked so or belong "
        "to the question."
    ),
    "weights_count_as_one": gettext_noop(
        "{file}: in {count} of {rows} rows a weight is neither 0 nor 1; such answers are learnt like all others."
    ),
    "mark_not_understood": ngettext_noop(
        '{file}: does "{field}" say whether a row is to be learnt? In {count} of {rows} rows it is not '
        'understood (such as "{value}"), and the row is learnt. Write true or false in it, or ignore the '
        "column.",
        '{file}: does "{field}" say whether a row is to be learnt? In {count} of {rows} rows it is not '
        'understood (such as "{value}"), and they are learnt. Write true or false in it, or ignore the '
        "column.",
    ),
    "best_answer": ngettext_noop(
        "{file}: {count} of {rows} rows holds several answers; the one with the best rank or score is learnt.",
        "{file}: {count} of {rows} rows hold several answers; the one with the best rank or score is learnt.",
    ),
    "assistant_first": gettext_noop("{file}: in {count} of {rows} rows the assistant speaks first."),
    "preference_data": gettext_noop(
        "{file} is preference data (DPO): the chosen answers are learnt, the rejected ones are not used."
    ),
    "tied_answers": gettext_noop(
        "{file}: in {count} of {rows} rows the chosen and the rejected answer are the same; it is learnt all the same."
    ),
    "rated_data": gettext_noop("{file} is rated data (KTO): only the answers marked as good are learnt."),
    "rewritten_turns": gettext_noop(
        "{file}: in {count} of {rows} rows the chat template rewrites earlier turns; each answer becomes its own row."
    ),
    "answer_opens_differently": gettext_noop(
        "{file}: in {count} of {rows} rows the chat template opens an answer with a thought that the rows do not have; "
        "the empty thought is shown and not learnt."
    ),
    "asked_otherwise": gettext_noop(
        "{file}: in {count} of {rows} rows the chat template renders the question otherwise once the answer is there; "
        "the answer is learnt after the question as the model will be asked it."
    ),
    "cut_from_answer": gettext_noop(
        "{file}: in {count} of {rows} rows the chat template cuts a part out of an answer, such as a thought; "
        "it is learnt all the same, as the row has it."
    ),
    "system_dropped": gettext_noop(
        "{file}: in {count} of {rows} rows the chat template leaves out the system text, so that the model never "
        "sees it. It can stand before the first question."
    ),
    "question_dropped": gettext_noop(
        "{file}: in {count} of {rows} rows the chat template leaves out a part of a question, so that the model never "
        "sees it."
    ),
    "thought_left_out": ngettext_noop(
        "{file}: {count} of {rows} rows holds a thought, for which the model has no place; it is not learnt. "
        "To learn it, let thoughts be written in the answer.",
        "{file}: {count} of {rows} rows hold a thought, for which the model has no place; it is not learnt. "
        "To learn it, let thoughts be written in the answer.",
    ),
    "unknown_characters": ngettext_noop(
        "{file}: {count} of {rows} rows holds characters for which the tokenizer has no token; they are left "
        "out, or learnt as the unknown token.",
        "{file}: {count} of {rows} rows hold characters for which the tokenizer has no token; they are left "
        "out, or learnt as the unknown token.",
    ),
    "changed_by_tokenizer": ngettext_noop(
        "{file}: the tokens of {count} of {rows} rows do not give back its text; the tokenizer changes it, "
        "such as its spaces, accents or capital letters.",
        "{file}: the tokens of {count} of {rows} rows do not give back their text; the tokenizer changes it, "
        "such as its spaces, accents or capital letters.",
    ),
    "unused_columns": gettext_noop(
        "{file}: these columns are not used: {columns}. Say which field each is for, or that it is to be ignored."
    ),
    "divided": ngettext_noop(
        "{file}: {count} of {rows} rows is longer than the longest length; it is cut into several, and "
        "nothing is lost.",
        "{file}: {count} of {rows} rows are longer than the longest length; each is cut into several, and "
        "nothing is lost.",
    ),
    # Of skipped rows.
    "rows_skipped": ngettext_noop(
        "{file}: {count} of {rows} rows is skipped because {reason} (row {numbers}).",
        "{file}: {count} of {rows} rows are skipped because {reason} (row {numbers}).",
    ),
    "no_rows": gettext_noop("{file} has no rows."),
    "no_row_teaches": ngettext_noop(
        "No row of {file} can teach: {count} of {rows} is skipped because {reason} (the first is row {first}).",
        "No row of {file} can teach: {count} of {rows} are skipped because {reason} (the first is row {first}).",
    ),
    "all_too_long": gettext_noop(
        "No answer in {file} begins within the first {limit} tokens (rows have {shortest} to {longest}, half "
        "of them up to {median}); set the longest row to {suggested}."
    ),
    # Of all sources of a run and its settings.
    "nothing_held_out": gettext_noop("Nothing is held out for validation, because there are not two different rows."),
    "general_rows_held_out": ngettext_noop(
        "General rows that are also held out for validation: {count}; it is not trained on.",
        "General rows that are also held out for validation: {count}; they are not trained on.",
    ),
    "rows_left_out": gettext_noop("Rows that are left out because of a finding ({finding}): {count}."),
    "no_end_token": gettext_noop("The tokenizer has no end token, so the model cannot learn where to stop."),
    "general_share_too_small": gettext_noop("The general share rounds to no row at all; raise it, or add domain rows."),
    "general_rows_unused": gettext_noop("The general rows are not used, because the general share is 0."),
    "listed_repeatedly": gettext_noop("{file} is listed {count} times."),
}


def listed(names: Collection[str]) -> str:
    """Return names for a message, the first dozen of them, shortened."""
    short = [name if len(name) <= 40 else name[:39] + "…" for name in list(names)[:12]]
    return tr(", ").join(short) + (", …" if len(names) > len(short) else "")


def remark_text(code: str, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> str:
    """Return a remark in the language of the session.

    Raises:
        KeyError: there are no words for the code, or values are missing.
    """
    given = dict(values)
    if "reason" in given:
        given["reason"] = remark_text(given.pop("reason"), given)
    if "finding" in given:
        given["finding"] = finding_title(given["finding"])
    if "numbers" in given:  # of the first few rows
        more = ", …" if given["count"] > len(given["numbers"]) else ""
        given["numbers"] = tr(", ").join(map(str, given["numbers"])) + more
    if "columns" in given:
        given["columns"] = listed(given["columns"])
    words = WORDS[code]
    if isinstance(words, str):
        return tr(words).format(**given)
    return trn(*words, given["count" if "count" in given else "rows"]).format(**given)
