"""Checks of what an export says when it is asked: that it ends, and never says a virtual token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from studio.engine.control import Progress
from studio.engine.export import stopping
from studio.engine.export.certificate import Check
from studio.engine.export.compare import Outputs
from studio.engine.export.reference import Reference
from studio.engine.export.stopping import Stops, TaughtStops, first_stop

# Once in a million tokens at most, if tokens were drawn at temperature 1; greedy choice then never takes one.
STRAY = 1e-6


def generate(
    model: nn.Module, reference: Reference, live: Stops, ends: Sequence[int], progress: Progress
) -> tuple[Stops, int]:
    """Generate greedily until the export ends an answer; return that, and how many tokens it was given for it.

    Rounding may lead another way round than base + trained part went, so the export has twice as long, and the same
    number of tries. `live` is how that ended. Nothing suppresses a token here, whatever the generation config asks for.
    """
    limit = stopping.LIMIT if live.tokens is None else 2 * live.tokens + 32
    others = [prompt for prompt in reference.prompts if prompt is not live.prompt and live.tokens is not None]
    opening = reference.prefix.ids
    return first_stop(model, [live.prompt, *others], ends, limit, progress, "verifying", opening), limit


def stop_check(found: Stops, trained: Stops, limit: int) -> Check:
    """Return whether the export ends an answer by itself, if base + trained part did.

    A model that never learnt to stop is not the export's fault: it passes, and the sentence says so.
    """
    passed = found.tokens is not None or trained.tokens is None
    return Check.of("stops_by_itself", passed, found.tokens, limit, trained=trained.tokens)


def taught_stop_check(found: TaughtStops, trained: TaughtStops) -> Check:
    """Return whether the export finds an end where held-out answers end, at least half as often as the trained model.

    It takes the place of `stop_check` where a model is too large to be let answer.
    """
    passed = 2 * found.ended >= trained.ended
    evidence = {"trained": trained.ended, "asked": found.asked, "teacher_forced": True}
    return Check.of("stops_by_itself", passed, found.ended, trained.ended / 2, **evidence)


def never_generated(answer: Outputs, outputs: Outputs, stops: Stops, reference: Reference) -> tuple[Check, ...]:
    """Return the check that virtual tokens are never said; none where the export has none.

    Args:
        answer: outputs over a prompt and the answer that the export gave to it.
        outputs: outputs over the held-out rows.
        stops: that answer.
    """
    if not reference.prefix.ids:
        return ()
    # Python's max() may pass over a NaN; torch's returns it.
    value = float(torch.tensor([answer.stray, outputs.stray], dtype=torch.float64).max())
    said = not set(stops.answer).isdisjoint(reference.prefix.ids)
    return (Check.of("virtual_tokens_never_generated", value <= STRAY and not said, value, STRAY, said=said),)
