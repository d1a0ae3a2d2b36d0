"""What the cards tell before Start: rows, tokens, updates, time, validation, and an unusual learning rate."""

from __future__ import annotations

from pathlib import Path

from pytestqt.qtbot import QtBot

from studio.engine.methods import METHODS
from studio.runner.speed import MeasuredSpeed
from studio.ui.main_window import MainWindow
from tests.ui.fakes import FakeEngine


def note(window: MainWindow, key: str) -> str:
    return window.setup.data.form.rows[key].note.text


def two_files(window: MainWindow, tmp_path: Path, qtbot: QtBot, **options: object) -> None:
    """A domain and a general file of 412 rows and 51,500 tokens each."""
    general = tmp_path / "general.jsonl"
    general.touch()
    domain = window.setup.data.values()["sources"][0]["path"]
    sources = [{"path": domain}, {"path": str(general), "role": "general"}]
    window.setup.data.set_values({"sources": sources, "validation_fraction": 0.0, **options})
    qtbot.waitUntil(lambda: len(window.setup.data.inspections) == 2)


def test_the_share_and_the_mixing_are_told_in_rows_and_tokens_as_they_change(
    ready: MainWindow, tmp_path: Path, qtbot: QtBot
) -> None:
    data = ready.setup.data
    two_files(ready, tmp_path, qtbot, replay_ratio=0.2)
    words = "In an epoch, 103 general rows beside 412 domain rows (13 k of 64 k tokens, 20 %)"
    qtbot.waitUntil(lambda: note(ready, "replay_ratio").startswith(words))
    assert "after 4 epochs, all 412" in note(ready, "replay_ratio")
    data.form.rows["replay_ratio"].editor.set_value(0.5)
    qtbot.waitUntil(lambda: note(ready, "replay_ratio").startswith("In an epoch, 412 general rows beside 412"))
    assert note(ready, "mixing") == "4 of the 8 rows of an update are general, on average."
    data.form.rows["mixing"].editor.set_value("alternate")
    qtbot.waitUntil(lambda: note(ready, "mixing").startswith("General to domain rows as 1 to 1, at even"))
    data.form.rows["mixing"].editor.set_value("blocks")
    blocks = "64 domain rows (8 updates), then 64 general rows (8 updates), 6.44 times in an epoch."
    qtbot.waitUntil(lambda: note(ready, "mixing") == blocks)
    data.form.rows["block_rows"].editor.line.setText("16")  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: note(ready, "mixing").startswith("16 domain rows (2 updates)"))


def test_a_weight_changes_what_its_file_gives_and_reads_no_file_again(
    ready: MainWindow, tmp_path: Path, engine: FakeEngine, qtbot: QtBot
) -> None:
    two_files(ready, tmp_path, qtbot, replay_ratio=0.0)
    domain, general = ready.setup.data.sources
    qtbot.waitUntil(lambda: domain.share.text() == "In an epoch: 412 rows · 52 k tokens")
    assert general.share.text() == "Not used, because the general share is 0."
    read = len(engine.read)
    domain._more.rows["weight"].editor.line.setText("0.5")  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: domain.share.text() == "In an epoch: 206 rows · 26 k tokens · each row 0.5 ×")
    domain._more.rows["weight"].editor.line.setText("0")  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: "has the weight 0" in ready.setup.start_problem())
    domain._more.rows["weight"].editor.line.setText("x")  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: ready.setup.start_problem().startswith("Weight: Enter a number"))
    assert len(engine.read) == read


def test_the_training_card_tells_updates_tokens_time_and_validation(
    ready: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    figures = ready.setup.training.outlook.figures
    qtbot.waitUntil(lambda: figures["updates"].text == "Updates: 49 epochs: 1, 49 each")
    assert figures["tokens"].text == "Tokens: 49 k 391 rows an epoch"
    assert figures["time"].text == "Time: – known after the first updates"
    assert figures["validation"].text == "Validation: 9.7 % 4 × 21 of 21 rows"
    assert "Held-out rows: 21. Validations: 4, in about 9.7 % of the run." in note(ready, "validation_fraction")
    engine.speed = MeasuredSpeed(tokens_per_second=100.0, run="20261128-run")
    ready.setup.training.form.rows["epochs"].editor.set_value(2.0)
    qtbot.waitUntil(lambda: "as in 20261128-run" in figures["time"].text)
    assert figures["time"].text.startswith("Time: about 18 min")  # 97,750 tokens, and validation beside them


def test_an_unusual_learning_rate_is_warned_of_with_the_reason_and_never_refused(
    ready: MainWindow, qtbot: QtBot
) -> None:
    row = ready.setup.training.form.rows["learning_rate"]
    assert not row.note.isVisibleTo(row)
    row.editor.set_value(0.1)
    qtbot.waitUntil(lambda: row.note.text.startswith("Higher than the 2e-5 to 0.001 that LoRA"))
    assert "Hu et al. 2021" in row.note.text
    assert row.note.level == "warning"
    row.editor.set_value(1e-7)
    qtbot.waitUntil(lambda: row.note.text.startswith("Lower than the 2e-5"))
    assert ready.setup.start_problem() == ""
    row.editor.set_value(2e-5)
    qtbot.waitUntil(lambda: row.note.text == "")
    ready.setup.method.take("ia3")
    qtbot.waitUntil(lambda: row.note.text.startswith("Lower than the 0.001"))


def test_every_method_suggests_a_rate_that_is_customary() -> None:
    for method in METHODS:
        rates = method.customary_rates
        assert rates.low <= method.suggested_learning_rate <= rates.high, method.name
        assert rates.source
