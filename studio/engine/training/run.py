"""One training run from its configuration to the saved result."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from studio.config import RunConfig
from studio.engine.control import Control, Progress
from studio.engine.data.prepare import PreparedData, prepare_data
from studio.engine.device import default_token_budget, library_versions, peak_memory, resolve_device
from studio.engine.methods import METHODS
from studio.engine.models.find import resolve_model
from studio.engine.models.fingerprint import fingerprint
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model, load_tokenizer
from studio.engine.models.quantise import count_parameters
from studio.engine.precision import Precision
from studio.engine.precision.choose import choose_precision, explain_storage
from studio.engine.precision.scaling import make_scaler
from studio.engine.precision.tf32 import tf32
from studio.engine.seed import seed_step
from studio.engine.training.loop import Emit, Loop, planned_updates, progress_events
from studio.engine.training.loss import SupervisedLoss
from studio.engine.training.losses import Losses
from studio.engine.training.optimizer import make_optimizer
from studio.engine.training.storage import attach_stored
from studio.engine.training.update import Updater
from studio.errors import Cancelled, TrainingError
from studio.events import DataPrepared, ProgressReported, RunEvent, RunFinished, RunStarted
from studio.i18n import tr
from studio.runs import RunFolder, write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass
class Trained:
    """The model under training: `model` is what is trained, `base` the transformers model inside it."""

    model: nn.Module
    parameters: list[nn.Parameter]
    total_parameters: int

    @property
    def trainable_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)


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
        self._trained: Trained | None = None
        self._loop: Loop | None = None

    def go(self) -> None:
        try:
            status = self._prepare().run()
        except Cancelled:
            status = "stopped"
        except TrainingError:
            # The guard kept the weights good; they are worth keeping, and exporting.
            self._save()
            self._folder.write_state("failed", **self._results())
            raise
        self._finish(status)

    def _emit(self, event: RunEvent | ProgressReported) -> None:
        self._losses.note(event)
        self._tell(event)

    def _prepare(self) -> Loop:
        progress = progress_events(self._control, self._emit)
        info = inspect_model(resolve_model(self._config.model.path, progress), progress)
        kind = info.kind if self._config.model.kind == "auto" else self._config.model.kind
        precision, reason = choose_precision(self._config.precision, self._device, info.dtype)
        if METHODS.get(self._config.method.name).quantised_base:
            reason = f"{reason} {explain_storage(self._config.precision, precision, info.dtype)}"
        self._announce(info, kind, precision, reason)
        tokenizer = load_tokenizer(info.path)
        data = prepare_data(self._config.data, tokenizer, kind, self._config.training.seed, progress)
        self._report_data(data)
        self._record_base(info.path, progress)
        self._trained = self._attach(info, precision, progress)
        self._loop = self._make_loop(self._trained, data, precision, _pad_id(tokenizer))
        return self._loop

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

    def _attach(self, info: ModelInfo, precision: Precision, progress: Progress) -> Trained:
        base = load_model(info.path, "fp32", progress)
        seed_step(self._config.training.seed, 0)
        model = attach_stored(base, self._config.method, precision, self._config.precision, self._device).train()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not parameters:
            raise TrainingError(tr("Nothing is left to train; freeze less."))
        self._loss = SupervisedLoss(model, base)
        return Trained(model, parameters, count_parameters(model))

    def _make_loop(self, trained: Trained, data: PreparedData, precision: Precision, pad_id: int) -> Loop:
        scaler = make_scaler(precision, self._config.precision)
        optimizer = make_optimizer(trained.parameters, self._config.training, precision, self._config.precision)
        updater = Updater(
            self._loss, trained.parameters, optimizer, precision, scaler, self._config.training.max_grad_norm
        )
        return Loop(
            self._config,
            data,
            self._loss,
            updater,
            scaler,
            self._control,
            self._emit,
            pad_id=pad_id,
            token_budget=self._token_budget,
        )

    def _finish(self, status: str) -> None:
        adapter_bytes = self._save()
        position = self._loop.position if self._loop else None
        self._folder.write_state("finished" if status == "finished" else "stopped", **self._results())
        self._emit(
            RunFinished(
                status=status,
                step=position.step if position else 0,
                update=position.update if position else 0,
                trainable_parameters=self._trained.trainable_parameters if self._trained else 0,
                total_parameters=self._trained.total_parameters if self._trained else 0,
                adapter_bytes=adapter_bytes,
                peak_memory=peak_memory(self._device),
                seconds=time.monotonic() - self._started,
            )
        )

    def _results(self) -> dict[str, Any]:
        """What state.json tells of how far the run came, and how well."""
        return {
            "updates": self._loop.position.update if self._loop else 0,
            "planned_updates": self._loop.planned if self._loop else 0,
            "seconds": time.monotonic() - self._started,
            **self._losses.state(),
        }

    def _save(self) -> int:
        """Save the trained part, unless there is none yet or the user gave it up; return its size in bytes."""
        if self._trained is None or self._control.discard_requested:
            return 0
        return save_trained(self._trained, self._config.method.name, self._folder.adapter)


def save_trained(trained: Trained, method: str, folder: Path) -> int:
    """Write the trained part into `folder` and return its size in bytes.

    Raises:
        TrainingError: a trained weight is not finite; nothing is written then.
    """
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trained.parameters):
        raise TrainingError(tr("A trained weight is not a finite number; nothing was saved."))
    folder.mkdir(exist_ok=True)
    METHODS.get(method).save(trained.model, folder)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Any id serves as padding, because it is masked by position; the end-of-text token stays trained."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    return 0
