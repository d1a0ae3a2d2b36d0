"""What the window and the command line ask of the engine, besides training.

Modules of the engine that import torch or numpy are imported inside the functions, so that the window opens at once.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio import cards, torch_build
from studio.config import DataConfig, DataSource, PrecisionConfig, RunConfig, Suggestion, parse_config
from studio.config.data import RENDERING
from studio.config.model import plain_model
from studio.engine.control import Progress, no_progress
from studio.engine.device import hardware as hardware
from studio.engine.device import resolve_device
from studio.engine.estimate import Estimate as Estimate
from studio.engine.estimate import estimate as estimate
from studio.engine.estimate.plan import Place, plan, storage_reasons, with_storage
from studio.engine.estimate.plan import gpu_of as gpu_of
from studio.engine.estimate.plan import place_of as place_of
from studio.engine.estimate.remedies import Remedy as Remedy
from studio.engine.estimate.remedies import apply_remedy as apply_remedy
from studio.engine.estimate.remedies import options_text as options_text
from studio.engine.export import TARGETS, Target
from studio.engine.hub.address import HUBS as HUBS
from studio.engine.hub.address import HUGGING_FACE as HUGGING_FACE
from studio.engine.hub.address import Hub as Hub
from studio.engine.hub.address import Kind as Kind
from studio.engine.hub.address import choose_hub as choose_hub
from studio.engine.hub.address import hub_of as hub_of
from studio.engine.hub.api import HubError
from studio.engine.hub.download import discard, download_model
from studio.engine.hub.folders import list_downloaded as list_downloaded
from studio.engine.hub.folders import list_unfinished as list_unfinished
from studio.engine.hub.repository import Found as Found
from studio.engine.hub.search import search
from studio.engine.hub.token import save_token as save_token
from studio.engine.methods import METHODS, Method, suggestions_of
from studio.engine.models.find import could_be_hub_id, resolve_model
from studio.engine.models.info import ModelInfo, as_configured
from studio.engine.models.inspect import inspect_model
from studio.engine.models.starter import fetch_starter as fetch_starter
from studio.engine.models.starter import starter_folder as starter_folder
from studio.engine.precision import PRECISIONS
from studio.engine.precision.choose import choose_precision, choose_storage, reason_text, remark
from studio.errors import ConfigError, ModelError, StudioError
from studio.files import expand_user
from studio.i18n import tr
from studio.runner import speed
from studio.runner.speed import MeasuredSpeed, Setup
from studio.runs import RunFolder
from studio.torch_build import UnusedCard

if TYPE_CHECKING:
    from studio.engine.data.inspect import ColumnInfo, DataInspection
    from studio.engine.data.xray import XRay
    from studio.engine.estimate.unseen import Outlook
    from studio.engine.export.certificate import Certificate
    from studio.engine.export.gguf.ollama import Created
    from studio.engine.export.run import ExportResult
    from studio.engine.inference.behaviour import Behaviour
    from studio.engine.inference.dialogue import OpenChat
    from studio.engine.inference.figures import Latency
    from studio.engine.inference.prompts import KnownPrompt
    from studio.engine.training.forecast import Forecast

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """One method for one model; without an estimate, `problem` says why there is none."""

    name: str
    estimate: Estimate | None = None
    problem: str = ""


PathKind = Literal["folder", "file", "hub", "nothing"]


def path_kind(path: str) -> PathKind:
    """Return what stands at a path; "hub": nothing does, and it may be the id of a model on the hub."""
    place = expand_user(path)
    if os.path.lexists(place):
        return "folder" if os.path.isdir(place) else "file"  # noqa: PTH112
    return "hub" if could_be_hub_id(path) else "nothing"


def open_model(path_or_id: str, progress: Progress = no_progress) -> ModelInfo:
    """Find a model by folder or hub id and look at it, without loading its weights. Raises `ModelError`."""
    return inspect_model(resolve_model(path_or_id, progress), progress)


def search_hub(words: str, kind: Kind, limit: int = 30, progress: Progress = no_progress) -> list[Found]:
    """Return what the hub finds for words, the most downloaded first. Raises `ModelError`, `Cancelled`."""
    try:
        return search(words, kind, limit, progress)
    except HubError as error:
        raise ModelError(tr("The hub cannot be searched: {reason}.").format(reason=error)) from error


def outlooks(models: Iterable[Found], tell: Callable[[str, Outlook], None], progress: Progress = no_progress) -> None:
    """Call `tell(id, outlook)` for each model of the hub: what training it would take here. Raises `Cancelled`."""
    from studio.engine.estimate.unseen import outlooks

    outlooks(models, tell, progress)


def download(repository: str, progress: Progress = no_progress) -> Path:
    """Return the folder of a model of the hub; download it where it is not there. Raises `ModelError`, `Cancelled`."""
    try:
        return download_model(plain_model(repository), progress)
    except HubError as error:
        words = tr("The model {model} cannot be downloaded: {reason}.")
        raise ModelError(words.format(model=repository, reason=error)) from error


def discard_download(repository: str, _: Progress = no_progress) -> None:
    """Remove what is here of a download that was broken off. Raises `ModelError`."""
    try:
        discard(repository)
    except HubError as error:
        raise ModelError(tr("It cannot be removed: {reason}.").format(reason=error)) from error


def try_model(info: ModelInfo, progress: Progress = no_progress) -> Behaviour:
    """Load a model and try how it behaves on a few prompts. Raises `ModelError`, `Cancelled`."""
    from studio.engine.inference.try_model import try_model

    return try_model(info, progress)


def open_data(
    source: DataSource,
    model: ModelInfo | None = None,
    config: DataConfig | None = None,
    rows: int = 5,
    progress: Progress = no_progress,
    seed: int = 0,
) -> DataInspection:
    """Look at a dataset; with a model, also as the model's own tokenizer and template render it.

    `seed` is that of the run, which decides the rows that are held out. Raises `DataError`.
    """
    from studio.engine.data.inspect import inspect_data

    if model is None:
        return inspect_data(source, rows=rows, progress=progress)
    from studio.engine.models.load import load_tokenizer

    settings = config.model_dump(include=RENDERING | {"validation_fraction"}) if config else {}
    tokenizer = load_tokenizer(model.path, model.chat_template)
    return inspect_data(
        source, tokenizer=tokenizer, kind=model.kind, rows=rows, progress=progress, seed=seed, **settings
    )


def peek_columns(source: DataSource, progress: Progress = no_progress) -> tuple[ColumnInfo, ...]:
    """Return the columns of a dataset, whether or not they fit a format. Raises `DataError`."""
    from studio.engine.data.inspect import peek_columns

    return peek_columns(source, progress)


def open_xray(
    source: DataSource, model: ModelInfo, config: DataConfig | None = None, progress: Progress = no_progress
) -> XRay:
    """Return every row of a dataset as a model will see it. Raises `DataError` and `ModelError`."""
    from studio.engine.data.xray import open_xray
    from studio.engine.models.load import load_tokenizer

    settings = config.model_dump(include=RENDERING) if config else {}
    tokenizer = load_tokenizer(model.path, model.chat_template)
    return open_xray(source, tokenizer, model.kind, progress=progress, **settings)


def open_xray_of_run(config: RunConfig, path: str, progress: Progress = no_progress) -> XRay:
    """Return every row of one file of a run, as its model saw them. Raises `DataError` and `ModelError`."""
    model = as_configured(open_model(config.model.path, progress), config.model)
    source = next((one for one in config.data.sources if one.path == path), DataSource(path=path))
    return open_xray(source, model, config.data, progress)


def forecast(config: RunConfig, inspections: Sequence[DataInspection]) -> Forecast | None:
    """Return what a configuration amounts to with its sources, in order, as they were inspected. Needs no thread."""
    from studio.engine.training.forecast import CountedRows, forecast

    return forecast(config, [CountedRows(rows=found.trainable, tokens=found.tokens) for found in inspections])


def measured_speed(root: Path, info: ModelInfo, config: RunConfig, found: Estimate) -> MeasuredSpeed | None:
    """Return how fast an earlier run below `root` was with the same model, method, precision and device, or None.

    `found` is the estimate of the configuration.
    """
    precision, _ = choose_precision(config.precision, resolve_device(config.training.device), info.dtype)
    setup = Setup(
        method=config.method.name,
        precision=precision.name,
        base_dtype=found.choices["base_dtype"],
        device=found.device,
        trainable_parameters=found.trainable_parameters,
        total_parameters=found.total_parameters,
    )
    return speed.measured_speed(root, setup)


def export(
    folder: RunFolder, target: str, dtype: str = "auto", out: Path | None = None, progress: Progress = no_progress
) -> ExportResult:
    """Export a run and check the export. Raises `ExportError`; a failed check is in the result.

    A run that ended before its result was saved, or whose result is damaged, is exported as its newest checkpoint has
    it, and the result says so.
    """
    from studio.engine.device import release_memory, resolve_device
    from studio.engine.export.run import export_run
    from studio.engine.training.result import restore_result

    try:
        restored = restore_result(folder, progress)
        return dataclasses.replace(export_run(folder, target, dtype, out, progress), restored=restored)
    finally:
        release_memory(resolve_device("cpu"))


def push_export(folder: Path, repository: str, progress: Progress = no_progress, *, private: bool = True) -> str:
    """Put an export that has passed on the hub; return the address of its page. Raises `ExportError`, `Cancelled`."""
    from studio.engine.export.push import push_export

    return push_export(folder, repository, progress, private=private)


def create_in_ollama(folder: Path, name: str, progress: Progress = no_progress) -> Created:
    """Create a model on this computer's Ollama server from an export, and ask it once. Raises `ExportError`."""
    from studio.engine.export.gguf.ollama import create_in_ollama

    return create_in_ollama(folder, name, progress)


def find_ollama() -> str | None:
    """Return the version of the Ollama server on this computer; None where none answers."""
    from studio.engine.export.gguf.ollama import find_server

    return find_server()


@dataclass(frozen=True, kw_only=True)
class GgufChoices:
    """What a GGUF file of a run may be: the bytes of it in each format, and why K-quants cannot be written, or ""."""

    sizes: dict[str, int]
    no_k_quants: str


def gguf_choices(folder: RunFolder, progress: Progress = no_progress) -> GgufChoices:
    """Return what a GGUF file of a run may be. Raises `ExportError` where there can be none."""
    from studio.config import read_config
    from studio.engine.export.gguf.k_quants import why_not
    from studio.engine.export.gguf.sizes import predict_sizes
    from studio.engine.models.find import resolve_model

    config = read_config(folder.config)
    path = folder.read_state().get("model", {}).get("path") or config.model.path
    added = METHODS.get(config.method.name).virtual_tokens(config.method)
    return GgufChoices(sizes=predict_sizes(resolve_model(path, progress), added), no_k_quants=why_not())


def verify(path: Path, progress: Progress = no_progress) -> Certificate:
    """Check an export again; what failed is in the certificate that is returned. Raises `ExportError`, `Cancelled`."""
    from studio.engine.export.verify import verify_export

    return verify_export(path, progress)


def check_method(info: ModelInfo, config: RunConfig) -> None:
    """Raise `ConfigError` where the method's options do not suit a model. Needs no thread; `estimate` looks deeper."""
    METHODS.get(config.method.name).trainable_parameters(info.shapes, config.method)


def suggestions(info: ModelInfo) -> dict[str, tuple[Suggestion, ...]]:
    """Return what a model offers for the options that choose among its parts, by `OptionSpec.suggestions`."""
    return suggestions_of(info.shapes)


def compare_methods(
    info: ModelInfo, config: RunConfig, tables: Iterable[Mapping[str, Any]] = (), place: Place | None = None
) -> tuple[MethodRow, ...]:
    """Estimate every method for a model, in the order of the registry; all else is as in the configuration.

    Args:
        tables: `[method]` tables of methods that are not to be taken with their defaults; that of the configuration's
            own method is always taken from there.
        place: where they would run; None: on the device that the configuration asks for.
    """
    place = place or place_of(config)
    given = {str(table.get("name")): table for table in (*tables, config.method.model_dump(exclude_none=True))}
    return tuple(_estimate_method(info, config, given.get(name, {"name": name}), place) for name in METHODS.names())


def _estimate_method(info: ModelInfo, config: RunConfig, table: Mapping[str, Any], place: Place) -> MethodRow:
    """One row; whatever is wrong with one method for this model leaves the other rows as they are."""
    name = str(table["name"])
    try:
        tried = parse_config(config.model_dump(exclude_none=True) | {"method": table})
        return MethodRow(name=name, estimate=estimate(info, tried, place, with_remedies=False))
    except StudioError as error:
        return MethodRow(name=name, problem=str(error))
    except Exception as error:
        log.exception("Method %s could not be estimated", name)
        words = tr("The estimate failed unexpectedly ({kind}); the log has the details.")
        return MethodRow(name=name, problem=words.format(kind=type(error).__name__))


def exports_of(method: Method) -> tuple[Target, ...]:
    """Return the forms of export that take what a method trains, in the order in which they are offered."""
    return tuple(target for target in TARGETS if not target.refuse(method))


def latency(folder: RunFolder, progress: Progress = no_progress, **settings: Any) -> Latency:
    """Measure what a run's result costs when it answers: base, live and merged. Raises `ExportError`, `Cancelled`.

    `settings` are the other arguments of `measure_latency`.
    """
    from studio.engine.inference.latency import measure_latency

    return measure_latency(folder, progress=progress, **settings)


def open_chat(
    path: Path, progress: Progress = no_progress, device: str = "auto", beside: Path | None = None
) -> OpenChat:
    """Load the models of a run folder, or the one of a model folder, to be asked. Raises `StudioError`, `Cancelled`.

    `beside` is the folder of another run or of an export, which answers in place of the run's base.
    """
    from studio.engine.inference.chat import open_chat

    return open_chat(path, progress, device, beside)


def known_prompts(folder: RunFolder, progress: Progress = no_progress) -> tuple[KnownPrompt, ...]:
    """Return rows that a run held out, and the questions that ship with the app. Raises `StudioError`, `Cancelled`."""
    from studio.engine.inference.prompts import held_out_prompts, retention_questions

    return (*held_out_prompts(folder, progress), *retention_questions())


def explain_precision(config: RunConfig, info: ModelInfo) -> tuple[str, str]:
    """Return the precision that will be used and why. Raises `ConfigError` for one that cannot be used here."""
    precision, reason = choose_precision(config.precision, resolve_device(config.training.device), info.dtype)
    found = plan(info, config, place_of(config))
    stored = choose_storage(with_storage(config, found.base_dtype).precision, precision)
    return precision.name, reason_text([reason, *storage_reasons(info, config, found)], precision.name, stored)


@dataclass(frozen=True, kw_only=True)
class PrecisionAdvice:
    """Whether a precision works on a device; `reason` says why not, or what speaks against it, or nothing."""

    name: str
    works: bool
    reason: str


def advise_precisions(device: str = "auto") -> tuple[PrecisionAdvice, ...]:
    """Say of every precision whether it works on a device. Raises `TrainingError` when there is no such device."""
    place = resolve_device(device)

    def advise(name: str) -> PrecisionAdvice:
        try:
            choose_precision(PrecisionConfig(name=name), place, "fp32")
        except ConfigError as error:
            return PrecisionAdvice(name=name, works=False, reason=str(error))
        against = remark(name, place, "fp32")
        return PrecisionAdvice(name=name, works=True, reason=reason_text([against], name) if against else "")

    return tuple(advise(name) for name in PRECISIONS.names())


@dataclass(frozen=True, kw_only=True)
class GraphicsCards:
    """The graphics cards of this computer.

    Attributes:
        unused: those that the installed torch cannot use.
        gpus: how many NVIDIA cards training can use together; 0 where some cannot be used.
    """

    unused: tuple[UnusedCard, ...] = ()
    gpus: int = 0


def look_for_cards() -> GraphicsCards:
    """Ask the tools of the cards' drivers, which can take seconds. Does not import torch."""
    found, installed = cards.look(), torch_build.installed_torch()
    if installed is None:
        return GraphicsCards()
    unused = torch_build.unused_cards(found, installed, sys.executable, torch_build.torch_index())
    count = 0 if unused else len(found.of("nvidia"))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        count = min(count, sum(name.strip() not in ("", "-1") for name in shown.split(",")))
    return GraphicsCards(unused=unused, gpus=count)
