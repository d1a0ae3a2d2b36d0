"""Checks of what an export says when it is asked: that it ends, and never says a virtual token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def answer(
    model: nn.Module,
    load_trained: Callable[[], nn.Module],
    reference: Reference,
    ends: tuple[Sequence[int], Sequence[int]],
    progress: Progress,
) -> tuple[Stops, Check]:
    """Let the export answer a held-out prompt greedily; return its answer, and whether it ends it by itself.

    The prompt with the shortest held-out answer is asked. Only where the export does not end its answer, the trained
    model is loaded and asked too, that and further prompts. A model that never learnt to stop is not the export's
    fault: it passes, and the sentence says so. If the trained model stops, the export is asked again: rounding may lead
    another way round, so it has twice as long, and the same number of tries. Nothing suppresses a token here, whatever
    the generation config asks for.

    Args:
        load_trained: returns base + trained part, which then is in memory beside the export.
        ends: the tokens that end an answer of the export, and of the trained model.
    """
    prompts = sorted(reference.prompts, key=lambda prompt: len(prompt.ids) - prompt.answer)
    opening = reference.prefix.ids
    found = first_stop(model, prompts[:1], ends[0], stopping.LIMIT, progress, "verifying", opening)
    if found.tokens is not None:
        return found, stop_check(found, None, stopping.LIMIT)
    trained, limit = first_stop(load_trained(), prompts, ends[1], stopping.LIMIT, progress, "verifying"), stopping.LIMIT
    if trained.tokens is not None:
        limit = 2 * trained.tokens + 32
        others = [prompt for prompt in prompts if prompt is not trained.prompt]
        found = first_stop(model, [trained.prompt, *others], ends[0], limit, progress, "verifying", opening)
    return found, stop_check(found, trained, limit)


def stop_check(found: Stops, trained: Stops | None, limit: int) -> Check:
    """Return whether the export ends an answer by itself, if base + trained part did; None: that was not asked."""
    tokens = trained.tokens if trained else None
    return Check.of("stops_by_itself", found.tokens is not None or tokens is None, found.tokens, limit, trained=tokens)


def taught_stop_check(found: TaughtStops, trained: TaughtStops) -> Check:
    """Return whether the export finds an end where held-out answers end, at least half as often as the trained model.

    It takes the place of `stop_check` where a model is too large to be let answer.
    """
    passed = 2 * found.ended >= trained.ended
    evidence = {"trained": trained.ended, "asked": found.asked, "teacher_forced": True}
    return Check.of("stops_by_itself", passed, found.ended, trained.ended / 2, **evidence)


def never_generated(answered: Outputs, outputs: Outputs, stops: Stops, reference: Reference) -> tuple[Check, ...]:
    """Return the check that virtual tokens are never said; none where the export has none.

    Args:
        answered: outputs over a prompt and the answer that the export gave to it.
        outputs: outputs over the held-out rows.
        stops: that answer.
    """
    if not reference.prefix.ids:
        return ()
    # Python's max() may pass over a NaN; torch's returns it.
    value = float(torch.tensor([answered.stray, outputs.stray], dtype=torch.float64).max())
    said = not set(stops.answer).isdisjoint(reference.prefix.ids)
    return (Check.of("virtual_tokens_never_generated", value <= STRAY and not said, value, STRAY, said=said),)
