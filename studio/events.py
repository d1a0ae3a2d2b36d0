"""What a run says about itself: the whole contract from the engine to everyone else (DESIGN.md 3.3).

The same stream feeds the window, the journal on disk, the command line and the tests. `RunEvent` is the
union of what is journalled; `ProgressReported` only passes by. Times are seconds; sizes are bytes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
import typing
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeAlias

from studio.json_line import parse_line
from studio.schema import Moment, Range, Seconds, having, read_instance

# What stands at least in the dicts of events.
_Histogram: TypeAlias = Annotated[
    dict[str, Any],
    having(
        first=Annotated[int, Range(-2000, 2000)],
        counts=list[Annotated[int, Range(0, 2**53)]],
        zeros=Annotated[int, Range(0, 2**53)],
        non_finite=Annotated[int, Range(0, 2**53)],
    ),
]
_Answer: TypeAlias = Annotated[dict[str, Any], having(prompt=str, answer=str, own=bool, right=bool | None)]
_RankedRow: TypeAlias = Annotated[dict[str, Any], having(source=str, number=int, loss=float, tokens=int)]
_Skipped: TypeAlias = Annotated[dict[str, Any], having(code=str, values=dict[str, Any], count=int)]
_Finding: TypeAlias = Annotated[dict[str, Any], having(name=str, values=dict[str, Any], count=int)]
_Tried: TypeAlias = Annotated[dict[str, Any], having(kernels=str, outcome=str)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """`time` is seconds since the epoch, for people; order and durations never come from it."""

    type: ClassVar[str]
    time: Moment = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStarted(_Event):
    """The run exists and begins to load. `precision` and `device` are what `auto` became.

    `precision_because` are codes of `studio.engine.precision.choose.REASONS`, which speak of `frozen_dtype`, the format
    of frozen weights; both are empty in journals of earlier versions.
    """

    type: ClassVar[str] = "run_started"
    run: str
    model: str
    kind: str
    method: str
    precision: str
    device: str
    versions: dict[str, str]
    precision_because: list[str] = field(default_factory=list)
    frozen_dtype: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPrepared(_Event):
    """Rows are tokenised and split. Lengths and totals are tokens.

    `skipped` has for each reason its `code` and `values` (words: `studio.text.data`) and its `count` of rows; in
    journals of earlier versions it is a dict of sentence to count. `findings` has of each finding about the rows that
    are used its `name`, `count` and `values` (words: `studio.text.findings`). `left_out` counts the rows that the
    user left out because of a finding (of "leaked", moved out of the validation) by its name; it is None in journals of
    earlier versions, which looked for no findings.
    """

    type: ClassVar[str] = "data_prepared"
    train_rows: int
    validation_rows: int
    general_rows: int
    skipped_rows: int
    skipped: list[_Skipped] | dict[str, int]
    tokens: int
    supervised_tokens: int
    longest: int
    planned_updates: int
    findings: list[_Finding] = field(default_factory=list)
    left_out: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCompleted(_Event):
    """One attempted optimizer step.

    `step` counts attempts and `update` applied updates, both from 1; `update` stays where it was when the
    step was `skipped`. `loss` is the mean over the update's supervised tokens, unfiltered. `grad_norm` is
    unscaled and before clipping, `grad_norm_clipped` after it (None in journals of earlier versions).
    `grad_scale` is the scale this step used, None without loss scaling. `seconds` is the duration of this step
    alone; `tokens` were read in it, padding not counted.
    """

    type: ClassVar[str] = "step_completed"
    step: int
    update: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    grad_scale: float | None
    skipped: bool
    tokens: int
    supervised_tokens: int
    micro_batches: int
    seconds: Seconds
    grad_norm_clipped: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelsChosen(_Event):
    """Which kernels a GPU computes with: liger, torch (torch's own fused ones) or plain.

    `tried` has for each set of them, in order, its name as `kernels` and an `outcome`: agreed, disagreed, failed,
    not_installed or not_for_this_model (words: `studio.text.words`). Where they ran, `loss` and `gradient` are their
    distances from the plain ones, as shares of these.
    """

    type: ClassVar[str] = "kernels_chosen"
    kernels: str
    tried: list[_Tried]


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryMeasured(_Event):
    """The longest micro-batch of the run went forward and backward, before the first step.

    `rows` of `length` tokens each, padding included. `peak` is the most bytes that were held: by tensors on a GPU, by
    the process on a processor. `available` bytes were free before the model was loaded. `micro_batch_tokens` is the
    most tokens of a micro-batch, padding included; `recompute`: activations are computed again in the backward pass.
    `seconds` is what it took until then, reading and loading included; 0 in journals of earlier versions. `gpus`: how
    many GPUs of this computer the layers are spread over by one process; `peak` and `available` are those of the first.
    """

    type: ClassVar[str] = "memory_measured"
    rows: int
    length: int
    peak: int
    available: int
    micro_batch_tokens: int
    recompute: bool
    seconds: Seconds = 0.0
    gpus: Annotated[int, Range(1, 1024)] = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatchShrunk(_Event):
    """Memory ran out, and the same rows go on in smaller micro-batches of at most `tokens`, padding included.

    `during` says in what: trial, training, optimizer or evaluation. `step` is the attempted step, 0 before the first.
    `recompute`: activations are computed again in the backward pass from here on.
    """

    type: ClassVar[str] = "micro_batch_shrunk"
    step: int
    during: str
    tokens_before: int
    tokens: int
    recompute: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MetersSampled(_Event):
    """What the computer did at a moment of the run. None is what it does not tell, or does not have.

    `step` is the place on the time line of attempted steps: 12.5 is halfway between the ends of steps 12 and 13.
    `processor` and `gpu_use` are shares (0 to 1) of the time since the last question in which they worked, of all cores
    together. Memory is in bytes, used by all programs; `process_memory` is what this process holds. `gpu_temperature`
    is in degrees Celsius, `gpu_power` in watts. `gpu_throttle` are codes of why the GPU runs slower than it could:
    power_limit, heat, heat_hardware, power_brake, hardware.
    """

    type: ClassVar[str] = "meters_sampled"
    step: Annotated[float, Range(0, 2**53)]
    processor: float | None = None
    memory: int | None = None
    memory_total: int | None = None
    process_memory: int | None = None
    gpu_memory: int | None = None
    gpu_memory_total: int | None = None
    gpu_use: float | None = None
    gpu_temperature: float | None = None
    gpu_power: float | None = None
    gpu_power_limit: float | None = None
    gpu_throttle: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class NumericsStarted(_Event):
    """What the samples that follow are about.

    `modules` names the rows of every sample, in the order of the forward pass. `compute` is the format of matrix
    products (fp32, bf16 or fp16). `every` is the number of steps between two samples at first; it doubles when a run
    has grown long (`NumericsSampled.every`).
    """

    type: ClassVar[str] = "numerics_started"
    modules: list[str]
    compute: str
    every: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NumericsSampled(_Event):
    """Statistics of one attempted step, taken on its largest micro-batch: one entry a module, in the order of
    `NumericsStarted.modules`.

    `activation_*` is about a module's output, `gradient_*` about the gradient of the loss by that output, unscaled.
    `*_largest` is the largest finite absolute value; `*_zeros`, `*_subnormal` and `*_non_finite` are shares (0 to 1)
    of all entries: exactly zero, below fp16's smallest normal number 2⁻¹⁴ **as computed** (scaled, where the loss
    is), nan or inf. A module that saw none (no gradient flows there) has nan. `parameters` and `gradients` are
    histograms (`studio.exponents.Histogram.to_dict`) of the trained weights' gradients and of the activation gradients
    that flow between the layers in the format of the products, unscaled. The weights are those of linear layers, whose
    gradients products make; where none of them is trained, all that is. `products_largest` is the largest finite
    gradient that a product made, be it of an activation, of the logits or of a weight, unscaled: where fp16 overflows
    first. `because` is "cadence" or "skip". `every` is the number of steps between two samples from here on (0 in
    journals of earlier versions).
    """

    type: ClassVar[str] = "numerics_sampled"
    step: int
    grad_scale: float | None
    because: str
    activation_largest: Sequence[float]
    activation_zeros: Sequence[float]
    activation_subnormal: Sequence[float]
    activation_non_finite: Sequence[float]
    gradient_largest: Sequence[float]
    gradient_zeros: Sequence[float]
    gradient_subnormal: Sequence[float]
    gradient_non_finite: Sequence[float]
    products_largest: float = math.nan
    parameters: _Histogram
    gradients: _Histogram
    every: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationCompleted(_Event):
    """Mean loss over the supervised tokens of held-out rows, after `update` updates.

    It was measured on `rows` of the `held_out` ones (0 in journals of earlier versions), on the same ones every time.
    """

    type: ClassVar[str] = "evaluation_completed"
    step: int
    update: int
    loss: float
    rows: int
    supervised_tokens: int
    seconds: Seconds
    held_out: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionMeasured(_Event):
    """What the model has kept, after `update` updates, of what it could do before.

    `perplexity` is exp of the mean loss over `tokens` tokens of texts that are not trained on, `base_perplexity` that
    of the base on the same tokens. `kl` is the mean Kullback-Leibler divergence of the next-token distributions, base
    to trained, in nats a token.
    """

    type: ClassVar[str] = "retention_measured"
    step: int
    update: int
    perplexity: float
    base_perplexity: float
    kl: float
    tokens: int
    seconds: Seconds = 0.0

    @property
    def retention(self) -> float:
        """Base perplexity divided by perplexity: 1 is as good as before, above is better, below is worse."""
        return self.base_perplexity / self.perplexity if self.perplexity else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptsAnswered(_Event):
    """What the model answers, greedily, after `update` updates.

    Each of `answers` has `prompt`, `answer`, `own` (whether the prompt is the user's), and `right`: whether the answer
    to a general question is known to be right, None for the user's own prompts. Those of update 0 come from the base.
    """

    type: ClassVar[str] = "prompts_answered"
    step: int
    update: int
    answers: list[_Answer]
    seconds: Seconds = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsRanked(_Event):
    """The held-out rows on which the trained model does worst and best, each with `source`, `number`, `loss` (mean
    nats per supervised token) and `tokens` (supervised ones). `highest` begins with the worst, `lowest` with the best.
    """

    type: ClassVar[str] = "rows_ranked"
    step: int
    update: int
    highest: list[_RankedRow]
    lowest: list[_RankedRow]


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionReported(_Event):
    """At the end of a run: what it gained, what it lost, and what to try.

    `verdict` and `remedies` are codes of `studio.text.retention`. `loss_before` and `loss_after` are validation losses,
    None without validation; `questions` were asked, of which `right_before` and `right_after` were answered rightly.
    Retention was measured on `tokens` predicted tokens (0 in journals of earlier versions).
    `result_update` is the update whose weights are the result of the run. `stopped_early`: retention fell below
    `retention.stop_below`.
    """

    type: ClassVar[str] = "retention_reported"
    step: int
    update: int
    verdict: str
    remedies: list[str]
    loss_before: float | None
    loss_after: float | None
    retention: float
    kl: float
    questions: int
    right_before: int
    right_after: int
    result_update: int
    stopped_early: bool
    tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OverflowDiagnosed(_Event):
    """A verdict on the numerics: its kind and the evidence, of which words are made where they are shown.

    `sentence` and `advice` are in English (in the session's language, in journals of earlier versions), for readers
    without this program.

    `remedies` are what a button can do about it, the best first: names of `studio.engine.numerics.remedies`.
    """

    type: ClassVar[str] = "overflow_diagnosed"
    step: int
    verdict: str
    harmful: bool
    sentence: str
    advice: str
    evidence: dict[str, Any]
    remedies: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSaved(_Event):
    """A complete checkpoint lies at `path` (absolute)."""

    type: ClassVar[str] = "checkpoint_saved"
    step: int
    update: int
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFailed(_Event):
    """The checkpoint after this step could not be written, for the reason of the system or library; the run goes on."""

    type: ClassVar[str] = "checkpoint_failed"
    step: int
    update: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPaused(_Event):
    """The run waits after this step: the user asked for it, or `because` names the verdict that it waits with.

    Meanwhile `released` bytes of the GPU are free for other programs (0 on a processor, and in journals of earlier
    versions). `missing` is set where the run was to go on and could not: so many bytes the GPU has too little.
    """

    type: ClassVar[str] = "run_paused"
    step: int
    because: str = ""
    released: int = 0
    missing: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResumed(_Event):
    """The run goes on after this step. `changes` are settings, by dotted key, that it goes on with from here,
    `rows left out`, and `back to update` where it went back to a checkpoint.

    `refused` says why the remedy that was asked for was not applied, where that is so: a code of
    `studio.text.words.REFUSALS`, or an error's sentence.

    `restarted`: the run had ended or was cut off, and goes on from a checkpoint after `update` updates, or from its
    beginning (step 0). What stands in the journal before this event of later steps is lost: those steps are made
    again. `changes` then also has what differs from before beside settings, by `versions.NAME`, `machine.NAME`, `base`
    and `data`, and `skipped` the newer checkpoints that could not be used, each with its `name` and the `reason`, a
    code of `studio.text.resume`.
    """

    type: ClassVar[str] = "run_resumed"
    step: int
    changes: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    restarted: bool = False
    update: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFinished(_Event):
    """The run ended well. `status` is finished or stopped; `seconds` is its whole duration."""

    type: ClassVar[str] = "run_finished"
    status: str
    step: int
    update: int
    trainable_parameters: int
    total_parameters: int
    adapter_bytes: int
    peak_memory: int
    seconds: Seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFailed(_Event):
    """The run ended badly, for the reason in `sentence`. What was saved before is intact.

    `needs_consent`: it was not gone on with, because its base or its data have changed; the user may want that.
    """

    type: ClassVar[str] = "run_failed"
    step: int
    sentence: str
    needs_consent: bool = False


RunEvent: TypeAlias = (
    RunStarted
    | DataPrepared
    | KernelsChosen
    | MemoryMeasured
    | MicroBatchShrunk
    | StepCompleted
    | MetersSampled
    | NumericsStarted
    | NumericsSampled
    | EvaluationCompleted
    | RetentionMeasured
    | PromptsAnswered
    | RowsRanked
    | RetentionReported
    | OverflowDiagnosed
    | CheckpointSaved
    | CheckpointFailed
    | RunPaused
    | RunResumed
    | RunFinished
    | RunFailed
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressReported:
    """`done` of `total` (0 when unknown) of a long action. Not journalled."""

    stage: str
    done: int
    total: int


_CLASSES: dict[str, type[RunEvent]] = {cls.type: cls for cls in typing.get_args(RunEvent)}


def to_json(event: RunEvent) -> str:
    """Return one line of strict JSON, `type` and `time` first, non-finite numbers spelled as strings."""
    values: dict[str, Any] = {"type": event.type, "time": event.time}
    values |= {f.name: spell_non_finite(getattr(event, f.name)) for f in dataclasses.fields(event) if f.name != "time"}
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def from_json(line: str | bytes) -> RunEvent:
    """Read one line of a journal; unknown keys (of a later version) are ignored.

    Raises:
        ValueError: the line is not a complete event, or a value is not of the type of its field.
    """
    try:
        values = parse_line(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    name = values.get("type") if isinstance(values, dict) else None
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(f"not an event: {line[:80]!r}")
    try:
        event: RunEvent = read_instance(cls, values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a complete {cls.type} event: {error}") from error
    return event


def spell_non_finite(value: Any) -> Any:
    """Return `value` for strict JSON: non-finite numbers in it, at any depth, become "nan", "inf" or "-inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {key: spell_non_finite(inner) for key, inner in value.items()}
    return [spell_non_finite(inner) for inner in value] if isinstance(value, list | tuple | array) else value
