"""Section `[retention]`: what the model unlearns, measured while it trains."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from studio.config.option import Section, option

SHIPPED = "auto"  # the general texts and questions that ship with the app

# A loss of retention that nobody notices lies above the first, one that everybody does below the second.
KEPT, MOSTLY_KEPT = 0.95, 0.8


class RetentionConfig(Section):
    """What is measured of what the model could do before, and where a run ends because of it."""

    measure: bool = option(
        True,
        "Measure what it unlearns",
        "Before the first step, at validations and at the end, the model reads texts that have nothing to do with your "
        "data, and answers general questions. It takes a few percent of the time, more only in very short runs, and "
        "changes nothing in what is learnt.",
    )
    probes: Annotated[str, StringConstraints(min_length=1)] = option(
        SHIPPED,
        "Texts to measure on",
        "auto is a general set in English and Chinese that ships with the app. A dataset file, of any format that can "
        "be trained on, takes its place: rows that the model must not unlearn.",
        when=("measure", True),
        advanced=True,
    )
    stop_below: float = option(
        0.0,
        "Stop below",
        "Retention is the perplexity of the base divided by that of the model as it is now, on the same texts. 1 is as "
        "good as before; at 0.5 the model is twice as unsure of each token. Below this bound the run ends, and its "
        "result is the one with the lowest validation loss among those above it. 0 never stops; 0.8 is strict. With a "
        "bound, retention is measured at every validation.",
        ge=0.0,
        le=1.0,
        when=("measure", True),
    )
    prompts: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = option(
        (),
        "Your own prompts",
        "They are answered at every validation, and the answers are shown as they change. Each costs a few seconds.",
        when=("measure", True),
        advanced=True,
    )
