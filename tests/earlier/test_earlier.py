"""What an earlier version wrote opens as it did: journal, state, configuration, checkpoint, adapter, certificate."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from studio.config import read_config
from studio.engine.export.certificate import read_certificate
from studio.engine.export.run import export_run
from studio.engine.training import checkpoint
from studio.engine.training.state import Position
from studio.runner.record import RunRecord
from studio.runs import RunFolder, open_run
from studio.ui.models.run_summary import read_summary
from tests.tiny import bench, rows

HERE = Path(__file__).parent
CHECKPOINT = "step-000023"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """The earlier run, beside its model, as if it had been made here."""
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.rglob("*"):
        if file.suffix in (".toml", ".json", ".jsonl"):
            file.write_text(file.read_text(encoding="utf-8").replace("EARLIER", str(tmp_path)), encoding="utf-8")
    return open_run(tmp_path / "run")


def test_its_journal_shows_as_it_did(run: RunFolder) -> None:
    record = RunRecord.of_folder(run)
    state = record.state
    assert (state.status, state.step, state.update, state.skipped_steps) == ("finished", 28, 12, 16)
    assert state.validation_loss == pytest.approx(5.309714126586914)
    assert state.data is not None
    assert state.data.skipped_rows == 2
    assert sum(state.data.skipped.values()) == 2
    assert [verdict.verdict for verdict in record.verdicts] == ["scale_search"]
    assert record.verdicts[0].sentence.endswith("steps skipped on the way: 15.")
    assert record.samples
    losses = record.series["loss"]
    assert len(losses) == 28


def test_its_line_in_the_list_of_runs_is_as_it_was(run: RunFolder) -> None:
    summary = read_summary(run)
    assert (summary.status, summary.model, summary.method, summary.precision) == (
        "finished",
        "model",
        "lora",
        "fp16-mixed",
    )
    assert (summary.updates, summary.problem) == (12, "")
    assert summary.last_loss == pytest.approx(5.309714126586914)


def test_its_configuration_is_read_to_the_last_key(run: RunFolder) -> None:
    config = read_config(run.config)
    assert (config.method.name, config.precision.initial_scale, config.numerics.every) == ("lora", 2.0**30, 6)
    assert config.training.max_steps == 12


def test_its_checkpoint_goes_on(run: RunFolder) -> None:
    snapshot = checkpoint.read(run.path / "checkpoints" / CHECKPOINT)
    state = json.loads((run.path / "checkpoints" / CHECKPOINT / "state.json").read_text(encoding="utf-8"))
    assert snapshot.position == state["position"]
    ready = bench({"name": "lora", "rank": 4, "dropout": 0.0}, {"name": "fp16-mixed", "initial_scale": 1024.0})
    position = Position()
    checkpoint.put_back(snapshot, ready.trainer, position)
    assert position.update == snapshot.position["update"]
    trained = {name: p for name, p in ready.model.named_parameters() if p.requires_grad}
    for name, tensor in snapshot.trained.items():
        assert torch.equal(trained[name], tensor)
    assert math.isfinite(ready.update(rows(4)).loss)


def test_its_certificate_is_read(run: RunFolder) -> None:
    certificate = read_certificate(run.path / "exports" / "merged-fp16")
    assert certificate.passed
    assert len(certificate.checks) == 14


def test_its_adapter_is_exported(run: RunFolder) -> None:
    trained = load_file(run.adapter / "adapter_model.safetensors")
    assert trained
    result = export_run(run, "merged", "fp32", None)
    assert result.passed
