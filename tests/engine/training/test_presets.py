"""Every preset that ships with the app trains, on one tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.config import parse_config, write_config
from studio.engine.control import Control
from studio.engine.methods import METHODS
from studio.engine.training import run
from studio.events import RunEvent, RunFinished, StepCompleted
from studio.runner.presets import apply_preset, shipped_presets
from studio.runs import create_run
from tests.tiny import save_model, save_rows

PRESETS = shipped_presets()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("presets")
    save_model(folder / "model", width=64)  # as wide as the largest rank
    save_rows(folder / "rows.jsonl")
    sources = [{"path": str(folder / "rows.jsonl")}]
    return {"model": {"path": str(folder / "model")}, "data": {"sources": sources}, "training": {"device": "cpu"}}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_trains_two_updates(preset: Any, tables: dict[str, Any], tmp_path: Path) -> None:
    after = apply_preset(preset, tables)
    after["training"]["max_steps"] = 2
    # What measures and speeds up is tested elsewhere; a bound keeps the measuring that it needs.
    after["retention"] = {"measure": False}
    config = parse_config(after)
    events: list[RunEvent] = []
    torch.manual_seed(0)
    folder = create_run(tmp_path, preset.name, write_config(config))
    run.train(config, folder, Control(), lambda event: events.append(event))  # type: ignore[arg-type]
    steps = [event for event in events if isinstance(event, StepCompleted)]
    assert [step.update for step in steps if not step.skipped] == [1, 2]
    assert any(isinstance(event, RunFinished) and event.status == "finished" for event in events)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_the_values_of_a_preset_are_customary(preset: Any, tables: dict[str, Any]) -> None:
    config = parse_config(apply_preset(preset, tables))
    rates = METHODS.get(config.method.name).customary_rates
    assert rates.low <= config.training.learning_rate <= rates.high
    assert config.data.replay_ratio == 0 or 0.1 <= config.data.replay_ratio <= 0.3
    assert not {**config.training.unusual(), **config.method.unusual()}
