"""One training run from its configuration to the saved result."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from studio.config import RunConfig, write_config
from studio.engine.autocast import tf32
from studio.engine.control import Control, Progress, no_progress
from studio.engine.data.prepare import prepare_data
from studio.engine.device import library_versions, peak_memory, resolve_device
from studio.engine.disk import with_room
from studio.engine.distributed import ALONE, Ranks, joined
from studio.engine.estimate.plan import Place, Plan, place_of, plan, storage_reasons, with_rows, with_storage
from studio.engine.methods import METHODS
from studio.engine.models.files import belongings, fingerprint
from studio.engine.models.find import resolve_model
from studio.engine.models.info import ModelInfo, as_configured
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_tokenizer
from studio.engine.numerics.remedies import changed
from studio.engine.precision import Precision
from studio.engine.precision.choose import choose_precision, choose_storage
from studio.engine.sharding import gathered
from studio.engine.training import checkpoint, pause
from studio.engine.training.checkpoint import Checkpoints
from studio.engine.training.fast_kernels import choose_kernels
from studio.engine.training.loop import Loop, Occasion, RemedyAsked
from studio.engine.training.model import TrainableModel, check_positions, load_trainable
from studio.engine.training.monitor import NumericsMonitor
from studio.engine.training.optimizer import check_optimizer
from studio.engine.training.prepared import Prepared, pad_id, plan_with_data, report_data, watch_retention
from studio.engine.training.result import save_trained
from studio.engine.training.resume import (
    Start,
    base_of,
    begin_with,
    check_bound,
    check_length,
    check_same,
    data_print,
    differences,
    environment,
    find_start,
)
from studio.engine.training.retention_watch import RetentionWatch
from studio.engine.training.state import Emit, Losses, Position, progress_events
from studio.engine.training.trainer import Trainer
from studio.engine.training.trial import try_longest
from studio.errors import Cancelled, NotResumed, RunFolderError, StudioError, TrainingError
from studio.events import (
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    from_json,
    to_json,
)
from studio.i18n import tr
from studio.paths import default_runs_root
from studio.runs import RunFolder, create_run, release_lock, write_atomically

log = logging.getLogger(__name__)

# Settings whose change gives other numbers, or other bounds for them; what was seen before says nothing about those.
JUDGED_BY = "precision.", "numerics.", "training.learning_rate", "training.max_grad_norm", "machine.precision"


def train(
    config: RunConfig,
    folder: RunFolder,
    control: Control,
    emit: Emit,
    *,
    until: int | None = None,
    token_budget: int | None = None,
) -> None:
    """Train as configured, into `folder`; every event goes to `emit`.

    A stop request ends the run after its micro-batch, with the adapter and a checkpoint saved; so does `until`, after
    that attempted step. `token_budget` (padded tokens of a micro-batch) is for tests and measurements; it changes
    speed and memory, never the result.

    Raises:
        StudioError: with a sentence for the user; nothing non-finite has been saved.
    """
    with joined() as ranks, tf32(config.precision.tf32):
        start: Start | None = None
        config, until, start = ranks.from_main((config, until, start))
        _Run(config, folder, control, emit, token_budget, until, start, ranks).go()


def resume(
    folder: RunFolder,
    control: Control,
    emit: Emit,
    *,
    changes: Sequence[str] = (),
    until: int | None = None,
    consent: bool = False,
) -> None:
    """Go on with a run from its newest valid checkpoint, or from its beginning where it came to none.

    On the same machine, with the same versions and settings, losses and weights are those of a run that was never cut
    off, bit for bit. Where something differs, the event `run_resumed` lists it.

    Args:
        changes: settings to replace, as `section.key=value`. They are kept in the next checkpoints; config.toml stays.
        until: the attempted step to stop after.
        consent: go on though the base or the data are no longer those of the checkpoint.

    Raises:
        NotResumed: the run is as it was before, and the error behind it (`__cause__`) says why. Among others: every
            checkpoint is damaged; a change asks for another shape or order of rows; the base or the data differ,
            without consent.
        StudioError: with a sentence for the user; nothing non-finite has been saved.
    """
    before = folder.read_state()["status"]
    run: _Run | None = None
    try:
        start = find_start(folder, changes, consent=consent)
        with joined() as ranks, tf32(start.config.precision.tf32):
            config, until, _ = ranks.from_main((start.config, until, start.hollow()))  # the others call `train`
            run = _Run(config, folder, control, emit, None, until, start, ranks)
            run.go()
    except Exception as error:
        if run is not None and run.begun:
            raise
        folder.write_state(before)
        raise NotResumed(str(error)) from error


class _Run:
    """The run, from the model's files to the saved result.

    The loop, with the model inside it, is None until it is ready, and again while a remedy loads the model anew.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        control: Control,
        emit: Emit,
        token_budget: int | None,
        until: int | None = None,
        start: Start | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """`start`: where a run goes on from; None at its beginning."""
        self._config = config
        self._folder = folder
        self._ranks = ranks
        self._control = ranks.control(control)
        self._losses = Losses()
        self._tell = emit
        self._started = control.clock()
        self._device = resolve_device(config.training.device)
        # A micro-batch of another size sums in another order.
        self._token_budget = token_budget or (start and start.run.get("micro_batch_tokens"))
        self._until = until
        self._start = start
        self._checkpoints = Checkpoints(folder, config.checkpoints, self._emit)
        self._loop: Loop | None = None
        self._about: dict[str, Any] = {}
        self._retention: RetentionWatch | None = None
        self._sharded = False
        self._known: dict[str, Any] = {}
        self._changed: dict[str, str] = {}
        self._seconds_before = float(start.run.get("seconds", 0.0)) if start else 0.0
        self.begun = False

    def go(self) -> None:
        try:
            self._finish(self._train_or_stop())
        except BaseException as error:
            if self.begun or self._start is None:  # a run that does not go on stays as it was
                self._rescue(error)
            raise

    def _train_or_stop(self) -> Literal["finished", "stopped"]:
        try:
            prepared, model = self._prepare()
            self._loop = self._make_loop(prepared, model, self._verdicts_before())
            tried = try_longest(self._loop.trainer, prepared.data.train, prepared.available)
            self._emit(dataclasses.replace(tried, seconds=self._control.clock() - self._started))
            del model  # the loop alone holds it: a remedy may let go of it, and load another
            self._begin(prepared)
            self._begin_alike()
            status = self._train(prepared)
            if not self._control.discard_requested:
                self._checkpoint(calm=True, wait=True)
            if self._loop and prepared.retention:
                prepared.retention.conclude(self._loop.trainer, self._loop.position)
        except Cancelled:
            if self._start and not self.begun:
                raise
            return "stopped"
        except TrainingError:
            if self.begun and not self._in_step:  # the guard kept the weights good
                self._checkpoint(calm=False, wait=True)
            raise
        finally:
            self._checkpoints.settle()
        return status

    def _begin(self, prepared: Prepared) -> None:
        """Bring what is trained to where the run begins, or goes on."""
        loop = self._loop
        assert loop is not None
        trainer, retention = loop.trainer, prepared.retention
        # Where every process has the whole model, the others get the state of process 0 in `_begin_alike`.
        start = self._start if self._ranks.main or trainer.in_step else None
        fresh = start is None or start.snapshot is None
        if retention and (self._config.training.start_from or not fresh):
            # What is trained is as the method made it still: this is the base, whatever training begins with.
            retention.record_base(trainer, self._progress)
        if fresh and self._config.training.start_from:
            begin_with(Path(self._config.training.start_from), trainer, self._config, self._known["base"])
        if start is None:
            self.begun = True
            return
        known, changes = start.run, {**start.settings, **self._changed}
        if start.snapshot:
            changes |= differences(known.get("environment"), self._known["environment"])
            budget = known.get("micro_batch_tokens", trainer.token_budget)
            if budget != trainer.token_budget:
                changes["machine.micro_batch_tokens"] = trainer.token_budget
            snapshot = start.snapshot
            if any(key.startswith("precision.") for key in start.settings):
                snapshot = dataclasses.replace(snapshot, scaler=None)  # new settings begin at their own scale
            checkpoint.put_back(snapshot, trainer, loop.position)
            if "loop" in known:
                loop.restore(known["loop"], judged_anew=any(key.startswith(JUDGED_BY) for key in changes))
                self._losses.restore(known["losses"])
            if retention and known.get("retention"):
                retention.restore(known["retention"], snapshot.best)
                check_bound(retention.below_bound)
        check_length(loop.planned, loop.position.update, ended=start.ended)
        self.begun = True
        self._emit(
            RunResumed(
                step=loop.position.step,
                update=loop.position.update,
                changes=changes,
                restarted=True,
                skipped=[*start.skipped],
            )
        )

    def _on_occasion(self, occasion: Occasion) -> None:
        """Save a checkpoint where one is due, or asked for."""
        assert self._loop is not None
        self._checkpoints.tell()
        calm, update = occasion != "trouble", self._loop.position.update
        if occasion == "pause":
            self._checkpoint(calm=True, wait=True)
            return
        asked = self._control.take_checkpoint_request()
        [due] = self._ranks.main_says(calm and self._checkpoints.is_due(update, best=occasion == "best"))
        if asked or due:
            self._checkpoint(calm=calm, wait=False)

    def _checkpoint(self, *, calm: bool, wait: bool) -> None:
        """Save the whole state of the run, `calm` where nothing is wrong with it; there is none before the first step.

        What is not a tensor is JSON: all that a run goes on with, and what it can be compared with then.
        """
        loop, retention = self._loop, self._retention
        if loop is None or not loop.position.step or not (self._ranks.main or self._in_step):
            return
        loss = loop.validation_loss
        run = {
            **self._known,
            "config": self._config.model_dump(mode="json", exclude_none=True),
            "micro_batch_tokens": loop.trainer.token_budget,
            "loop": loop.to_json(),
            "verdicts": [json.loads(to_json(verdict)) for verdict in loop.verdicts],
            "retention": retention.to_json() if retention else None,
            "losses": self._losses.to_json(),
            "validation_loss": loss if loss is not None and math.isfinite(loss) else None,
            "calm": calm,
            "seconds": self._seconds,
            "journal_bytes": self._folder.journal.stat().st_size if self._folder.journal.exists() else 0,
        }
        best = retention.best_file if retention else None
        held = self._ranks.main and self._checkpoints.holds(loop.position, run)
        if self._in_step:
            [held] = self._ranks.main_says(held)
        if held:
            return
        if self._ranks.main:
            self._checkpoints.save(loop.trainer, loop.position, run, best, wait=wait)
        else:
            checkpoint.take(loop.trainer, loop.position, copy=False)  # process 0 gathers what all of them hold

    @property
    def _in_step(self) -> bool:
        """Whether what is trained is spread over the processes: all of them give their parts when it is saved."""
        return self._loop is not None and self._loop.trainer.in_step

    @property
    def _seconds(self) -> float:
        """How long the run has taken, before it was cut off and since."""
        return self._seconds_before + self._control.clock() - self._started

    def _begin_alike(self) -> None:
        """Let every process begin with the state of process 0."""
        loop = self._loop
        if self._ranks.size == 1 or loop is None or self._in_step:
            return
        mine = checkpoint.take(loop.trainer, loop.position) if self._ranks.main else None
        state, counters = self._ranks.from_main((mine, loop.to_json()))
        if state and not self._ranks.main:
            checkpoint.put_back(state, loop.trainer, loop.position)
            loop.restore(counters)

    def _train(self, prepared: Prepared) -> Literal["finished", "stopped"]:
        """Train until the run ends, with as many changes of its settings as the user asks for."""
        while True:
            assert self._loop is not None
            outcome = self._loop.run()
            if not isinstance(outcome, RemedyAsked):
                return outcome
            prepared = self._apply_remedy(prepared, outcome)

    def _emit(self, event: RunEvent | ProgressReported) -> None:
        self._losses.note(event)
        if isinstance(event, RunPaused | RunResumed):
            try:
                self._folder.write_state("paused" if isinstance(event, RunPaused) else "running")
            except OSError as error:  # the event says it, too
                log.warning("The state of the run cannot be written: %s", error)
        self._tell(event)

    @property
    def _progress(self) -> Progress:
        return progress_events(self._control, self._emit, self._wait_while_paused)

    def _wait_while_paused(self) -> None:
        """Wait where that is asked for before there is anything to move off a GPU."""
        if self._control.pause_requested:
            pause.wait(self._control, self._emit, (), torch.device("cpu"), step=0, because="")

    def _prepare(self) -> tuple[Prepared, TrainableModel]:
        progress = self._progress
        folder = resolve_model(self._config.model.path, progress)
        info = as_configured(inspect_model(folder, progress), self._config.model)
        METHODS.get(self._config.method.name).check(info, self._config.method)
        asked, stored = self._config, self._choose_storage(info)
        precision, reason = choose_precision(self._config.precision, self._device, info.dtype)
        check_optimizer(self._config.training.optimizer, precision, self._device)
        shared = ["weights_spread"] if self._sharded else []
        self._announce(info, precision, [reason, *storage_reasons(info, asked, stored), *shared])
        tokenizer = load_tokenizer(info.path, info.chat_template)
        with self._ranks.main_first():  # the others find its rows in the cache
            data = prepare_data(self._config.data, tokenizer, info.kind, self._config.training.seed, progress)
        base = fingerprint(info.path, progress)
        self._compare(base, data_print(data), environment(self._device, precision))
        check_positions(self._config, info, data)
        found = plan_with_data(self._config, info, data, self._place(self._config), sharded=self._sharded)
        if found.sharded:  # all take micro-batches of one size
            found = dataclasses.replace(found, fit=self._ranks.from_main(found.fit))
        report_data(self._config, data, self._emit)
        record = {"path": str(info.path), "base_files": base, "other_files": belongings(info.path)}
        write_atomically(self._folder.path / "base.json", json.dumps(record, ensure_ascii=False, indent=2) + "\n")
        self._retention = retention = (
            watch_retention(
                self._config,
                info,
                tokenizer,
                data,
                self._control,
                self._emit,
                progress,
                self._folder,
                self._start,
                writes=self._ranks.main,
            )
            if self._ranks.main or found.sharded
            else None
        )
        prepared = Prepared(
            info, data, precision, pad_id(tokenizer), found.place.available, found.fit, retention, found.sharded
        )
        return prepared, self._load(prepared)

    def _compare(self, base: Mapping[str, Any], data: str, computing: dict[str, str]) -> None:
        """Compare base and data with those of the checkpoint that a run goes on from.

        Raises:
            ConfigError: they differ, and nobody asked for that.
        """
        self._known = {"base": base, "data": data, "environment": computing}
        if self._start is None or self._start.snapshot is None:
            return
        before = self._start.run.get("base") or base_of(self._folder)
        self._changed = check_same("base", before, base, self._start)
        self._changed |= check_same("data", self._start.run.get("data"), data, self._start)

    def _load(self, prepared: Prepared) -> TrainableModel:
        """Load the model, and let a GPU choose its kernels."""
        path, precision = prepared.info.path, prepared.precision
        shared_by = self._ranks if prepared.sharded else None
        model = load_trainable(
            path, self._config, precision, self._device, prepared.fit, self._progress, shared_by=shared_by
        )
        if self._device.type == "cuda" and not prepared.sharded and model.cards == 1:
            self._emit(choose_kernels(model, precision, prepared.data.train[0].input_ids.tolist()))
        return model

    def _place(self, config: RunConfig) -> Place:
        return place_of(config, self._ranks.size)

    def _choose_storage(self, info: ModelInfo) -> Plan:
        """Store the weights of the base as this run began with, or as they fit."""
        before = self._folder.read_state().get("base_dtype")
        if before is not None and "config" not in (
            self._start.run if self._start else {}
        ):  # another storage would be another base
            self._config = with_storage(self._config, before)
        found = plan(info, self._config, self._place(self._config))
        [self._sharded] = self._ranks.any(found.sharded)
        self._config = self._ranks.from_main(with_storage(self._config, found.base_dtype))
        self._about["base_dtype"] = found.base_dtype
        self._folder.write_state("running", **self._about)
        return found

    def _announce(self, info: ModelInfo, precision: Precision, reasons: list[str]) -> None:
        self._about |= {
            "model": {"path": str(info.path), "name": info.name, "kind": info.kind},
            "method": self._config.method.name,
            "precision": precision.name,
        }
        self._folder.write_state("running", **self._about)
        self._emit(
            RunStarted(
                run=self._folder.name,
                model=info.name,
                kind=info.kind,
                method=self._config.method.name,
                precision=precision.name,
                precision_because=reasons,
                frozen_dtype=choose_storage(self._config.precision, precision),
                device=str(self._device),
                versions=library_versions(),
            )
        )
        log.info("%s, %s, %s, %s on %s", info.name, info.kind, self._config.method.name, precision.name, self._device)

    def _make_loop(self, prepared: Prepared, model: TrainableModel, verdicts: Sequence[OverflowDiagnosed] = ()) -> Loop:
        """Return a loop at its beginning; `verdicts` are those of the run so far."""
        trainer = Trainer(
            self._config,
            model,
            prepared.precision,
            pad_id=prepared.pad_id,
            token_budget=self._token_budget or prepared.fit.micro_batch_tokens,
            emit=self._emit,
            ranks=self._ranks,
        )
        monitor = NumericsMonitor(trainer, self._emit, verdicts=verdicts, can_restore=self._can_restore)
        return Loop(
            trainer,
            prepared.data,
            monitor,
            self._control,
            self._emit,
            self._on_occasion,
            prepared.retention,
            self._until,
        )

    def _verdicts_before(self) -> list[OverflowDiagnosed]:
        """Return what was found harmful before the checkpoint that the run goes on from."""
        kept = self._start.run.get("verdicts", ()) if self._start else ()
        found = (from_json(json.dumps(verdict)) for verdict in kept)
        return [verdict for verdict in found if isinstance(verdict, OverflowDiagnosed)]

    def _can_restore(self) -> bool:
        return self._loop is not None and bool(self._checkpoints.good(self._loop.position.update))

    def _apply_remedy(self, prepared: Prepared, asked: RemedyAsked) -> Prepared:
        """Go on with a remedy, or as before where it cannot be applied, and say which."""
        loop, before = self._loop, self._config
        assert loop is not None
        trainer = loop.trainer
        try:
            config = changed(before, asked.name, asked.verdict.evidence)
            back = asked.name == "restore_checkpoint" or not trainer.model.finite
            update = loop.position.update
            self._checkpoints.settle()
            state = self._checkpoints.go_back(update) if back else checkpoint.take(trainer, loop.position)
        except StudioError as error:
            loop.refuse(str(error))
            return prepared
        position, left_out, verdicts, model = loop.position, loop.left_out, loop.verdicts, trainer.model
        self._config, self._token_budget = config, trainer.token_budget  # it may have shrunk
        stored = before.precision.name, before.precision.base_dtype
        if anew := stored != (config.precision.name, config.precision.base_dtype):  # the model has to be loaded anew
            if model.finite:
                self._save()  # in case the model cannot be loaded again
            self._loop = None
            del loop, trainer, model  # only one model in memory at a time
            found = plan(prepared.info, with_rows(config, prepared.data.longest), place_of(config))
            self._config = with_storage(config, found.base_dtype)
            prepared = dataclasses.replace(
                prepared, precision=found.precision, available=found.place.available, fit=found.fit
            )
            model = self._load(prepared)
            self._folder.write_state("running", precision=found.precision.name, base_dtype=found.base_dtype)
            self._token_budget = min(self._token_budget, found.fit.micro_batch_tokens)
        loop = self._make_loop(prepared, model, verdicts)
        if anew and prepared.retention:
            # What is trained is at its start still, so this is the base, in the numbers that it is computed in now.
            prepared.retention.record_base(loop.trainer, no_progress)
        self._loop = loop
        self._loop.left_out |= left_out
        if before.precision != config.precision:
            state = dataclasses.replace(state, scaler=None)  # a scaler with new settings starts at its own scale
        checkpoint.put_back(state, self._loop.trainer, self._loop.position)
        self._loop.position.step = position.step  # attempts are counted on: a step's number is never used twice
        returned = {"back to update": state.position["update"]} if state.position["update"] < position.update else {}
        self._emit(RunResumed(step=position.step, changes=_changes(before, config) | returned))
        return prepared

    def _rescue(self, error: BaseException) -> None:
        """Save the trained part before a run fails: it is worth keeping, and exporting.

        Where it cannot be saved, the newest checkpoint stands for it.

        Raises:
            RunFolderError: the run folder is gone; the trained part lies in another one.
        """
        before = self._folder
        about: dict[str, Any] = {}
        lost = self._loop is not None and not before.path.is_dir()
        try:
            if lost:
                self._folder = create_run(default_runs_root(), "rescued", write_config(self._config))
                about = self._about
            if not self._in_step:  # the other processes may be anywhere; the newest checkpoint stands for it
                self._save()
        except Exception:
            log.exception("The trained part could not be saved")
            lost = False
        try:
            self._folder.write_state("failed", **about, **self._results())
        except (OSError, RunFolderError) as second:
            log.warning("The state of the run cannot be written: %s", second)
        if lost:
            release_lock(self._folder.path)
            words = tr("The run folder {path} was deleted while the run was under way; what was trained is in {now}.")
            raise RunFolderError(words.format(path=before.path, now=self._folder.path)) from error

    def _finish(self, status: Literal["finished", "stopped"]) -> None:
        adapter_bytes = self._save()
        loop = self._loop
        position = loop.position if loop else Position()
        # Not through `_emit`, which would write "running" over the end once there is room.
        with_room(lambda: self._folder.write_state(status, **self._results()), self._control, self._tell, position.step)
        self._emit(
            RunFinished(
                status=status,
                step=position.step,
                update=position.update,
                trainable_parameters=loop.trainer.model.trainable_parameters if loop else 0,
                total_parameters=loop.trainer.model.total_parameters if loop else 0,
                adapter_bytes=adapter_bytes,
                peak_memory=peak_memory(self._device),
                seconds=self._seconds,
            )
        )

    def _results(self) -> dict[str, Any]:
        """What state.json tells of how far the run came, and how well."""
        return {
            "updates": self._loop.position.update if self._loop else 0,
            "planned_updates": self._loop.planned if self._loop else 0,
            "seconds": self._seconds,
            **self._losses.state(),
        }

    def _save(self) -> int:
        """Save the trained part, unless there is none yet or the user gave it up; return its size in bytes."""
        if self._loop is None or not self.begun or self._control.discard_requested:
            return 0
        model, position = self._loop.trainer.model, self._loop.position
        save = functools.partial(save_trained, model, self._config.method.name, self._folder.adapter, position)
        with gathered(model.model, main=self._ranks.main):
            return with_room(save, self._control, self._emit, position.step) if self._ranks.main else 0


def _changes(before: RunConfig, now: RunConfig) -> dict[str, Any]:
    """Settings that differ, by dotted key, with their new values."""
    old, new = before.model_dump(), now.model_dump()
    return {
        f"{section}.{key}": value
        for section in ("precision", "training")
        for key, value in new[section].items()
        if old[section][key] != value
    }
