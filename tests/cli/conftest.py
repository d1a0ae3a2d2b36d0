"""A command line without an engine: training and the long actions are replaced by what a test says."""

from __future__ import annotations

import json
import logging
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio import cli
from studio.engine.control import Control
from studio.events import DataPrepared, EvaluationCompleted, RunFinished, RunStarted, StepCompleted
from studio.runs import RunFolder

Train = Callable[[Any, RunFolder, Control, Callable[[Any], None]], None]


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        (line,) = self.out.splitlines()
        values: dict[str, Any] = json.loads(line)
        return values


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Answer]]:
    """Run the command line in this process."""
    root = logging.getLogger()
    before = list(root.handlers)

    def call(*arguments: str | Path) -> Answer:
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse's way to end
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    yield call
    logging.captureWarnings(capture=False)
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('[model]\npath = "tiny"\n[[data.sources]]\npath = "rows.jsonl"\n', encoding="utf-8")
    return path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Train], None]:
    """Replace the engine's training, without importing torch."""

    def install(train: Train) -> None:
        module = types.ModuleType("studio.engine.training.run")
        module.train = train  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "studio.engine.training.run", module)

    return install


def two_updates(config: Any, folder: RunFolder, control: Control, emit: Callable[[Any], None]) -> None:
    """A run of three steps of which the first is skipped."""
    emit(
        RunStarted(
            run=folder.name,
            model="tiny",
            kind="chat",
            method="lora",
            precision="fp16-mixed",
            device="cpu",
            versions={},
        )
    )
    emit(
        DataPrepared(
            train_rows=10,
            validation_rows=2,
            general_rows=0,
            skipped_rows=1,
            skipped=[{"code": "empty_answer", "values": {}, "count": 1}],
            tokens=100,
            supervised_tokens=50,
            longest=20,
            planned_updates=2,
        )
    )
    emit(EvaluationCompleted(step=0, update=0, loss=3.0, rows=2, supervised_tokens=10, seconds=0.1))
    for step, (update, scale) in enumerate([(0, 65536.0), (1, 32768.0), (2, 32768.0)], start=1):
        emit(
            StepCompleted(
                step=step,
                update=update,
                epoch=update / 2,
                loss=2.5,
                learning_rate=1e-4,
                grad_norm=1.0,
                grad_scale=scale,
                skipped=update == 0,
                tokens=40,
                supervised_tokens=20,
                micro_batches=1,
                seconds=0.2,
            )
        )
    emit(EvaluationCompleted(step=3, update=2, loss=2.0, rows=2, supervised_tokens=10, seconds=0.1, held_out=7))
    finish(folder, emit, "finished")


def finish(folder: RunFolder, emit: Callable[[Any], None], status: Any) -> None:
    """End a run as the engine does."""
    folder.write_state(status, updates=2)
    emit(
        RunFinished(
            status=status,
            step=3,
            update=2,
            trainable_parameters=10,
            total_parameters=100,
            adapter_bytes=40,
            peak_memory=1,
            seconds=1.0,
        )
    )


@pytest.fixture
def short_run(engine: Callable[[Train], None]) -> None:
    engine(two_updates)


@pytest.fixture
def ending() -> Callable[..., None]:
    return finish
