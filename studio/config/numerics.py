"""Section `[numerics]`: what of the arithmetic is recorded, and when a run waits for its user."""

from __future__ import annotations

from studio.config.option import Section, option
from studio.i18n import gettext_noop


class NumericsConfig(Section):
    """Recording and diagnosis of the numbers inside the model."""

    record: bool = option(
        True,
        "Record the numerics",
        "Look inside the model now and then: the largest activations and gradients of each layer, and how many "
        "fp16 would lose. It costs less than 2 % of the time; losses, norms and scales are kept either way.",
        advanced=True,
    )
    every: int = option(
        20,
        "Look every",
        "Steps between two looks inside the model. Skipped steps are looked at besides, the first of them always.",
        unit=gettext_noop("steps"),
        ge=1,
        le=1_000_000,
        advanced=True,
    )
    pause_after: int = option(
        5,
        "Pause after",
        "So many bad steps in a row, which no smaller loss scale can help, pause the run in the window and end it "
        "on the command line. The weights stay those of the last good update.",
        unit=gettext_noop("bad steps"),
        ge=1,
        le=10_000,
        advanced=True,
    )
