"""What the window and the command line may ask of the engine, besides training. The engine is imported when asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.config import DataConfig, DataSource, PrecisionConfig, RunConfig
from studio.engine.control import Progress, no_progress
from studio.errors import ConfigError
from studio.runs import RunFolder

if TYPE_CHECKING:
    from studio.engine.data.inspect import DataInspection
    from studio.engine.device import Hardware
    from studio.engine.export.run import ExportResult
    from studio.engine.models.info import ModelInfo


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a configuration will need. Sizes are bytes; `bytes` is by component."""

    trainable_parameters: int
    total_parameters: int
    bytes: dict[str, int]
    total_bytes: int
    available_bytes: int


def open_model(path_or_id: str, progress: Progress = no_progress) -> ModelInfo:
    """Find a model by folder or hub id and look at it, without loading its weights. Raises `ModelError`."""
    from studio.engine.models.find import resolve_model
    from studio.engine.models.inspect import inspect_model

    return inspect_model(resolve_model(path_or_id, progress), progress)


def open_data(
    source: DataSource,
    model: ModelInfo | None = None,
    config: DataConfig | None = None,
    rows: int = 5,
    progress: Progress = no_progress,
) -> DataInspection:
    """Look at a dataset; with a model, also as the model's own tokenizer and template render it. Raises `DataError`."""
    from studio.engine.data.inspect import inspect_data

    if model is None:
        return inspect_data(source, rows=rows, progress=progress)
    from studio.engine.models.load import load_tokenizer

    return inspect_data(
        source,
        tokenizer=load_tokenizer(model.path),
        kind=model.kind,
        train_on=config.train_on if config else "completions",
        max_length=config.max_length if config else 1024,
        rows=rows,
        progress=progress,
    )


def fetch_starter(progress: Progress = no_progress) -> Path:
    """Get the starter model into the user's data folder; return its path. Raises `ModelError`."""
    from studio.engine.models import starter

    return starter.fetch_starter(progress)


def starter_folder() -> Path | None:
    """Return where the starter model is, or None while it is not there."""
    from studio.engine.models import starter

    return starter.starter_folder()


def export(
    folder: RunFolder, target: str, dtype: str = "auto", out: Path | None = None, progress: Progress = no_progress
) -> ExportResult:
    """Export a run and check the export. Raises `ExportError`; a failed check is in the result."""
    from studio.engine.export.run import export_run

    return export_run(folder, target, dtype, out, progress)


def estimate(info: ModelInfo, config: RunConfig) -> Estimate:
    """Return what training will need, from the shapes in the weight files alone."""
    from studio.engine.device import available_memory
    from studio.engine.methods import METHODS
    from studio.engine.models.estimate import estimate_memory

    trainable = METHODS.get(config.method.name).trainable_parameters(info.shapes, config.method)
    memory = estimate_memory(info, config)
    added = 0 if METHODS.get(config.method.name).form == "model" else trainable
    return Estimate(
        trainable_parameters=trainable,
        total_parameters=info.parameters + added,
        bytes=memory.components,
        total_bytes=memory.total,
        available_bytes=available_memory(config.training.device),
    )


def explain_precision(config: RunConfig, info: ModelInfo) -> tuple[str, str]:
    """Return the precision that will be used and why. Raises `ConfigError` for one that cannot be used here."""
    from studio.engine.device import resolve_device
    from studio.engine.methods import METHODS
    from studio.engine.precision.choose import choose_precision, explain_storage

    precision, reason = choose_precision(config.precision, resolve_device(config.training.device), info.dtype)
    if METHODS.get(config.method.name).quantised_base:
        reason = f"{reason} {explain_storage(config.precision, precision, info.dtype)}"
    return precision.name, reason


@dataclass(frozen=True, kw_only=True)
class PrecisionAdvice:
    """Whether a precision works on a device; `reason` says why not, or what speaks against it, or nothing."""

    name: str
    works: bool
    reason: str


def advise_precisions(device: str = "auto") -> tuple[PrecisionAdvice, ...]:
    """Say of every precision whether it works on a device. Raises `TrainingError` when there is no such device."""
    from studio.engine.device import resolve_device
    from studio.engine.precision import PRECISIONS
    from studio.engine.precision.choose import choose_precision, remark

    place = resolve_device(device)

    def advise(name: str) -> PrecisionAdvice:
        try:
            choose_precision(PrecisionConfig(name=name), place, "fp32")
        except ConfigError as error:
            return PrecisionAdvice(name=name, works=False, reason=str(error))
        return PrecisionAdvice(name=name, works=True, reason=remark(name, place, "fp32"))

    return tuple(advise(name) for name in PRECISIONS.names())


def hardware() -> Hardware:
    """Return what this machine has."""
    from studio.engine.device import hardware as look

    return look()
