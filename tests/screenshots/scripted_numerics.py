"""Scripted runs with scripted looks inside the model, in the states that the Numerics page must show well.

Nothing here was measured: the numbers follow simple rules that make them look like a small model's in fp16.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.engine.numerics.verdict import Options
from studio.engine.numerics.verdicts import VERDICTS
from studio.events import (
    NumericsSampled,
    NumericsStarted,
    OverflowDiagnosed,
    RunEvent,
    RunStarted,
    StepCompleted,
)
from studio.exponents import FP16, Histogram
from studio.runner.record import RunRecord
from tests.screenshots.scripted import scripted_events, scripted_record

LAYERS = 30
_PARTS = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "",
)  # fmt: skip
EVERY = 20


def module_names(layers: int = LAYERS) -> list[str]:
    """The modules of a Llama in the order of its forward pass."""
    blocks = [f"model.layers.{layer}.{part}".rstrip(".") for layer in range(layers) for part in _PARTS]
    return ["model.embed_tokens", *blocks, "model.norm", "lm_head"]


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a run's steps and samples are like.

    Attributes:
        precision: what the run computes in.
        scale: loss scale of a step; None where the loss is not scaled.
        skipped: whether a step is skipped.
        gradient: exponent of the typical unscaled activation gradient at a step.
        activation: exponent to add to the activations at a step.
        broken: for a skipped step, the module at which values stop being finite and the direction.
    """

    steps: int
    precision: str = "fp16-mixed"
    scale: Callable[[int], float | None]
    skipped: Callable[[int], bool] = lambda step: False
    gradient: Callable[[int], float] = lambda step: -12.0
    activation: Callable[[int], float] = lambda step: 0.0
    broken: tuple[str, str] = ("model.layers.29.mlp.down_proj", "backward")
    verdicts: tuple[OverflowDiagnosed, ...] = ()

    @property
    def compute(self) -> str:
        return self.precision.partition("-")[0]


def numerics_events(script: Script) -> list[RunEvent]:
    """Return the whole run: steps as in `scripted_events`, changed as the script says, with samples among them."""
    names = module_names()
    events: list[RunEvent] = []
    base = [event for event in scripted_events(script.steps) if not isinstance(event, OverflowDiagnosed)]
    update = 0
    for event in base:
        if not isinstance(event, StepCompleted):
            started = isinstance(event, RunStarted)
            events.append(dataclasses.replace(event, precision=script.precision) if started else event)
            continue
        step, skipped = event.step, script.skipped(event.step)
        if step == 1:
            events.append(NumericsStarted(modules=names, compute=script.compute, every=EVERY))
        update += not skipped
        events.append(_step(event, script, update, skipped))
        if (step - 1) % EVERY == 0 or skipped:
            events.append(scripted_sample(script, step, names))
    return events + list(script.verdicts)


def numerics_record(script: Script) -> RunRecord:
    """Return the record of a scripted run with numerics."""
    return scripted_record(numerics_events(script))


def scripted_sample(script: Script, step: int, names: list[str]) -> NumericsSampled:
    """Return the sample of one step."""
    chance = np.random.default_rng(step)
    scale = script.scale(step)
    skipped = script.skipped(step)
    place = names.index(script.broken[0])
    gradient, activation = _profiles(names, script, step, chance)
    forward = np.zeros(len(names))
    backward = np.zeros(len(names))
    if skipped and script.broken[1] == "forward":
        forward[place:] = np.linspace(0.001, 0.3, len(names) - place)
        backward[:] = 0.9
    elif skipped:
        backward[: place + 1] = np.linspace(0.7, 0.002, place + 1)
    gradient[backward > 0.5] = np.nan
    lost = float(backward.mean())
    bits = math.log2(scale or 1.0)
    flushed = FP16.smallest - 1 - bits if script.compute == FP16.name else -math.inf
    parameters = _histogram(script.gradient(step) - 6, bits, flushed, 4_884_480, chance, lost)
    return NumericsSampled(
        step=step, grad_scale=scale, because="skip" if skipped else "cadence",
        activation_largest=list(2.0**activation), activation_zeros=list(np.full(len(names), 0.001)),
        activation_subnormal=list(np.full(len(names), 0.004)), activation_non_finite=list(forward),
        gradient_largest=list(2.0**gradient), gradient_zeros=list(_below(gradient, bits, -25)),
        gradient_subnormal=list(_below(gradient, bits, -14) - _below(gradient, bits, -25)),
        gradient_non_finite=list(backward), products_largest=_largest(gradient, parameters), parameters=parameters.to_dict(),
        gradients=_histogram(script.gradient(step) - 7, bits, flushed, 61_000_000, chance, lost).to_dict(),
    )  # fmt: skip


def _largest(gradient: np.ndarray, parameters: Histogram) -> float:
    """The largest of the activation gradients, given as exponents, and of the parameters'."""
    highest = [parameters.first + place for place, count in enumerate(parameters.counts) if count][-1:]
    found = [*2.0 ** gradient[np.isfinite(gradient)], *(1.9 * 2.0**exponent for exponent in highest)]
    return float(max(found, default=math.nan))


def _step(event: StepCompleted, script: Script, update: int, skipped: bool) -> StepCompleted:
    norm = _not_finite(script) if skipped else event.grad_norm if math.isfinite(event.grad_norm) else 2.4
    return dataclasses.replace(
        event,
        update=update,
        skipped=skipped,
        grad_scale=script.scale(event.step),
        loss=math.nan if skipped and script.broken[1] == "forward" else event.loss,
        grad_norm=norm,
        grad_norm_clipped=norm if skipped else min(norm, 1.0),
    )


def _not_finite(script: Script) -> float:
    """The norm of a skipped step: a loss that is none leaves no gradient that is one."""
    return math.nan if script.broken[1] == "forward" else math.inf


def _profiles(
    names: list[str], script: Script, step: int, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Exponents of the largest gradient and activation of each module."""
    gradient, activation = np.empty(len(names)), np.empty(len(names))
    for place, name in enumerate(names):
        depth = place / len(names)
        part = name.rpartition(".")[2]
        offset = {"q_proj": -3.0, "k_proj": -3.5, "v_proj": -0.5, "o_proj": 0.3, "gate_proj": -1.5, "up_proj": -1.2}
        gradient[place] = script.gradient(step) + offset.get(part, 0.8) + 2.2 * depth - 1.5 * math.sin(5 * depth)
        rise = {"down_proj": 3.0, "q_proj": 1.5, "k_proj": 2.5, "gate_proj": 1.8}
        activation[place] = 1.5 + rise.get(part, 0.6) + 4.5 * depth**1.5 + script.activation(step) * depth
    gradient += chance.normal(0, 0.45, len(names)) + chance.normal(0, 0.35)
    activation = np.minimum(activation + chance.normal(0, 0.2, len(names)), 15.9)
    gradient[0] = np.nan  # nothing that is trained lies before the embedding
    return gradient, activation


def _below(exponents: np.ndarray, bits: float, limit: float) -> np.ndarray:
    """Share of a module's gradients below a limit: their exponents are spread round 9 below the largest."""
    return 0.5 + 0.5 * np.vectorize(math.erf)((limit - (exponents + bits - 9)) / (3.5 * math.sqrt(2)))


def _histogram(
    middle: float, bits: float, flushed: float, total: int, chance: np.random.Generator, broken: float
) -> Histogram:
    """Numbers spread round 2^middle; what lies below 2^flushed is counted as zero, as it was recorded."""
    first, last = -60, 18
    exponents = np.arange(first, last)
    density = np.exp(-0.5 * ((exponents - middle) / np.where(exponents < middle, 5.2, 3.1)) ** 2)
    lost = broken * total
    counts = density / density.sum() * (0.95 * total - lost) * chance.normal(1.0, 0.03, len(exponents)).clip(0.5, 1.5)
    counts = counts.astype(int)
    counts[exponents + bits > (17 if broken else 14)] = 0
    gone = exponents < flushed
    zeros = int(0.05 * total + counts[gone].sum())
    counts[gone] = 0
    return Histogram(first=first, counts=tuple(int(n) for n in counts), zeros=zeros, non_finite=int(lost))


def verdict(name: str, step: int, **evidence: Any) -> OverflowDiagnosed:
    """Return a verdict in the words and with the remedies that the diagnosis gives for such evidence."""
    about = {"precision": "fp16-mixed", "scaling": "dynamic", **evidence}
    kind = VERDICTS.get(name)
    remedies = kind.remedies(about, Options(has_bf16=True, can_restore=True))
    sentence, advice = kind.words(about, remedies)
    return OverflowDiagnosed(
        step=step, verdict=name, harmful=kind.harmful, sentence=sentence, advice=advice,
        evidence=about, remedies=list(remedies),
    )  # fmt: skip


def clean() -> RunRecord:
    """No skip but one when a larger scale was tried."""
    probe = verdict("growth_probe", 182, tried_scale=131072.0, scale=65536.0, skipped=1, growth_interval=180, probes=1)
    return numerics_record(
        Script(
            steps=280,
            scale=lambda step: 131072.0 if step == 181 else 65536.0,
            skipped=lambda step: step == 181,
            gradient=lambda step: -12.5 - 2.5 * (1 - math.exp(-step / 120)),
            verdicts=(probe,),
        )
    )


def scale_search() -> RunRecord:
    """The first seconds: the scale halves until gradients fit."""
    search = verdict("scale_search", 10, first_step=1, skipped=9, from_scale=2.0**24, to_scale=2.0**15, at_start=True)
    return numerics_record(
        Script(
            steps=26,
            scale=lambda step: 2.0 ** max(15, 25 - step),
            skipped=lambda step: step <= 9,
            gradient=lambda step: -6.0,
            verdicts=(search,),
        )
    )


def _searching(steps: int, limit: Callable[[int], float], first: float, interval: int) -> dict[int, float]:
    """The scale of every step under dynamic scaling: halved where it is beyond a limit, doubled after an interval."""
    scales, scale, good = {}, first, 0
    for step in range(1, steps + 1):
        scales[step] = scale
        good = 0 if scale > limit(step) else good + 1
        scale = scale / 2 if not good else scale * 2 if good % interval == 0 else scale
    return scales


def chronic_overflow() -> RunRecord:
    """A share of the steps keeps being skipped."""

    def limit(step: int) -> float:
        return 2.0 ** (15 if step < 60 else 12.5 + 2.2 * math.sin(step / 7) + math.sin(step * 1.7))

    scales = _searching(260, limit, 2.0**14, 6)
    skipped = [step for step in range(1, 181) if scales[step] > limit(step)]
    search = verdict("scale_search", 74, first_step=62, skipped=6, from_scale=2.0**15, to_scale=2.0**9, at_start=False)
    recent = sum(step > 80 for step in skipped)
    chronic = verdict(
        "chronic_overflow", 180, share=recent / 100, skipped=recent, steps=100, scale=scales[180], growth_interval=6,
        growth_factor=2.0, backoff_factor=0.5, update=180 - len(skipped), module="model.layers.29.mlp.down_proj",
    )  # fmt: skip
    return numerics_record(
        Script(
            steps=260,
            scale=scales.__getitem__,
            skipped=lambda step: scales[step] > limit(step),
            gradient=lambda step: 9.5 - math.log2(limit(step)),
            verdicts=(search, chronic),
        )
    )


def forward_overflow() -> RunRecord:
    """Activations grow beyond 65,504: no scale can help."""
    rows = [{"source": "/data/train.jsonl", "number": 31, "tokens": 512}]
    overflow = verdict(
        "forward_overflow", 139, module="model.layers.24.mlp.down_proj", largest_before=61408.0, rows=rows
    )
    return numerics_record(
        Script(
            steps=143,
            # An overflow before there is any gradient leaves the scale alone.
            scale=lambda step: 65536.0,
            skipped=lambda step: step >= 139,
            gradient=lambda step: -12.0 + step / 60,
            activation=lambda step: 9.3 * step / 143,
            broken=("model.layers.24.mlp.down_proj", "forward"),
            verdicts=(overflow,),
        )
    )


def unscaled() -> RunRecord:
    """A run in bf16: no loss scaling, and what fp16 would do."""
    return numerics_record(
        Script(steps=200, precision="bf16-mixed", scale=lambda step: None, gradient=lambda step: -14.0)
    )


def switched_off() -> RunRecord:
    """A run in fp16 without loss scaling, whose gradients are all too small for it."""
    lost = verdict("underflow", 21, scaling="off", share=0.998, scale=1.0, suggested_scale=2.0**20)
    script = Script(steps=120, scale=lambda step: None, gradient=lambda step: -44.0, verdicts=(lost,))
    return numerics_record(script)
