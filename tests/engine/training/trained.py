"""A whole run on a tiny model, and what it said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.config import parse_config, write_config
from studio.engine.control import Control
from studio.engine.training import checkpoint, run
from studio.events import (
    ProgressReported,
    RunEvent,
    StepCompleted,
)
from studio.runs import RunFolder, create_run
from tests.tiny import save_model, save_rows

LORA = {"name": "lora", "rank": 4, "alpha": 32}


def checkpoint_every_update(patch: pytest.MonkeyPatch) -> None:
    """Let every checkpoint that may be saved be saved, before training goes on."""
    save = checkpoint.Checkpoints.save

    def at_once(self: checkpoint.Checkpoints, *arguments: Any, wait: bool) -> None:
        save(self, *arguments, wait=True)

    def is_due(self: checkpoint.Checkpoints, update: int, *, best: bool = False) -> bool:
        return update >= checkpoint.FIRST_CHECKPOINT and not best

    patch.setattr(checkpoint.Checkpoints, "save", at_once)
    patch.setattr(checkpoint.Checkpoints, "is_due", is_due)


class Answering(Control):
    """Somebody who watches: whenever the run waits they choose the next of these remedies, after the last they stop."""

    def __init__(self, *remedies: str) -> None:
        super().__init__(attended=True)
        self._remedies = list(remedies)

    def wait_while_paused(self) -> None:
        if self._remedies:
            self.request_remedy(self._remedies.pop(0))
        else:
            self.stop()


class Trained:
    """One run and what it said."""

    def __init__(self, tmp_path: Path, sections: dict[str, Any], control: Control | None = None) -> None:
        self.model = tmp_path / "model"
        if not self.model.exists():
            save_model(self.model)
            save_rows(tmp_path / "rows.jsonl")
        self.control = control or Control()
        self.events: list[RunEvent] = []
        tables: dict[str, Any] = {
            "model": {"path": str(self.model)},
            "data": {"sources": [{"path": str(tmp_path / "rows.jsonl")}], "validation_fraction": 0.1},
            "precision": {"name": "fp32"},
            "training": {"batch_size": 4, "max_steps": 6, "learning_rate": 1e-2, "device": "cpu"},
        }
        for section, values in sections.items():
            tables[section] = tables.get(section, {}) | values
        tables.setdefault("method", LORA)
        self.config = parse_config(tables)
        self.folder: RunFolder = create_run(tmp_path / "runs", "test", write_config(self.config))

    def go(self, **options: Any) -> Trained:
        run.train(self.config, self.folder, self.control, self.emit, **options)
        return self

    def resume(self, *changes: str, **options: Any) -> Trained:
        """Go on with the run, in the same list of events."""
        run.resume(self.folder, self.control, self.emit, changes=changes, **options)
        return self

    def emit(self, event: RunEvent | ProgressReported) -> None:
        if not isinstance(event, ProgressReported):
            self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def steps(self) -> list[StepCompleted]:
        return self.of(StepCompleted)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder.adapter / "adapter_model.safetensors")
