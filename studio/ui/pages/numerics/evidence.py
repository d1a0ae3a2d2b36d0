"""The evidence of a verdict for people: names in words, numbers as the window writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from studio.i18n import gettext_noop, tr
from studio.text import numbers
from studio.text.numbers import share_text

NAMES = {
    "precision": gettext_noop("Precision"),
    "scaling": gettext_noop("Loss scaling"),
    "module": gettext_noop("Module"),
    "direction": gettext_noop("Direction"),
    "largest_before": gettext_noop("Largest before"),
    "rows": gettext_noop("Rows"),
    "rows_tried": gettext_noop("Rows tried"),
    "step": gettext_noop("Step"),
    "steps": gettext_noop("Steps"),
    "first_step": gettext_noop("First step"),
    "skipped": gettext_noop("Skipped"),
    "at_start": gettext_noop("At the start"),
    "update": gettext_noop("Update"),
    "loss": gettext_noop("Loss"),
    "loss_before": gettext_noop("Loss before"),
    "lowest_before": gettext_noop("Lowest before"),
    "learning_rate": gettext_noop("Learning rate"),
    "scale": gettext_noop("Scale"),
    "scale_before": gettext_noop("Scale before"),
    "tried_scale": gettext_noop("Tried scale"),
    "suggested_scale": gettext_noop("Suggested scale"),
    "from_scale": gettext_noop("From scale"),
    "to_scale": gettext_noop("To scale"),
    "growth_interval": gettext_noop("Growth interval"),
    "growth_factor": gettext_noop("Growth factor"),
    "backoff_factor": gettext_noop("Backoff factor"),
    "grad_scale": gettext_noop("Loss scale"),
    "grad_norm": gettext_noop("Gradient norm"),
    "max_grad_norm": gettext_noop("Clipping limit"),
    "overflows": gettext_noop("Overflows"),
    "ratio": gettext_noop("Ratio"),
    "share": gettext_noop("Share"),
    "probes": gettext_noop("Larger scales tried"),
    "beyond_fp16": gettext_noop("Beyond fp16"),
    "format": gettext_noop("Format"),
    "first_activation": gettext_noop("Not finite first in"),
    "activation_modules": gettext_noop("Modules"),
    "first_gradient": gettext_noop("Backwards first in"),
    "gradient_modules": gettext_noop("Modules"),
}
DIRECTIONS = {
    "forward": gettext_noop("forward pass"),
    "backward": gettext_noop("backward pass"),
    "loss": gettext_noop("loss"),
    "weights": gettext_noop("weights"),
    "unknown": gettext_noop("not known"),
}
SCALINGS = {"dynamic": gettext_noop("dynamic"), "static": gettext_noop("static"), "off": gettext_noop("off")}
WORDS = {"direction": DIRECTIONS, "scaling": SCALINGS}
MOST_ROWS = 4


def evidence_rows(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each piece of evidence as its name and its value."""
    return [
        (_name(key), with_breaks(_value(key, value)))
        for key, value in evidence.items()
        if value not in (None, "", [], {})
    ]


def with_breaks(text: str) -> str:
    """Return a text in which the dotted name of a module can go on in the next line."""
    return re.sub(r"(?<=[a-z0-9])\.(?=[a-z0-9])", ".\u200b", text)


def _name(key: str) -> str:
    return tr(NAMES[key]) if key in NAMES else key.replace("_", " ").capitalize()


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if "share" in key and 0 <= value <= 1:
            return share_text(value, 1)
        return numbers.scale(value) if "scale" in key else numbers.brief(value)
    if isinstance(value, Mapping):
        return tr(", ").join(f"{_name(inner)} {_value(inner, one)}" for inner, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _listed(key, value)
    return tr(WORDS.get(key, {}).get(value, str(value)))


def _listed(key: str, values: Sequence[Any]) -> str:
    shown = [_row(value) if _is_row(value) else _value(key, value) for value in values[:MOST_ROWS]]
    if len(values) > MOST_ROWS:
        shown.append(tr("and {count} more").format(count=len(values) - MOST_ROWS))
    return "\n".join(shown) if any(_is_row(value) for value in values) else tr(", ").join(shown)


def _is_row(value: Any) -> bool:
    """Whether this is a row of a dataset: source file, number from 1, tokens."""
    return isinstance(value, Mapping) and set(value) == {"source", "number", "tokens"}


def _row(value: Mapping[str, Any]) -> str:
    words = tr("{file} row {number} ({tokens} tokens)")
    return words.format(file=PurePath(value["source"]).name, number=value["number"], tokens=value["tokens"])
