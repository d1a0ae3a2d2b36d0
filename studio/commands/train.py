"""`train`: train without a window."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from studio.commands.console import Commands, Console, add_command
from studio.commands.runs import add_runs_option
from studio.config import read_config
from studio.engine.disk import DISK_FULL
from studio.engine.methods import METHODS
from studio.engine.numerics.verdicts import verdict_words
from studio.engine.precision.choose import reason_text
from studio.errors import RunFolderError
from studio.events import (
    CheckpointFailed,
    DataPrepared,
    EvaluationCompleted,
    KernelsChosen,
    MemoryMeasured,
    MicroBatchShrunk,
    OverflowDiagnosed,
    PromptsAnswered,
    RetentionMeasured,
    RetentionReported,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
)
from studio.i18n import sentences, tr
from studio.runner.memory_words import measured_text, shrunk_text
from studio.runner.signals import on_signals
from studio.runner.words import unmergeable_text
from studio.text.numbers import duration_text, speed_text
from studio.text.resume import resumed_text
from studio.text.retention import answers_text, report_text, retention_text
from studio.text.words import kernels_text, measured_rows_text

if TYPE_CHECKING:
    from studio.runner.controller import Controller
    from studio.runner.record import RunRecord
    from studio.runner.state import RunState, Update
    from studio.runs import RunFolder

POLL_SECONDS = 0.1
INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "train", tr("train, and print the run folder"), _train)
    add_config(parser)
    add_runs_option(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the configuration file, and the option to replace settings of it."""
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help=tr("the configuration of the run"))
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add the option to replace settings."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        help=tr("replace one setting; may be given several times"),
    )


def _train(args: argparse.Namespace, console: Console) -> int:
    from studio.runner.launch import Launch, train_beside

    config, launch = read_config(args.config, args.set), Launch.of()
    before = launch.run_before(args.runs) if launch else None
    if launch and before and launch.ended(before):
        return 1
    if launch and launch.rank:
        return train_beside(config)
    if before:
        return go_on(before, console)
    return follow(lambda controller: controller.start(config, args.runs, launch=launch.id if launch else ""), console)


def go_on(
    folder: RunFolder, console: Console, changes: Sequence[str] = (), until: int | None = None, *, consent: bool = False
) -> int:
    """Go on with a run, show it until it has ended, write the result, and return the exit status."""
    from studio.runner.record import RunRecord

    record = RunRecord.of_folder(folder)
    record.begin_again()

    def begin(controller: Controller) -> RunFolder:
        controller.resume_run(folder, changes, until, consent=consent)
        return folder

    return follow(begin, console, record)


def follow(begin: Callable[[Controller], RunFolder], console: Console, record: RunRecord | None = None) -> int:
    """Begin a run, show it until it has ended, write the result, and return the exit status.

    `record`: of a run that goes on, what it was until now.
    """
    from studio.runner.controller import Controller
    from studio.runner.record import RunRecord

    controller = Controller()
    with _on_signals(controller):
        folder = begin(controller)
        record = record or RunRecord(folder)
        _follow(controller, record, console)
    if not record.state.ended:  # its worker can no longer say why
        record.apply(RunFailed(step=record.state.step, sentence=tr("The run ended without saying why; see its log.")))
    state = record.state
    values = {
        "run": str(folder.path),
        "status": state.status,
        "updates": state.update,
        "planned_updates": state.planned_updates,
        "loss": state.loss,
        "validation_loss": {"first": state.first_validation_loss, "last": state.validation_loss},
        "retention": {"retention": state.retention, "kl": state.kl},
        "seconds": state.seconds,
    }
    if state.status == "failed":
        console.note(state.sentence)
        values["error"] = state.sentence
        if state.needs_consent:
            console.note(tr("To go on with them as they are, add --consent."))
    console.result(values, str(folder.path))
    return 1 if state.status == "failed" else 0


def _follow(controller: Controller, record: RunRecord, console: Console) -> None:
    """Show the run until its worker has ended and all its events are read."""
    console.progress("starting", 0, 0)
    ended = told = False
    while not ended:
        ended = controller.join(POLL_SECONDS)
        if controller.stopping and not told:
            told = True
            console.note(tr("Stopping after this micro-batch and saving; Ctrl-C again quits without saving."))
        for update in controller.poll():
            record.apply(update)
            _tell(update, record.state, console)
        state = record.state
        if state.stage:
            console.progress(state.stage, state.done, state.total, *_details(state))


def _tell(update: Update, state: RunState, console: Console) -> None:
    match update:
        case RunStarted():
            console.note(f"{update.model} ({update.kind}), {update.method}, {update.precision}, {update.device}")
            if update.precision_because:
                console.note(reason_text(update.precision_because, update.precision, update.frozen_dtype))
            if warning := unmergeable_text(METHODS.get(update.method)):
                console.note(warning)
        case DataPrepared():
            words = tr("{rows} rows to learn from, {held_out} to validate with, {skipped} skipped; {updates} updates.")
            console.note(
                words.format(
                    rows=update.train_rows,
                    held_out=update.validation_rows,
                    skipped=update.skipped_rows,
                    updates=update.planned_updates,
                )
            )
        case EvaluationCompleted():
            said = tr("Update {update}: validation loss {loss}").format(update=update.update, loss=f"{update.loss:.4f}")
            console.note(f"{said} {measured_rows_text(update.rows, update.held_out)}".rstrip())
        case RetentionMeasured():
            words = retention_text(update.perplexity, update.base_perplexity, update.kl)
            console.note(tr("Update {update}: {found}").format(update=update.update, found=words))
        case PromptsAnswered():
            if words := answers_text(update.answers):
                console.note(tr("Update {update}: {found}").format(update=update.update, found=words))
        case RetentionReported():
            console.note(report_text(dataclasses.asdict(update)))
        case KernelsChosen():
            console.note(kernels_text(update.kernels, update.tried))
        case MemoryMeasured():
            console.note(measured_text(update))
        case MicroBatchShrunk():
            console.note(shrunk_text(update))
        case OverflowDiagnosed():
            console.note(sentences(verdict_words(update)))
        case CheckpointFailed():
            words = tr("The checkpoint of update {update} could not be written ({reason}); the run goes on.")
            console.note(words.format(update=update.update, reason=update.reason))
        case RunPaused(because=because) if because == DISK_FULL:
            console.note(
                tr("The disk is full: the run waits, and goes on by itself once there is room. Ctrl-C stops it.")
            )
        case RunResumed(restarted=False):
            console.note(tr("The run goes on after step {step}.").format(step=update.step))
        case RunResumed(restarted=True):
            console.note(resumed_text(update.step, update.update, update.changes, update.skipped))
        case RunFinished():
            console.note(
                tr("{status}: {updates} updates in {duration}.").format(
                    status=tr("Finished") if update.status == "finished" else tr("Stopped"),
                    updates=update.update,
                    duration=duration_text(update.seconds),
                )
            )


def _details(state: RunState) -> Iterator[str]:
    """The figures after the progress bar during training."""
    if state.stage != "training" or state.loss is None:
        return
    yield tr("loss {loss}").format(loss=f"{state.loss:.4f}")
    if state.grad_scale is not None:
        yield tr("scale {scale}").format(scale=f"{state.grad_scale:g}")
    if state.skipped_steps:
        yield tr("{count} skipped").format(count=state.skipped_steps)
    if state.tokens_per_second is not None:
        yield speed_text(state.tokens_per_second)
    if state.eta_seconds is not None:
        yield tr("{duration} left").format(duration=duration_text(state.eta_seconds))


def _on_signals(controller: Controller) -> AbstractContextManager[None]:
    """A signal to end saves the adapter and ends the run; Ctrl-C after that quits at once."""

    def stop(received: signal.Signals) -> None:
        # A closed terminal sends several signals: only a second Ctrl-C comes from somebody who does not want to wait.
        if received == signal.SIGINT and controller.stopping and controller.folder:
            with contextlib.suppress(OSError, RunFolderError):  # it is interrupted then
                controller.folder.write_state("failed", error=tr("Quit before the run could save."))
            os._exit(INTERRUPTED)  # the worker may be deep in a computation that nothing interrupts
        controller.stop()

    return on_signals(stop, controller.checkpoint_now)
