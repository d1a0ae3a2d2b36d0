"""What people read, the same in the window and on the command line: numbers with their units, stages, components."""

from __future__ import annotations

import math

from studio.i18n import gettext_noop, tr

_COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))

STAGES = {
    "starting": gettext_noop("Starting"),
    "reading_model": gettext_noop("Reading the model"),
    "checking_model": gettext_noop("Checking the model"),
    "loading_model": gettext_noop("Loading the model"),
    "downloading": gettext_noop("Downloading"),
    "reading_data": gettext_noop("Reading the data"),
    "tokenising": gettext_noop("Splitting the text into tokens"),
    "evaluating": gettext_noop("Measuring the validation loss"),
    "training": gettext_noop("Training"),
    "saving": gettext_noop("Saving"),
    "merging": gettext_noop("Merging"),
    "loading_patches": gettext_noop("Loading adapters"),
    "measuring": gettext_noop("Measuring"),
    "writing": gettext_noop("Writing files"),
    "verifying": gettext_noop("Verifying"),
}

# Of a memory estimate.
COMPONENTS = {
    "runtime": gettext_noop("Program"),
    "weights": gettext_noop("Weights"),
    "conversions": gettext_noop("16-bit copies"),
    "loading": gettext_noop("Loading"),
    "gradients": gettext_noop("Gradients"),
    "optimizer": gettext_noop("Optimizer"),
    "activations": gettext_noop("Activations"),
    "holes": gettext_noop("Gaps between activations"),
    "logits": gettext_noop("Logits"),
}


def stage_text(stage: str) -> str:
    """Return a stage of `studio.engine.control.Progress` in words."""
    return tr(STAGES[stage]) if stage in STAGES else stage


def component_text(name: str) -> str:
    """Return a component of a memory estimate in words."""
    return tr(COMPONENTS[name]) if name in COMPONENTS else name.replace("_", " ").capitalize()


def size_text(count: float) -> str:
    """Bytes in the unit that fits: 5_476_083_302 is 5.1 GB (1024 steps, as system monitors show memory)."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{_short(count)} {unit}"
        count /= 1024
    return f"{_short(count)} TB"


def count_text(count: float) -> str:
    """A count in short: 4_884_480 is 4.9 M, 412 is 412."""
    for factor, letter in _COUNTS:
        # 999,950 and more would be rounded to 1000.0 of the smaller unit.
        if count >= factor * 0.99995:
            return f"{_short(count / factor)} {letter}"
    return f"{count:,.0f}"


def share_text(part: float, whole: float) -> str:
    """A share in per cent with two significant digits: 3.5 %."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.0f} %" if percent >= 9.95 or not percent else f"{percent:.2g} %"


def duration_text(seconds: float) -> str:
    """A duration in its two largest units: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return tr("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return tr("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
    return tr("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)


def speed_text(tokens_per_second: float) -> str:
    """A speed in tokens per second."""
    return tr("{speed} tokens/s").format(speed=_short(tokens_per_second))


def _short(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.1f}" if 0 < value < 9.95 and value != round(value) else f"{value:,.0f}"
