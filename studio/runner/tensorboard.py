"""The journal of a run as event files of TensorBoard, written by TensorBoard's own writer (an optional package)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from studio.engine.control import Progress, no_progress
from studio.errors import ExportError
from studio.events import EvaluationCompleted, MetersSampled, RetentionMeasured, RunEvent, StepCompleted
from studio.i18n import tr
from studio.runs import RunFolder, read_journal, without_lost
from studio.runs.files import remove

FOLDER = "tensorboard"
"""The folder inside the run folder; `tensorboard --logdir` on the folder of all runs finds it there."""


def export_tensorboard(run: RunFolder, out: Path | None = None, progress: Progress = no_progress) -> Path:
    """Write the scalars of a run for TensorBoard; return the folder. Steps are attempted steps, times those of the run.

    What an earlier export left at the same place is replaced once the new one is whole.

    Args:
        out: the folder to write, by default `tensorboard` inside the run folder.

    Raises:
        ExportError: the package tensorboard is missing, `out` is not an earlier export, or it cannot be written.
        RunFolderError: the journal cannot be read.
    """
    place = run.path / FOLDER if out is None else Path(os.path.realpath(out))
    if place.exists() and not _is_export(place):
        raise ExportError(
            tr("{path} exists and holds something other than event files. Choose another place.").format(path=place)
        )
    draft = place.with_name(f".{place.name}.{os.getpid()}.partial")
    events = without_lost(read_journal(run.journal, partial(progress, "reading_run")))
    try:
        draft.mkdir(parents=True)
        _write(draft, events, progress)
        remove(place)
        draft.rename(place)
    except OSError as error:
        words = tr("{path} cannot be written: {reason}. Choose another place.")
        raise ExportError(words.format(path=place, reason=error.strerror)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def scalars(event: RunEvent) -> Iterator[tuple[str, float]]:
    """Yield the names and values that TensorBoard gets of an event, those of other events none."""
    match event:
        case StepCompleted():
            for key in ("loss", "learning_rate", "grad_norm", "grad_norm_clipped", "grad_scale"):
                if (value := getattr(event, key)) is not None:
                    yield f"train/{key}", value
            yield "train/skipped", float(event.skipped)
            if event.seconds > 0:
                yield "train/tokens_per_second", event.tokens / event.seconds
        case EvaluationCompleted():
            yield "validation/loss", event.loss
        case RetentionMeasured():
            for key in ("retention", "perplexity", "base_perplexity", "kl"):
                yield f"retention/{key}", getattr(event, key)
        case MetersSampled():
            for key in ("gpu_use", "gpu_memory", "gpu_temperature", "gpu_power", "processor", "process_memory"):
                if (value := getattr(event, key)) is not None:
                    yield f"meters/{key}", float(value)


def _write(folder: Path, events: list[RunEvent], progress: Progress) -> None:
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        words = tr("The package tensorboard is not installed; install it, for instance with: {command}")
        raise ExportError(words.format(command="pip install tensorboard")) from error
    writer = EventFileWriter(str(folder))
    try:
        for done, event in enumerate(events):
            if done % 1000 == 0:
                progress("writing", done, len(events))
            values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(event)]
            if values:
                step = int(getattr(event, "step", 0))
                writer.add_event(Event(wall_time=event.time, step=step, summary=Summary(value=values)))
    finally:
        writer.close()


def _is_export(folder: Path) -> bool:
    """Whether a folder holds nothing but event files."""
    return folder.is_dir() and all(path.name.startswith("events.out.tfevents.") for path in folder.iterdir())
