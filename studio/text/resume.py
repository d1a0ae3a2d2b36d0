"""The words for a run that goes on from a checkpoint: from where, what is different, and what was passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.i18n import gettext_noop, sentences, tr

# Why a checkpoint cannot be used.
REASONS = {
    "half": gettext_noop("it was not written to its end"),
    "incomplete": gettext_noop("a file is missing"),
    "damaged": gettext_noop("a file is damaged"),
}

# What differs from before, beside settings; `{value}` is what it is now.
DIFFERENCES = {
    "base": gettext_noop("the files of the base model"),
    "data": gettext_noop("the rows of the data"),
    "machine.device": gettext_noop("the device ({value})"),
    "machine.threads": gettext_noop("the number of threads ({value})"),
    "machine.precision": gettext_noop("the precision ({value})"),
    "machine.micro_batch_tokens": gettext_noop("the size of the micro-batches ({value} tokens)"),
}


def resumed_text(step: int, update: int, changes: Mapping[str, Any], skipped: Sequence[Mapping[str, str]]) -> str:
    """Return how a run goes on, as sentences; the arguments are fields of `RunResumed`."""
    if step:
        said = [tr("It goes on after update {update} (step {step}).").format(update=update, step=step)]
    else:
        said = [tr("It came to no checkpoint, and begins anew.")]
    for one in skipped:
        reason = REASONS.get(one.get("reason", ""), REASONS["damaged"])
        words = tr("The checkpoint {name} was passed over: {reason}.")
        said.append(words.format(name=one.get("name", ""), reason=tr(reason)))
    if changes:
        words = tr("Different from before: {changes}. From here on, it is not the same run bit for bit.")
        said.append(words.format(changes=tr(", ").join(difference_text(key, changes[key]) for key in changes)))
    return sentences(said)


def difference_text(key: str, value: Any) -> str:
    """Return one entry of `RunResumed.changes` in words."""
    if key in DIFFERENCES:
        return tr(DIFFERENCES[key]).format(value=value)
    if key.startswith("versions."):
        return f"{key.removeprefix('versions.')} {value}"
    return f"{key} = {value}"
