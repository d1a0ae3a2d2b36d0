"""`doctor --train`: a short training tells whether training works, and leaves a picture of its losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtGui import QImage

from studio.events import RunFailed
from studio.runner import actions, self_test
from studio.runner.record import RunRecord
from tests.records import stopped_record
from tests.tiny import save_model


@pytest.mark.usefixtures("qapp")
def test_a_computer_that_trains_passes_and_shows_the_losses(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(tmp_path / "model")
    monkeypatch.setattr(actions, "fetch_starter", lambda _: model)
    monkeypatch.setattr(self_test.self_test, "__defaults__", (self_test.no_progress, 0.001))
    monkeypatch.setattr(self_test, "PATIENCE", 1_000_000)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    picture = tmp_path / "losses.png"
    values = command("doctor", "--train", str(picture), "--json").json
    assert values["picture"] == str(picture)
    assert values["steps"] >= self_test.FEWEST
    assert values["passed"], values
    assert values["last"] < values["first"]
    assert not QImage(str(picture)).isNull()


@pytest.mark.parametrize(
    ("losses", "passed"),
    [((3.0, 2.0, 1.0, 0.5), True), ((1.0, 1.0, 2.0, 3.0), False), ((3.0, 2.0, float("nan"), float("nan")), False)],
)
def test_the_loss_must_fall(losses: tuple[float, ...], passed: bool) -> None:
    assert self_test.judge(stopped_record(*losses)).passed is passed


def test_too_few_steps_are_not_called_a_fall() -> None:
    found = self_test.judge(stopped_record(3.0, 2.0))
    assert (found.passed, found.first) == (True, None)
    assert "steps in that time: 2" in found.sentence


def test_a_run_that_failed_gives_its_own_reason() -> None:
    record = RunRecord()
    record.apply(RunFailed(step=0, sentence="The disk is full."))
    found = self_test.judge(record)
    assert (found.passed, found.sentence) == (False, "The disk is full.")
