"""The state of one run at a moment, and what changes it: events, lines of the log, and its process that is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from studio.events import (
    CheckpointFailed,
    CheckpointSaved,
    DataPrepared,
    MemoryMeasured,
    MetersSampled,
    MicroBatchShrunk,
    ProgressReported,
    RetentionReported,
    RunEvent,
)


@dataclass(frozen=True)
class LogLine:
    """One line of the run's log, for the log view."""

    text: str


Cause: TypeAlias = Literal["out_of_memory", "killed", "crashed", "lost_gpu", "not_started", "unknown"]


@dataclass(frozen=True, kw_only=True)
class RunInterrupted:
    """The process that trained the run is gone, and left no end. The run can be continued from its checkpoints.

    Not journalled: no process was there to write it. `code` is its exit status, or minus the number of the signal that
    ended it; None where this process did not start it. `details` are the last lines of its error output.
    """

    cause: Cause
    code: int | None = None
    details: str = ""


Update: TypeAlias = RunEvent | ProgressReported | LogLine | RunInterrupted


@dataclass(frozen=True, kw_only=True)
class RunState:
    """The run at this moment. Losses are means per supervised token; times are seconds.

    `stage` is what it does beside the steps, such as a validation, of which `done` of `total` are done.
    `precision` is what the run computes in now, and `compute` the format of its matrix products: fp32, bf16 or fp16.
    `validation_rows` are the rows that the last validation loss was measured on, and those that are held out (0 in
    journals of earlier versions). `paused_because` is the verdict that a paused run waits with, empty when
    the user paused it; meanwhile `released` bytes of the GPU are free, of which `missing` are wanted to go on.
    `checkpoint` is the newest one, `checkpoint_failed` a later one that could not be written.
    """

    status: str = "created"
    stage: str = ""
    done: int = 0
    total: int = 0
    model: str = ""
    kind: str = ""
    method: str = ""
    precision: str = ""
    compute: str = ""
    device: str = ""
    planned_updates: int = 0
    step: int = 0
    update: int = 0
    epoch: float = 0.0
    loss: float | None = None
    validation_loss: float | None = None
    first_validation_loss: float | None = None
    validation_rows: tuple[int, int] = (0, 0)
    retention: float | None = None
    kl: float | None = None
    report: RetentionReported | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    grad_scale: float | None = None
    skipped_steps: int = 0
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    seconds: float = 0.0
    sentence: str = ""
    needs_consent: bool = False
    paused_because: str = ""
    released: int = 0
    missing: int = 0
    checkpoint: CheckpointSaved | None = None
    checkpoint_failed: CheckpointFailed | None = None
    trainable_parameters: int = 0
    total_parameters: int = 0
    data: DataPrepared | None = None
    kernels: str = ""
    memory: MemoryMeasured | None = None
    shrunk: MicroBatchShrunk | None = None
    meters: MetersSampled | None = None
    peak_memory: int = 0

    @property
    def share(self) -> tuple[int, int]:
        """How much is done, of how much: of the updates once there are any, of the present stage before."""
        return (self.update, self.planned_updates) if self.step else (self.done, self.total)

    @property
    def ended(self) -> bool:
        return self.status in ("finished", "stopped", "failed", "interrupted")
