"""What a trained part costs when the model answers: base, live and merged side by side, in one run.

The forms take turns, round by round and each round beginning with another, so that a machine that drifts or is busy
meets all of them alike; they are compared within each round. The time to the first token is the reading of the prompt
(prefill), to which virtual tokens add; the time of each further one (decoding) is where an adapter inside the layers
shows, because there the model waits for every single product.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from studio.engine.control import Progress, no_progress
from studio.engine.device import resolve_device
from studio.engine.dtypes import DTYPES, torch_dtype
from studio.engine.export.rounded_base import load_base
from studio.engine.export.source import Source, open_source
from studio.engine.inference.figures import ROUNDS, Latency, form_latency
from studio.engine.inference.patches import Patches
from studio.engine.models.quiet import ignore_positions
from studio.errors import ExportError
from studio.i18n import tr
from studio.runs import RunFolder

PROMPT = 128


def measure_latency(
    folder: RunFolder,
    *,
    prompt_tokens: int | None = None,
    new_tokens: int = 32,
    rounds: int = ROUNDS,
    device: str = "auto",
    progress: Progress = no_progress,
) -> Latency:
    """Measure one run. The base is in memory twice where there is a merged form.

    Args:
        prompt_tokens: length of the prompt, of random tokens; the same in every round. None: 128, or what fits.
        new_tokens: generated in each round, two at least; the end of an answer does not end it.
        rounds: fewer than six show no difference between two forms.

    Raises:
        ExportError: the run has no trained part, or its base has changed, or the model has not so many positions.
        Cancelled: through `progress`.
    """
    source = open_source(folder, progress)
    prompt_tokens = _prompt_that_fits(source, prompt_tokens, new_tokens)
    place = resolve_device(device)
    dtype = "fp32" if place.type == "cpu" or source.info.dtype not in DTYPES else source.info.dtype
    switches: list[float] = []
    forms = _forms(source, place, torch_dtype(dtype), switches, progress)
    prompt = _prompt(source, prompt_tokens, place)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    for number in range(rounds + 1):  # the first one warms up
        for turn in range(len(forms)):
            name, ready = list(forms.items())[(number + turn) % len(forms)]
            progress("measuring", number * len(forms) + turn, (rounds + 1) * len(forms))
            measured = _answer(ready(), prompt, new_tokens)
            if number:
                times[name].append(measured)
    return Latency(
        forms=tuple(form_latency(name, times[name], times["base"]) for name in forms),
        method=source.method.name,
        device=str(place),
        dtype=dtype,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        rounds=rounds,
        switch_ms=1000 * statistics.median(switches) if switches else None,
    )


def _prompt_that_fits(source: Source, wanted: int | None, new_tokens: int) -> int:
    """Return the length of the prompt. Only a table of learnt positions has an end, at which answering would fail."""
    room = source.info.context_length
    if room is None or not source.info.shapes.learnt_positions:
        return wanted or PROMPT
    most = room - source.method.positions(source.config.method) - new_tokens + 1  # the last token is never read
    if most < 1 or (wanted is not None and wanted > most):
        raise ExportError(
            tr("The model has {room} positions: {new} new tokens leave {most} for the prompt; ask for less.").format(
                room=room, new=new_tokens, most=max(0, most)
            )
        )
    return wanted or min(PROMPT, most)


def _forms(
    source: Source, device: torch.device, dtype: torch.dtype, switches: list[float], progress: Progress
) -> dict[str, Callable[[], nn.Module]]:
    """Return for each form that can be measured a function that returns the model to call.

    `switches` gets the seconds of each switch from the base to the live form.
    """
    loaded = load_base(source, progress)
    base: nn.Module = loaded
    patches = Patches(loaded)

    def switched(name: str | None) -> nn.Module:
        seconds = patches.switch(name)
        if name is not None:
            switches.append(seconds)
        return patches.model

    forms: dict[str, Callable[[], nn.Module]] = {"base": lambda: switched(None)}
    if source.method.form != "model":
        patches.add("live", source)
        patches.switch("live")  # what is trained is moved with the base that contains it
        patches.model.to(device, dtype)
        patches.switch(None)
        forms["live"] = lambda: switched("live")
    base.to(device, dtype)
    if source.method.mergeable:
        live = source.method.load(load_base(source, progress), source.folder.adapter)
        merged: nn.Module = source.method.merge(live)
        merged.to(device, dtype).eval()
        forms["merged"] = lambda: merged
    return forms


def _prompt(source: Source, length: int, device: torch.device) -> torch.Tensor:
    """Random tokens: what they say is of no consequence to the time, (1, length)."""
    rows, _ = source.info.shapes.embedding
    return torch.randint(rows, (1, length), generator=torch.Generator().manual_seed(0)).to(device)


class _Clock(BaseStreamer):
    """Notes when each token was there; the first call brings the prompt itself."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def put(self, value: Any) -> None:
        self.ticks.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to be done."""


@torch.no_grad()
def _answer(model: nn.Module, prompt: torch.Tensor, count: int) -> tuple[float, float]:
    """Return the seconds until the first token, and those of each further one."""
    clock = _Clock()
    config = GenerationConfig(max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    ignore_positions()
    started = time.perf_counter()
    model.generate(  # type: ignore[operator]
        input_ids=prompt, attention_mask=torch.ones_like(prompt), generation_config=config, streamer=clock
    )
    _, first, *_, last = clock.ticks  # tokens are handed over on the processor, so the device has finished them
    return first - started, (last - first) / (count - 1)
