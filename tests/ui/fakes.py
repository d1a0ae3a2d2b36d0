"""Stand-ins for the engine and the training: what the window reads of them, and answers that a test can change."""

from __future__ import annotations

import dataclasses
import tomllib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QWidget

from studio.config import RunConfig, Suggestion, parse_config, write_config
from studio.engine.control import Progress
from studio.engine.data.report import Remark
from studio.engine.inference.behaviour import Behaviour
from studio.engine.methods import METHODS
from studio.engine.models.info import TemplateOffer
from studio.errors import ConfigError, DataError, ModelError
from studio.runner.actions import Estimate, MethodRow
from studio.runner.controller import Where
from studio.runner.queue import QueuedRun
from studio.runner.speed import MeasuredSpeed
from studio.runner.state import Update
from studio.runs import RunFolder, create_run
from studio.ui.job import Job
from studio.ui.main_window import MainWindow

GB = 1024**3


def answered(page: QWidget) -> bool:
    """Whether everything that a page has asked in the background is answered."""
    return not any(job.running for job in page.findChildren(Job))


@dataclass(frozen=True, kw_only=True)
class FakeModel:
    """What the window reads of a ModelInfo."""

    path: Path
    kind: str = "chat"
    reasons: tuple[str, ...] = ("It has a chat template.",)
    problems: tuple[str, ...] = ()
    architecture: str = "LlamaForCausalLM"
    parameters: int = 134_515_008
    bytes: int = 269_030_016
    dtype: str = "bf16"
    context_length: int | None = 8192
    has_template: bool = True
    eos_token: str | None = "<|im_end|>"
    shapes: object = None
    chat_template: str = ""
    offers: tuple[TemplateOffer, ...] = (TemplateOffer("chatml"), TemplateOffer("headings"))

    @property
    def recommended_template(self) -> str:
        return next((offer.name for offer in self.offers if not offer.missing and not offer.untaught), "")

    @property
    def name(self) -> str:
        return self.path.name


@dataclass
class FakeRow:
    """What the window reads of a RenderedRow."""

    number: int
    segments: tuple[tuple[str, bool], ...] = (("question ", False), ("answer", True))
    tokens: int = 4
    supervised_tokens: int = 2


@dataclass
class FakeInspection:
    """What the window reads of a DataInspection."""

    format: str = "messages"
    rows: int = 412
    skipped: int = 0
    reasons: dict[Remark, int] = field(default_factory=dict)
    problems: tuple[Remark, ...] = ()
    columns: tuple[Any, ...] = ()
    unused_columns: tuple[str, ...] = ()
    rendered: tuple[FakeRow, ...] = (FakeRow(1), FakeRow(2))
    findings: tuple[Any, ...] = ()
    trainable: int = 412
    tokens: int = 51_500


@dataclass
class FakeEngine:
    """Answers for every action; a test changes them before it acts. `opened` are the models that were asked for.

    `unsuited` are methods that the model refuses, with the reason; `offered` what it offers for their options; `compared`
    the `[method]` tables of the last comparison.
    """

    model: dict[str, Any] = field(default_factory=dict)
    data: FakeInspection = field(default_factory=FakeInspection)
    total_bytes: int = 5 * GB
    speed: MeasuredSpeed | None = None
    became: tuple[str, str] = ("bf16-mixed", "this CPU has bf16 units")
    opened: list[str] = field(default_factory=list)
    read: list[tuple[str, str | None]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    unsuited: dict[str, str] = field(default_factory=dict)
    compared: list[dict[str, Any]] = field(default_factory=list)
    offered: dict[str, tuple[Suggestion, ...]] = field(default_factory=dict)
    behaviour: Behaviour = field(default_factory=lambda: Behaviour((), limit=48))

    def open_model(self, path: str, _progress: object = None) -> FakeModel:
        self.opened.append(path)
        if "broken" in path:
            raise ModelError(f"The model in {path} is damaged; download it again.")
        return FakeModel(path=Path(path), **self.model)

    def open_data(self, source: Any, model: Any, _config: Any, _rows: int, _progress: Any, seed: int) -> FakeInspection:
        self.read.append((source.path, model and model.kind))
        self.seeds.append(seed)
        if "broken" in source.path:
            raise DataError(f"{source.path}, line 3: not JSON; mend the line or skip broken lines.")
        return self.data

    def try_model(self, _info: Any, progress: Progress) -> Behaviour:
        progress("trying", 1, 2)
        return self.behaviour

    def peek_columns(self, _source: Any, *_: object) -> tuple[Any, ...]:
        return self.data.columns

    def check_method(self, _info: object, config: RunConfig) -> None:
        if problem := self.unsuited.get(config.method.name):
            raise ConfigError(problem)

    def suggestions(self, _info: object) -> dict[str, tuple[Suggestion, ...]]:
        return self.offered

    def estimate(self, _info: object, config: RunConfig, *, processes: int = 1) -> Estimate:
        trainable = 4_884_480 if config.method.name == "lora" else 134_515_008
        return Estimate(
            trainable_parameters=trainable,
            total_parameters=139_399_488,
            patch_bytes=4 * trainable,
            bytes={"weights": GB, "activations": self.total_bytes - GB},
            total_bytes=self.total_bytes,
            available_bytes=24 * GB,
            device_bytes=24 * GB,
            device="cuda",
            rows=4,
            choices={
                "recompute": True,
                "on_host": False,
                "words_on_host": False,
                "micro_batch_tokens": 4096,
                "base_dtype": "bf16",
                "shards": processes if trainable > GB // 10 else 1,
                "cards": (),
            },
        )

    def measured_speed(self, *_: object) -> MeasuredSpeed | None:
        return self.speed

    def compare_methods(self, info: object, config: RunConfig, tables: Any = ()) -> tuple[MethodRow, ...]:
        self.compared = list(tables)
        rows = []
        for name in METHODS.names():
            tried = config.model_copy(update={"method": METHODS.get(name).config()})
            problem = self.unsuited.get(name, "")
            rows.append(MethodRow(name=name, estimate=None if problem else self.estimate(info, tried), problem=problem))
        return tuple(rows)

    def explain_precision(self, config: RunConfig, _info: object) -> tuple[str, str]:
        return self.became if config.precision.name == "auto" else (config.precision.name, "as you chose")


class FakeController:
    """A training that does what the test says."""

    def __init__(self) -> None:
        self.running = False
        self.pausing = self.paused = self.resuming = self.stopping = False
        self.folder: RunFolder | None = None
        self.where: Where = "thread"
        self.started: list[RunConfig] = []
        self.resumed: list[tuple[RunFolder, list[str]]] = []
        self.consents: list[bool] = []
        self.attached: list[RunFolder] = []
        self.detached = 0
        self.stops: list[bool] = []
        self.checkpoints = 0
        self.remedies: list[str] = []
        self.updates: deque[Update] = deque()

    def start(self, config: RunConfig, root: Path, where: Where = "thread") -> RunFolder:
        self.running, self.where = True, where
        self.started.append(config)
        self.folder = create_run(root, "fake", write_config(config))
        return self.folder

    def resume_run(
        self, folder: RunFolder, changes: Sequence[str] = (), *, where: Where = "thread", consent: bool = False
    ) -> None:
        self.running, self.where, self.folder = True, where, folder
        self.resumed.append((folder, list(changes)))
        self.consents.append(consent)

    def attach(self, folder: RunFolder) -> None:
        self.running, self.where, self.folder = True, "process", folder
        self.attached.append(folder)

    def detach(self) -> None:
        self.running = False
        self.detached += 1

    def stop(self, *, save: bool = True) -> None:
        self.stops.append(save)

    def pause(self) -> None:
        self.pausing = True

    def resume(self) -> None:
        self.pausing = self.paused = False

    def checkpoint_now(self) -> None:
        self.checkpoints += 1

    def apply_remedy(self, name: str) -> None:
        self.remedies.append(name)

    def poll(self) -> list[Update]:
        updates = list(self.updates)
        self.updates.clear()
        return updates

    def join(self, timeout: float | None = None) -> bool:
        return not self.running


class FakeQueue:
    """A queue in memory; `refused` are the titles that cannot start, with the reason."""

    def __init__(self) -> None:
        self.held = True
        self.runs: tuple[QueuedRun, ...] = ()
        self.refused: dict[str, str] = {}

    def add(self, config: RunConfig, root: Path, where: Where = "thread") -> QueuedRun:
        number = 1 + len(self.runs)
        run = QueuedRun(
            key=f"k{number}", title=f"run {number}", config=write_config(config), root=str(root), where=where
        )
        self.runs = (*self.runs, run)
        return run

    def remove(self, key: str) -> None:
        self.runs = tuple(run for run in self.runs if run.key != key)

    def move(self, key: str, place: int) -> None:
        moved = next(run for run in self.runs if run.key == key)
        others = [run for run in self.runs if run.key != key]
        self.runs = (*others[:place], moved, *others[place:])

    def start_next(self, controller: FakeController) -> QueuedRun | None:
        for run in [run for run in self.runs if not run.problem]:
            if problem := self.refused.get(run.title):
                passed = dataclasses.replace(run, problem=problem)
                self.runs = tuple(passed if other == run else other for other in self.runs)
                continue
            self.remove(run.key)
            controller.start(parse_config(tomllib.loads(run.config)), Path(run.root), run.where)
            return run
        return None


def choose(window: MainWindow, folder: Path) -> None:
    """Choose a model folder and a dataset file, as a person would."""
    model, data = folder / "model", folder / "rows.jsonl"
    model.mkdir(exist_ok=True)
    data.touch()
    window.setup.set_tables({"model": {"path": str(model)}, "data": {"sources": [{"path": str(data)}]}})
