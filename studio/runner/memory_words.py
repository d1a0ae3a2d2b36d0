"""What the window and the terminal say of the memory that a run measured, and of memory that ran out."""

from __future__ import annotations

from studio.events import MemoryMeasured, MicroBatchShrunk
from studio.i18n import gettext_noop, tr
from studio.text.numbers import size_text

_DURING = {
    "trial": gettext_noop("Memory ran out in the trial of the longest rows."),
    "training": gettext_noop("Memory ran out in a training step."),
    "optimizer": gettext_noop("Memory ran out while weights were updated."),
    "evaluation": gettext_noop("Memory ran out while the validation loss was measured."),
}


def measured_text(event: MemoryMeasured) -> str:
    """Return what the trial of the longest rows has shown."""
    words = tr("The longest rows were tried first: {rows} of {length} tokens; the peak was {peak}.").format(
        rows=event.rows, length=event.length, peak=size_text(event.peak)
    )
    return f"{words} {tr('Activations are recomputed.')}" if event.recompute else words


def shrunk_text(event: MicroBatchShrunk) -> str:
    """Return what happened, and how the run goes on."""
    words = tr(_DURING[event.during])
    if event.tokens < event.tokens_before:
        goes_on = tr("The same rows go on in micro-batches of {tokens} tokens, with the same result.")
    else:
        goes_on = tr("The run goes on, and computes activations again in the backward pass, with the same result.")
    return f"{words} {goes_on.format(tokens=event.tokens)}"
