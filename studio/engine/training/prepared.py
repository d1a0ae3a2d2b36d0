"""What a run finds out before it trains: its plan, its rows, and what its retention is measured with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.config import RunConfig
from studio.config.data import SHORTEST
from studio.engine.control import Control, Progress
from studio.engine.data.prepare import PreparedData
from studio.engine.estimate.plan import Place, Plan, plan, with_rows
from studio.engine.estimate.remedies import refusal
from studio.engine.fit import Fit
from studio.engine.methods import METHODS
from studio.engine.models.info import ModelInfo
from studio.engine.precision import Precision
from studio.engine.training.evaluate import plan_of
from studio.engine.training.length import planned_updates
from studio.engine.training.probes import load_probes
from studio.engine.training.resume import Start
from studio.engine.training.retention import Plan as MeasurementPlan
from studio.engine.training.retention import RetentionMeter, plan_measurements
from studio.engine.training.retention_watch import RetentionWatch
from studio.engine.training.state import Emit
from studio.errors import TrainingError
from studio.events import DataPrepared
from studio.runs import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What a run has found out before it trains; `available` bytes were free before the model was loaded.

    `sharded`: whether the weights are spread over the processes of the run.
    """

    info: ModelInfo
    data: PreparedData
    precision: Precision
    pad_id: int
    available: int
    fit: Fit
    retention: RetentionWatch | None
    sharded: bool = False


def plan_with_data(
    config: RunConfig, info: ModelInfo, data: PreparedData, place: Place, *, sharded: bool = False
) -> Plan:
    """Return how training fits with the rows that there are; `sharded` as of `plan`.

    Raises:
        TrainingError: it does not fit.
    """
    config = with_rows(config, data.longest)
    found = plan(info, config, place, sharded=sharded)
    if not found.fits:
        raise TrainingError(refusal(info, config, found))
    return found


def report_data(config: RunConfig, data: PreparedData, emit: Emit) -> None:
    """Tell what was found in the data: the event, and a line of the log for each problem and finding."""
    train_rows = data.train
    emit(
        DataPrepared(
            train_rows=len(train_rows),
            validation_rows=len(data.validation),
            general_rows=sum(role == "general" for role in train_rows.roles),
            skipped_rows=sum(data.report.skipped.values()),
            skipped=[{**reason.to_json(), "count": count} for reason, count in data.report.skipped.items()],
            tokens=int(train_rows.lengths.sum()),
            supervised_tokens=int(train_rows.supervised.sum()),
            longest=int(train_rows.lengths.max()),
            planned_updates=planned_updates(config, data.order.rows_per_epoch),
            findings=[finding.to_json() for finding in data.findings],
            left_out=data.report.left_out,
        )
    )
    for problem in data.report.problems:
        log.log(logging.INFO if problem.neutral else logging.WARNING, "%s", problem.text())
    for finding in data.findings:
        log.warning("%s", finding.meaning())


def watch_retention(
    config: RunConfig,
    info: ModelInfo,
    tokenizer: PreTrainedTokenizerBase,
    data: PreparedData,
    control: Control,
    emit: Emit,
    progress: Progress,
    folder: RunFolder,
    start: Start | None,
    *,
    writes: bool,
) -> RetentionWatch | None:
    """Return what measures retention, or None where the configuration or the length of rows leaves no room for it.

    Args:
        start: of a run that is gone on with: its texts and its plan stay.
        writes: whether this process keeps the best weights, among those that measure together.

    Raises:
        ConfigError, DataError: `retention.probes` is no file that can be trained on.
    """
    taken = METHODS.get(config.method.name).positions(config.method)
    room = min(config.data.max_length, (info.context_length or config.data.max_length) - taken)
    if not config.retention.measure or room < SHORTEST:
        return None
    planned = planned_updates(config, data.order.rows_per_epoch)
    measured = plan_measurements(planned * config.training.batch_size * float(data.train.lengths.mean()))
    if start and (kept := start.run.get("retention")):
        measured = MeasurementPlan(**kept["plan"])  # the same texts, and the same base, in a run that became longer
    probes = load_probes(
        config.retention,
        tokenizer,
        info.kind,
        room,
        measured.questions,
        progress,
        config.data.prompt_template,
    )
    meter = RetentionMeter(probes, measured, tokenizer, control.clock)
    evaluations = planned // plan_of(config, data).every
    return RetentionWatch(config, meter, evaluations, emit, folder.checkpoints, writes=writes)


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return a token for padding. Any serves, because it is masked by position; the end of text stays trained."""
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if isinstance(i, int)), 0)
