"""What the hub says of a repository, and whether a model fits this machine, in words."""

from __future__ import annotations

import re
from typing import Any

from studio.i18n import gettext_noop, tr
from studio.text import numbers
from studio.text.numbers import count_text, size_text, whole

# What an outlook names; the titles of methods and precisions are too long for a cell.
_METHODS = {"full": gettext_noop("Full fine-tuning"), "lora": gettext_noop("LoRA")}
_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def outlook_text(outlook: Any) -> str:
    """Return an `Outlook` in a few words: how the model can be trained here, or that it cannot."""
    if outlook.unknown:
        return tr("Not known")
    if outlook.problem:
        return tr("Cannot be trained here")
    size = size_text(outlook.total_bytes)
    if not outlook.fits:
        return tr("Too large: needs {size}").format(size=size)
    return tr("{way}, {size}").format(way=way_text(outlook), size=size)


def way_text(outlook: Any) -> str:
    """Return method and precision of an `Outlook`, such as LoRA in bf16-mixed over nf4."""
    method = tr(_METHODS.get(outlook.method, outlook.method))
    if outlook.base_dtype in ("nf4", "int8"):
        words = tr("{method}, {precision} over {storage}")
        return words.format(method=method, precision=outlook.precision, storage=outlook.base_dtype)
    return tr("{method}, {precision}").format(method=method, precision=outlook.precision)


def outlook_sentence(outlook: Any) -> str:
    """Return an `Outlook` as a whole sentence."""
    if outlook.unknown or outlook.problem:
        return str(outlook.unknown or outlook.problem)
    facts = {
        "way": way_text(outlook),
        "size": size_text(outlook.total_bytes),
        "free": size_text(outlook.available_bytes),
    }
    if outlook.fits:
        return tr("It can be trained here: {way}, {size} of the {free} that are free.").format(**facts)
    return tr("It cannot be trained here: {way} needs {size}, and {free} are free.").format(**facts)


def access_text(*, gated: bool) -> str:
    """Return whether anybody may download it."""
    return tr("Terms to accept") if gated else tr("Public")


def rows_text(tag: str) -> str:
    """Return how many rows a dataset has, of the tag of the hub: 10K<n<100K is 10,000 to 100,000; others stay."""
    match re.split("([<>])", tag):
        case [fewest, "<", "n", "<", most]:
            return tr("{fewest} to {most}").format(fewest=_bound(fewest), most=_bound(most))
        case ["n", "<", most]:
            return tr("Fewer than {most}").format(most=_bound(most))
        case ["n", ">", fewest]:
            return tr("More than {fewest}").format(fewest=_bound(fewest))
    return tag or numbers.NONE


def _bound(text: str) -> str:
    """Return a bound such as 10K as a number."""
    if not re.fullmatch("[0-9]{1,4}[KMBT]", text):
        return text
    count = int(text[:-1]) * _UNITS[text[-1]]
    return whole(count) if count < 10**6 else count_text(count)


def licence_text(licence: str) -> str:
    """Return the licence as the hub names it."""
    return licence or numbers.NONE
