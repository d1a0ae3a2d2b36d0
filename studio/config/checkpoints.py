"""Section `[checkpoints]`: how often the whole state of a run is saved, and how many of these states are kept."""

from __future__ import annotations

from studio.config.option import Section, option
from studio.i18n import gettext_noop


class CheckpointsConfig(Section):
    """What is lost at most where a run is cut off, and the room that this takes on the disk."""

    every_minutes: float = option(
        5.0,
        "Save every",
        "Minutes between two checkpoints: what a power cut costs at most. Training goes on while one is written. The "
        "first comes after a few updates. 0 saves at a pause, at the end and on request alone.",
        unit=gettext_noop("minutes"),
        ge=0.0,
        le=100_000.0,
        advanced=True,
    )
    keep: int = option(
        2,
        "Checkpoints to keep",
        "The newest ones, beside the one with the lowest validation loss. A damaged one is passed over for the one "
        "before it. Each is three times as large as the trained weights in fp32 (AdamW).",
        ge=1,
        le=1000,
        advanced=True,
    )
