"""What the window shows of one run. It is built from events alone, so a live and a finished run are shown alike."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby, islice
from typing import Any, cast

from studio.config import RunConfig, read_config
from studio.config.run import override_config
from studio.engine.control import Progress, no_progress
from studio.errors import ConfigError
from studio.events import (
    CheckpointFailed,
    CheckpointSaved,
    DataPrepared,
    EvaluationCompleted,
    KernelsChosen,
    MemoryMeasured,
    MetersSampled,
    MicroBatchShrunk,
    NumericsSampled,
    NumericsStarted,
    OverflowDiagnosed,
    ProgressReported,
    PromptsAnswered,
    RetentionMeasured,
    RetentionReported,
    RowsRanked,
    RunEvent,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
)
from studio.files import read_tail
from studio.runner.series import MetricSeries
from studio.runner.state import LogLine, RunInterrupted, RunState, Update
from studio.runs import RunFolder, read_journal
from studio.text.words import interruption_text

LOG_LINES = 5000
LOG_BYTES = 1 << 22  # at the end of a log, which are read
SPEED_WINDOW = 16
_STEPS_AT_A_TIME = 1000  # that are held until the state is asked for
# Fields of `StepCompleted` that become series. Every step has the first ones, only those of some runs the others.
OF_STEPS = ("loss", "grad_norm", "learning_rate", "update", "tokens", "supervised_tokens", "seconds")
OF_SOME_STEPS = ("grad_scale", "grad_norm_clipped")
OF_MEASUREMENTS = ("validation", "tokens_per_second", "retention", "perplexity", "base_perplexity", "kl")
# Fields of `MetersSampled` that become series; their x are no whole steps.
OF_METERS = ("processor", "memory", "process_memory", "gpu_use", "gpu_memory", "gpu_temperature", "gpu_power")


_STATE_FIELDS = {field.name for field in dataclasses.fields(RunState)}


class RunRecord:
    """A run's state, its metric series and its log, grown event by event."""

    def __init__(self, folder: RunFolder | None = None) -> None:
        self.folder = folder
        self._state = RunState()
        self._steps: list[StepCompleted] = []  # those that `_state` does not tell of yet
        self.series = {key: MetricSeries() for key in (*OF_STEPS, *OF_SOME_STEPS, *OF_MEASUREMENTS, *OF_METERS)}
        self.skips: list[int] = []
        self.throttled: list[float] = []  # where the GPU was slowed down
        self.verdicts: list[OverflowDiagnosed] = []
        self.numerics: NumericsStarted | None = None
        self.first_sample = 0  # place of the first sample that `numerics` is about
        self.changes: list[tuple[int, dict[str, Any]]] = []
        self.samples: list[NumericsSampled] = []
        self.answers: list[PromptsAnswered] = []
        self.ranked: RowsRanked | None = None
        self.seams: list[RunResumed] = []  # where the run was continued from a checkpoint
        self.grows = False  # another process trains it, or may do so on another computer
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.version = 0
        self._recent: deque[StepCompleted] = deque(maxlen=SPEED_WINDOW)
        self._formats: list[tuple[int, str]] = []
        self._configs: list[tuple[int, RunConfig]] = []

    @classmethod
    def of_folder(cls, folder: RunFolder, progress: Progress = no_progress) -> RunRecord:
        """Replay the journal of a run, finished or not."""
        record = cls(folder)
        record._apply_all(read_journal(folder.journal, partial(progress, "reading_run")))
        with suppress(OSError):  # there is none
            record.log.extend(read_tail(folder.log, LOG_BYTES).decode("utf-8", errors="replace").splitlines())
        if not record.state.ended or (record.state.status == "failed" and folder.comes_again):
            # A journal without an end belongs to a run that another process trains, or that was cut off.
            state = folder.read_state()
            record._set(status=state["status"], sentence=state.get("error", ""))
            record.grows = folder.held
        with suppress(ConfigError):  # whoever asks for it is told; it is read here, and not on the window's thread
            _ = record.configs
        return record

    @property
    def state(self) -> RunState:
        """The run at this moment. It is worked out here, and not at every step, because a long run has 200,000."""
        if self._steps:
            self._state = self._after_steps()
        return self._state

    @property
    def configs(self) -> Sequence[tuple[int, RunConfig]]:
        """The configurations of the run in order, each with the last step before it; that of the first is 0.

        Raises:
            ConfigError: the run's configuration cannot be read.
        """
        if self.folder is None:
            return ()
        if not self._configs:
            self._configs.append((0, read_config(self.folder.config)))
        for step, changes in self.changes[len(self._configs) - 1 :]:
            self._configs.append((step, override_config(self._configs[-1][1], changes)))
        return self._configs

    def compute_at(self, step: int) -> str:
        """Return the format of the matrix products of a step; empty while it is not known."""
        return next((name for first, name in reversed(self._formats) if first <= step), "")

    def apply(self, event: Update) -> None:
        """Take in one event."""
        self.version += 1
        match event:
            case LogLine():
                self.log.append(event.text)
            case ProgressReported():
                self._set(stage=event.stage, done=event.done, total=event.total)
            case RunStarted():
                self._set(**_shared(event), status="running")
                self._set_compute(_compute_of(event.precision))
            case DataPrepared():
                self._set(data=event, planned_updates=event.planned_updates)
            case KernelsChosen():
                self._set(kernels=event.kernels)
            case MemoryMeasured():
                self._set(memory=event, seconds=self.state.seconds + event.seconds)
            case MicroBatchShrunk():
                self._set(shrunk=event)
            case StepCompleted():
                self._take_steps([event])
            case MetersSampled():
                self._metered(event)
            case EvaluationCompleted():
                self._evaluated(event)
            case RetentionMeasured():
                self._measured(event)
            case PromptsAnswered():
                self.answers.append(event)
                self._set(stage="training", seconds=self.state.seconds + event.seconds)
            case RowsRanked():
                self.ranked = event
            case RetentionReported():
                self._set(report=event, retention=event.retention, kl=event.kl)
            case NumericsStarted():
                self._numerics_started(event)
                self._set_compute(event.compute)
            case NumericsSampled() if self._is_of_modules(event):
                self.samples.append(compact(event))
            case OverflowDiagnosed():
                self.verdicts.append(event)
            case CheckpointSaved():
                self._set(checkpoint=event, checkpoint_failed=None)
            case CheckpointFailed():
                self._set(checkpoint_failed=event)
            case RunPaused():
                self._set(status="paused", paused_because=event.because, released=event.released, missing=event.missing)
            case RunResumed():
                self._resumed(event)
            case RunFinished():
                self._set(**_shared(event), stage="", eta_seconds=None)
            case RunFailed():
                ended = {"status": "failed", "stage": "", "eta_seconds": None}
                self._set(**ended, sentence=event.sentence, needs_consent=event.needs_consent)
            case RunInterrupted():
                self._set(
                    status="interrupted",
                    stage="",
                    sentence=interruption_text(event.cause, event.code),
                    eta_seconds=None,
                )

    def _set(self, **changes: object) -> None:
        self._state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]

    def _numerics_started(self, event: NumericsStarted) -> None:
        before = self.numerics
        if before is not None and before.modules != event.modules:
            self.samples = []  # they cannot be drawn with those of other modules
        if before is None or (before.modules, before.compute) != (event.modules, event.compute):
            self.first_sample = len(self.samples)
        self.numerics = event

    def _is_of_modules(self, sample: NumericsSampled) -> bool:
        """Whether a sample has a number for each module that is looked at; a damaged journal may have another one."""
        modules = len(self.numerics.modules) if self.numerics else 0
        return all(len(getattr(sample, name)) == modules for name in _OF_MODULES)

    def begin_again(self) -> None:
        """Take in that the run, which had ended or was cut off, is about to be continued."""
        self.version += 1
        waiting = {"status": "created", "stage": "", "sentence": "", "paused_because": "", "eta_seconds": None}
        self._set(**waiting, needs_consent=False)

    def _go_back(self, event: RunResumed) -> None:
        """Forget the steps after the checkpoint: they are made again, and the series go on as one line."""
        lost = self.series["seconds"].x > event.step
        seconds = self.state.seconds - float(self.series["seconds"].y[lost].sum())
        for series in self.series.values():
            series.keep_until(event.step)
        self.skips = [step for step in self.skips if step <= event.step]
        self.throttled = [step for step in self.throttled if step <= event.step]
        self.verdicts = [verdict for verdict in self.verdicts if verdict.step <= event.step]
        self.samples = [sample for sample in self.samples if sample.step <= event.step]
        self.answers = [answers for answers in self.answers if answers.step <= event.step]
        self.changes = [change for change in self.changes if change[0] <= event.step]
        self._configs, self.ranked = [], None
        self._formats = [found for found in self._formats if found[0] <= event.step + 1]
        self._recent.clear()
        self.seams.append(event)
        self._set(
            step=event.step,
            update=event.update,
            done=event.update,
            seconds=seconds,
            loss=self.series["loss"].last,
            validation_loss=self.series["validation"].last,
            retention=self.series["retention"].last,
            kl=self.series["kl"].last,
            skipped_steps=len(self.skips),
            report=None,
            sentence="",
        )

    def _resumed(self, event: RunResumed) -> None:
        if event.restarted:
            self._go_back(event)
        self._set(status="running", paused_because="", released=0, missing=0)
        # `changes` also names what is no setting, such as rows that are left out, or other data.
        changes = {
            key: value
            for key, value in event.changes.items()
            if "." in key and key.partition(".")[0] in RunConfig.model_fields
        }
        if changes:
            self.changes.append((event.step, changes))
        if precision := changes.get("precision.name"):
            self._set(precision=precision)
            self._set_compute(_compute_of(precision))

    def _set_compute(self, name: str) -> None:
        if name != self.state.compute:
            self._formats.append((self.state.step + 1, name))
            self._set(compute=name)

    def _apply_all(self, events: Iterable[RunEvent]) -> None:
        """Take in a journal. Steps that follow one another are taken in together: a long run has 200,000."""
        for kind, group in groupby(events, type):
            if kind is not StepCompleted:
                for event in group:
                    self.apply(event)
                continue
            while steps := list(islice(group, _STEPS_AT_A_TIME)):
                self.version += len(steps)
                self._take_steps(cast("list[StepCompleted]", steps))

    def _take_steps(self, steps: list[StepCompleted]) -> None:
        self.skips += [step.step for step in steps if step.skipped]
        self._steps += steps
        if len(self._steps) >= _STEPS_AT_A_TIME:
            self._state = self._after_steps()
        numbers = [step.step for step in steps]
        for key in OF_STEPS:
            self.series[key].extend(numbers, [getattr(step, key) for step in steps])
        for key in OF_SOME_STEPS:
            having = [step for step in steps if getattr(step, key) is not None]
            self.series[key].extend([step.step for step in having], [getattr(step, key) for step in having])
        timed = [step for step in steps if step.seconds > 0]
        speeds = [step.tokens / step.seconds for step in timed]
        self.series["tokens_per_second"].extend([step.step for step in timed], speeds)

    def _after_steps(self) -> RunState:
        """Return the state with the newest steps, and forget them."""
        before, steps, newest = self._state, self._steps, self._steps[-1]
        self._steps = []
        self._recent.extend(steps)
        recent_seconds = sum(step.seconds for step in self._recent)
        applied = sum(not step.skipped for step in self._recent)
        eta = None
        if applied and before.planned_updates:
            eta = (before.planned_updates - newest.update) * recent_seconds / applied
        shared = _shared(newest) | {"seconds": before.seconds + sum(step.seconds for step in steps)}
        return dataclasses.replace(
            before,
            **shared,
            stage="training",
            done=newest.update,
            total=before.planned_updates,
            skipped_steps=len(self.skips),
            tokens_per_second=sum(step.tokens for step in self._recent) / recent_seconds
            if recent_seconds > 0
            else None,
            eta_seconds=eta,
        )

    def _metered(self, event: MetersSampled) -> None:
        for key in OF_METERS:
            if (value := getattr(event, key)) is not None:
                self.series[key].append(event.step, value)
        if event.gpu_throttle:
            self.throttled.append(event.step)
        self._set(meters=event)

    def _evaluated(self, event: EvaluationCompleted) -> None:
        self.series["validation"].append(event.step, event.loss)
        first = self.state.first_validation_loss
        self._set(
            stage="training",
            validation_loss=event.loss,
            validation_rows=(event.rows, event.held_out),
            # Later losses cannot be compared with one that is not finite.
            first_validation_loss=event.loss if first is None or not math.isfinite(first) else first,
            seconds=self.state.seconds + event.seconds,
        )

    def _measured(self, event: RetentionMeasured) -> None:
        for key in ("retention", "perplexity", "base_perplexity", "kl"):
            self.series[key].append(event.step, getattr(event, key))
        seconds = self.state.seconds + event.seconds
        self._set(stage="training", retention=event.retention, kl=event.kl, seconds=seconds)


def _compute_of(precision: str) -> str:
    """The format of a precision's matrix products: the first part of its name."""
    return precision.partition("-")[0]


def _shared(event: RunStarted | StepCompleted | RunFinished) -> dict[str, Any]:
    """Return the fields of an event that the state has too."""
    return {name: getattr(event, name) for name in _STATE_FIELDS & {field.name for field in dataclasses.fields(event)}}


# Statistics of a sample with one number per module.
_OF_MODULES = tuple(field.name for field in dataclasses.fields(NumericsSampled) if field.type == "Sequence[float]")


def compact(sample: NumericsSampled) -> NumericsSampled:
    """Return the sample with its numbers in arrays, which take a seventh of the memory of lists.

    A long run has thousands of samples, each with thousands of numbers.
    Shares have five digits, so float32 is enough. Largest values may need the range of float64.
    """
    values: dict[str, Any] = {name: array(_format(name), getattr(sample, name)) for name in _OF_MODULES}
    for name in ("parameters", "gradients"):
        histogram = getattr(sample, name)
        values[name] = {**histogram, "counts": array("q", histogram["counts"])}
    return dataclasses.replace(sample, **values)


def as_recorded(sample: NumericsSampled, name: str) -> list[float]:
    """Return the numbers of all modules with exactly the digits that the journal has."""
    numbers = getattr(sample, name)
    return list(numbers) if _format(name) == "d" else [float(f"{number:.5g}") for number in numbers]


def _format(name: str) -> str:
    return "d" if name.endswith("_largest") else "f"
