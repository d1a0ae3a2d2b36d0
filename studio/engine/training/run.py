"""One training run from its configuration to the saved result."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config import RunConfig
from studio.engine.control import Control, Progress
from studio.engine.data.prepare import PreparedData, prepare_data
from studio.engine.device import default_token_budget, library_versions, peak_memory, resolve_device
from studio.engine.methods import METHODS
from studio.engine.models.find import resolve_model
from studio.engine.models.fingerprint import fingerprint
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_tokenizer
from studio.engine.numerics.remedies import changed
from studio.engine.precision import Precision
from studio.engine.precision.choose import choose_precision, explain_storage
from studio.engine.precision.tf32 import tf32
from studio.engine.training import checkpoint
from studio.engine.training.assemble import Machinery, Trained, assemble, attach
from studio.engine.training.loop import Emit, Loop, Position, RemedyChosen, planned_updates, progress_events
from studio.engine.training.losses import Losses
from studio.engine.training.monitor import NumericsMonitor
from studio.engine.training.positions import check_positions
from studio.errors import Cancelled, StudioError, TrainingError
from studio.events import (
    CheckpointSaved,
    DataPrepared,
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
)
from studio.i18n import tr
from studio.runs import RunFolder, write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# Of the time of a run at most, however large the model is and however slow the disk.
SHARE_OF_CHECKPOINTS = 0.02
# The first checkpoint comes early, when a few updates have gone well.
FIRST_CHECKPOINT = 3


def train(
    config: RunConfig, folder: RunFolder, control: Control, emit: Emit, *, token_budget: int | None = None
) -> None:
    """Train as configured, into `folder`; every event goes to `emit`.

    A stop request ends the run after its micro-batch, with the adapter saved. `token_budget` (padded tokens of a
    micro-batch) is for tests and measurements; it changes speed and memory, never the result.

    Raises:
        StudioError: with a sentence for the user; nothing non-finite has been saved.
    """
    with tf32(config.precision.tf32):
        _Run(config, folder, control, emit, token_budget).go()


@dataclass(frozen=True)
class Prepared:
    """What a run has found out before it trains."""

    info: ModelInfo
    data: PreparedData
    precision: Precision
    pad_id: int


@dataclass(frozen=True)
class Live:
    """What a run consists of while it trains; a remedy may replace parts of it."""

    prepared: Prepared
    trained: Trained
    machinery: Machinery
    loop: Loop


class _Run:
    def __init__(
        self, config: RunConfig, folder: RunFolder, control: Control, emit: Emit, token_budget: int | None
    ) -> None:
        self._config = config
        self._folder = folder
        self._control = control
        self._losses = Losses()
        self._tell = emit
        self._started = time.monotonic()
        self._device = resolve_device(config.training.device)
        self._token_budget = token_budget or default_token_budget(self._device)
        self._live: Live | None = None
        self._next_checkpoint = 0.0

    def go(self) -> None:
        try:
            self._live = self._prepare()
            status = self._run()
        except Cancelled:
            status = "stopped"
        except TrainingError:
            # The guard kept the weights good; they are worth keeping, and exporting.
            self._save()
            self._folder.write_state("failed", **self._results())
            raise
        self._finish(status)

    def _run(self) -> str:
        while True:
            assert self._live is not None
            try:
                return self._live.loop.run()
            except RemedyChosen as chosen:
                remedy, verdict = chosen.name, chosen.verdict
            self._apply_remedy(remedy, verdict)  # out here, where no traceback holds the loop and its model any more

    def _emit(self, event: RunEvent | ProgressReported) -> None:
        self._losses.note(event)
        if isinstance(event, RunPaused | RunResumed):
            self._folder.write_state("paused" if isinstance(event, RunPaused) else "running")
        self._tell(event)

    def _prepare(self) -> Live:
        progress = progress_events(self._control, self._emit)
        info = inspect_model(resolve_model(self._config.model.path, progress), progress)
        kind = info.kind if self._config.model.kind == "auto" else self._config.model.kind
        precision, reason = choose_precision(self._config.precision, self._device, info.dtype)
        if METHODS.get(self._config.method.name).quantised_base:
            reason = f"{reason} {explain_storage(self._config.precision, precision, info.dtype)}"
        self._announce(info, kind, precision, reason)
        tokenizer = load_tokenizer(info.path)
        data = prepare_data(self._config.data, tokenizer, kind, self._config.training.seed, progress)
        check_positions(self._config, info, data)
        self._report_data(data)
        self._record_base(info.path, progress)
        prepared = Prepared(info, data, precision, _pad_id(tokenizer))
        trained = attach(info.path, self._config, precision, self._device, progress)
        return self._bring_to_life(prepared, trained, Position())

    def _announce(self, info: ModelInfo, kind: str, precision: Precision, reason: str) -> None:
        name = info.path.name
        self._folder.write_state(
            "running",
            model={"path": str(info.path), "name": name, "kind": kind},
            method=self._config.method.name,
            precision=precision.name,
        )
        self._emit(
            RunStarted(
                run=self._folder.name,
                model=name,
                kind=kind,
                method=self._config.method.name,
                precision=precision.name,
                precision_reason=reason,
                device=str(self._device),
                versions=library_versions(),
            )
        )
        log.info("%s, %s, %s, %s on %s", name, kind, self._config.method.name, precision.name, self._device)

    def _report_data(self, data: PreparedData) -> None:
        train_rows = data.train
        self._emit(
            DataPrepared(
                train_rows=len(train_rows),
                validation_rows=len(data.validation),
                general_rows=sum(role == "general" for role in train_rows.roles),
                skipped_rows=sum(data.report.skipped.values()),
                skipped=data.report.skipped,
                tokens=int(train_rows.lengths.sum()),
                supervised_tokens=int(train_rows.supervised.sum()),
                longest=int(train_rows.lengths.max()),
                planned_updates=planned_updates(self._config, data.order.rows_per_epoch),
            )
        )
        for problem in data.report.problems:
            log.warning("%s", problem)

    def _record_base(self, path: Path, progress: Progress) -> None:
        prints = fingerprint(path, progress)
        record = {"path": str(path), "base_files": prints}
        write_atomically(self._folder.path / "base.json", json.dumps(record, ensure_ascii=False, indent=2) + "\n")

    def _bring_to_life(
        self, prepared: Prepared, trained: Trained, position: Position, verdicts: Sequence[OverflowDiagnosed] = ()
    ) -> Live:
        made = assemble(self._config, trained, prepared.precision)
        monitor = NumericsMonitor(
            self._config,
            trained,
            made.updater,
            made.scaler,
            self._emit,
            verdicts=verdicts,
            can_restore=lambda: bool(self._good_checkpoints()),
        )
        loop = Loop(
            self._config,
            prepared.data,
            trained.loss,
            made.updater,
            made.scaler,
            monitor,
            self._control,
            self._emit,
            self._keep,
            position=position,
            pad_id=prepared.pad_id,
            token_budget=self._token_budget,
        )
        return Live(prepared, trained, made, loop)

    def _apply_remedy(self, remedy: str, verdict: OverflowDiagnosed) -> None:
        """Go on with a remedy, or as before where it cannot be applied, and say which."""
        assert self._live is not None
        live = self._live
        try:
            config = changed(self._config, remedy, verdict.evidence)
            back = remedy == "restore_checkpoint" or not live.trained.finite
            state = self._last_good() if back else live.machinery.snapshot(live.trained, live.loop.position)
        except StudioError as error:
            live.loop.refuse(str(error))
            return
        del live  # one model in memory at a time
        self._change(config, state)

    def _good_checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest first, from which an update was applied since: what they hold has worked."""
        assert self._live is not None
        now = self._live.loop.position.update
        updates = {place: checkpoint.read_update(place) for place in self._folder.list_checkpoints()}
        return [place for place, update in updates.items() if update is not None and update < now]

    def _last_good(self) -> checkpoint.Snapshot:
        """Read the checkpoint to go back to, and forget what was saved after it.

        Raises:
            TrainingError: there is none.
        """
        for place in self._good_checkpoints():
            try:
                state = checkpoint.read(place)
            except TrainingError as error:
                log.warning("%s", error)
                continue
            newest_first = self._folder.list_checkpoints()
            for later in newest_first[: newest_first.index(place)]:
                shutil.rmtree(later)
            return state
        raise TrainingError(tr("There is no good checkpoint to go back to; the run goes on as it is."))

    def _change(self, config: RunConfig, state: checkpoint.Snapshot) -> None:
        """Go on with other settings from a state."""
        assert self._live is not None
        live, before = self._live, self._config
        position, left_out, verdicts = live.loop.position, live.loop.left_out, live.loop.verdicts
        self._config = config
        prepared, trained = live.prepared, live.trained
        if _weights_differ(before, config):
            if trained.finite:
                self._save()  # should the other model not come to life
            del live, trained  # one model in memory at a time
            self._live = None
            prepared, trained = self._prepare_anew(prepared)
            self._folder.write_state("running", precision=prepared.precision.name)
        steps, updates = position.step, position.update
        self._live = self._bring_to_life(prepared, trained, position, verdicts)
        self._live.loop.left_out |= left_out
        self._live.machinery.put_back(self._carried(state, before), trained, position)
        position.step = steps  # attempts are counted on: a step's number is never used twice
        back = {"back to update": position.update} if position.update < updates else {}
        self._emit(RunResumed(step=steps, changes=_changes(before, config) | back))

    def _prepare_anew(self, prepared: Prepared) -> tuple[Prepared, Trained]:
        """Load the model again, stored as the configuration now wants it."""
        precision, _ = choose_precision(self._config.precision, self._device, prepared.info.dtype)
        progress = progress_events(self._control, self._emit)
        trained = attach(prepared.info.path, self._config, precision, self._device, progress)
        return dataclasses.replace(prepared, precision=precision), trained

    def _carried(self, state: checkpoint.Snapshot, before: RunConfig) -> checkpoint.Snapshot:
        """A scaler with new settings starts at its own scale."""
        same = before.precision == self._config.precision
        return state if same else dataclasses.replace(state, scaler=None)

    def _keep(self, position: Position) -> None:
        """Save a checkpoint, unless it is too soon for the first one or the last one was too dear for another."""
        assert self._live is not None
        started = time.monotonic()
        if position.update < FIRST_CHECKPOINT or started < self._next_checkpoint:
            return
        place = self._folder.checkpoint(position.step)
        try:
            state = self._live.machinery.snapshot(self._live.trained, position, copy=False)
            checkpoint.write(state, place)
        except (OSError, TrainingError):
            log.exception("The checkpoint %s could not be saved; the run goes on", place)
            return
        ended = time.monotonic()
        self._next_checkpoint = ended + (ended - started) / SHARE_OF_CHECKPOINTS
        self._emit(CheckpointSaved(step=position.step, update=position.update, path=str(place)))

    def _finish(self, status: str) -> None:
        adapter_bytes = self._save()
        live = self._live
        position = live.loop.position if live else Position()
        self._folder.write_state("finished" if status == "finished" else "stopped", **self._results())
        self._emit(
            RunFinished(
                status=status,
                step=position.step,
                update=position.update,
                trainable_parameters=live.trained.trainable_parameters if live else 0,
                total_parameters=live.trained.total_parameters if live else 0,
                adapter_bytes=adapter_bytes,
                peak_memory=peak_memory(self._device),
                seconds=time.monotonic() - self._started,
            )
        )

    def _results(self) -> dict[str, Any]:
        """What state.json tells of how far the run came, and how well."""
        return {
            "updates": self._live.loop.position.update if self._live else 0,
            "planned_updates": self._live.loop.planned if self._live else 0,
            "seconds": time.monotonic() - self._started,
            **self._losses.state(),
        }

    def _save(self) -> int:
        """Save the trained part, unless there is none yet or the user gave it up; return its size in bytes."""
        if self._live is None or self._control.discard_requested:
            return 0
        return save_trained(self._live.trained, self._config.method.name, self._folder.adapter)


def save_trained(trained: Trained, method: str, folder: Path) -> int:
    """Write the trained part into `folder` and return its size in bytes.

    Raises:
        TrainingError: a trained weight is not finite; nothing is written then.
    """
    if not trained.finite:
        raise TrainingError(tr("A trained weight is not a finite number; nothing was saved."))
    folder.mkdir(exist_ok=True)
    METHODS.get(method).save(trained.model, folder)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _weights_differ(before: RunConfig, now: RunConfig) -> bool:
    """Whether the weights are stored otherwise, so that the model has to be loaded anew."""
    return (before.precision.name, before.precision.base_dtype) != (now.precision.name, now.precision.base_dtype)


def _changes(before: RunConfig, now: RunConfig) -> dict[str, Any]:
    """Settings that differ, by dotted key, with their new values."""
    old, new = before.model_dump(), now.model_dump()
    return {
        f"{section}.{key}": value
        for section in ("precision", "training")
        for key, value in new[section].items()
        if old[section][key] != value
    }


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Any id serves as padding, because it is masked by position; the end-of-text token stays trained."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    return 0
