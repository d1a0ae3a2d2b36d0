"""Checks of what an export says when it is asked: that it ends, and never says a virtual token."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from studio.engine.control import Progress
from studio.engine.export import stopping
from studio.engine.export.certificate import Check
from studio.engine.export.checks.outputs import short
from studio.engine.export.compare import Outputs
from studio.engine.export.reference import Reference
from studio.engine.export.stopping import Stops, first_stop
from studio.i18n import tr

# Once in a million tokens at most, if tokens were drawn at temperature 1; greedy choice then never takes one.
STRAY = 1e-6


def generate(model: nn.Module, reference: Reference, ends: Sequence[int], progress: Progress) -> tuple[Stops, int]:
    """Generate greedily until the export ends an answer; return that, and how many tokens it was given for it.

    Rounding may lead another way round than base + trained part went, so the export has twice as long, and the same
    number of tries. Nothing suppresses any token here, whatever the generation config asks for.
    """
    live = reference.stops
    limit = stopping.LIMIT if live.tokens is None else 2 * live.tokens + 32
    others = [prompt for prompt in reference.prompts if prompt is not live.prompt and live.tokens is not None]
    opening = reference.prefix.ids
    return first_stop(model, [live.prompt, *others], ends, limit, progress, "verifying", opening), limit


def stop_check(found: Stops, live: Stops, limit: int) -> Check:
    """Return whether the export ends an answer by itself, if base + trained part did.

    A model that never learnt to stop is not the export's fault: it passes, and the sentence says so.
    """
    return Check(
        name="stops_by_itself",
        passed=found.tokens is not None or live.tokens is None,
        value=found.tokens,
        limit=limit,
        meaning=_stopping(found.tokens, live.tokens).format(tokens=found.tokens, live=live.tokens, limit=limit),
    )


def _stopping(tokens: int | None, live: int | None) -> str:
    if tokens is not None:
        return tr("Asked a held-out question, the export ends its answer by itself, after {tokens} tokens.")
    if live is None:
        return tr("Neither the trained model nor the export ends its answer within {limit} tokens: it was not learnt.")
    return tr("The trained model ends its answer after {live} tokens, but the export does not within {limit}.")


def never_generated(answer: Outputs, outputs: Outputs, stops: Stops, reference: Reference) -> tuple[Check, ...]:
    """Return the check that virtual tokens are never said; none where the export has none.

    Args:
        answer: outputs over a prompt and the answer that the export gave to it.
        outputs: outputs over the held-out rows.
        stops: that answer.
    """
    if not reference.prefix.ids:
        return ()
    value = max(answer.stray, outputs.stray)
    said = not set(stops.answer).isdisjoint(reference.prefix.ids)
    meaning = _saying(said, likely=value > STRAY).format(value=short(value), limit=short(STRAY))
    passed = value <= STRAY and not said
    return (Check(name="virtual_tokens_never_generated", passed=passed, value=value, limit=STRAY, meaning=meaning),)


def _saying(said: bool, likely: bool) -> str:
    if said:
        return tr(
            "The export answers with a virtual token, which is none of the text it should write; export the adapter "
            "instead."
        )
    if likely:
        return tr(
            "The export may say virtual tokens, which are none of the text it should write: somewhere in the held-out "
            "rows or in an answer of the export all of them together have the probability {value}, where {limit} is "
            "allowed. No row of this model's output layer makes them unlikely everywhere; export the adapter instead."
        )
    return tr(
        "Virtual tokens are read and never said: in the held-out rows and in an answer of the export, all of them "
        "together are nowhere more probable than {value}; {limit} is allowed."
    )
