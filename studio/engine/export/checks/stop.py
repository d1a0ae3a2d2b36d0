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
from studio.engine.export.stopping import Stops, TaughtStops, first_stop, taught_stops

# Once in a million tokens at most, if tokens were drawn at temperature 1; greedy choice then never takes one.
STRAY = 1e-6
# Below this mean probability of ending tokens, a model was not taught to end its answers.
UNLIKELY = 0.05


def answer(
    model: nn.Module,
    load_trained: Callable[[], nn.Module],
    reference: Reference,
    outputs: Outputs,
    ends: tuple[Sequence[int], Sequence[int]],
    seconds: float,
    progress: Progress,
) -> tuple[Stops | None, Check]:
    """Return whether the export ends its answers by itself, and the answer that it gave, if it was asked for one.

    It is asked for the shortest of the held-out answers, and given the time. Where it does not end its own by then,
    the held-out answers tell (`taught_stop_check`). They alone tell where the trained model would end fewer than half
    of them, and the export does as well: waiting for such a model is mostly in vain. Where it would end none, it never
    learnt to stop, and waiting tells nothing of an export that is worse, either.

    Where no held-out answer ends, the trained model is loaded and asked too, for that and further answers. If it stops,
    the export is asked again: rounding may lead another way round, so it has twice as many tokens, and the same number
    of tries. Nothing suppresses a token here, whatever the generation config asks for.

    Args:
        load_trained: returns base + trained part, which then is in memory beside the export.
        outputs: those of the export over the held-out rows.
        ends: the tokens that end an answer of the export, and of the trained model.
        seconds: that a model is waited for.
    """
    found, trained = taught_stops(outputs, ends[0]), taught_stops(reference.trained, ends[1])
    opening = reference.prefix.ids
    led = taught_stop_check(found, trained, generated=0)
    if not opening and 2 * trained.ended < trained.asked and (led.passed or not trained.ended):
        return None, led
    ending = {row for row, _ in reference.asked}
    known = [prompt for row, prompt in enumerate(reference.prompts) if row in ending or not ending]
    prompts = sorted(known, key=lambda prompt: len(prompt.ids) - prompt.answer)
    said = first_stop(model, prompts[:1], ends[0], stopping.LIMIT, progress, "verifying", opening, seconds)
    if said.tokens is not None:
        return said, stop_check(said, None, stopping.LIMIT)
    if trained.asked:
        return said, taught_stop_check(found, trained, generated=len(said.answer))
    live = first_stop(load_trained(), prompts, ends[1], stopping.LIMIT, progress, "verifying", (), seconds)
    limit = min(len(said.answer), len(live.answer))
    if live.tokens is not None:
        limit = 2 * live.tokens + 32
        others = [prompt for prompt in prompts if prompt is not live.prompt]
        said = first_stop(model, [live.prompt, *others], ends[0], limit, progress, "verifying", opening)
    return said, stop_check(said, live, limit)


def stop_check(found: Stops, trained: Stops | None, limit: int) -> Check:
    """Return whether the export ends an answer by itself, if base + trained part did; None: that was not asked."""
    tokens = trained.tokens if trained else None
    return Check.of("stops_by_itself", found.tokens is not None or tokens is None, found.tokens, limit, trained=tokens)


def taught_stop_check(found: TaughtStops, trained: TaughtStops, generated: int | None) -> Check:
    """Return whether the export finds an end where held-out answers end, about as the trained model does.

    Ending tokens have to be at least half as probable there, in the mean. How often one is the likeliest is told and
    not judged: of a few answers that a model hardly ends, the least rounding turns one. This takes the place of
    `stop_check` where a model is too large to be let answer, or does not end in time.

    Args:
        generated: how many tokens the export answered without an end; None where it is too large to be asked.
    """
    least = trained.probability / 2 if trained.probability >= UNLIKELY else 0.0
    return Check.of(
        "stops_by_itself",
        found.probability >= least,
        found.probability,
        least,
        ended=found.ended,
        trained=trained.ended,
        asked=found.asked,
        teacher_forced=True,
        generated=generated,
        trained_probability=trained.probability,
    )


def never_generated(answered: Outputs, outputs: Outputs, stops: Stops, reference: Reference) -> Check:
    """Return the check that virtual tokens are never said.

    Args:
        answered: outputs over a prompt and the answer that the export gave to it.
        outputs: outputs over the held-out rows.
        stops: that answer.
    """
    # Python's max() may pass over a NaN; torch's returns it.
    value = float(torch.tensor([answered.stray, outputs.stray], dtype=torch.float64).max())
    said = not set(stops.answer).isdisjoint(reference.prefix.ids)
    return Check.of("virtual_tokens_never_generated", value <= STRAY and not said, value, STRAY, said=said)
