"""A stranger's model in the real window: its chat template is a program, and this one goes off on the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.engine.models import template
from studio.ui.main_window import MainWindow
from tests.cli.test_template_bombs import LATE, write_bomb

SECONDS = 20_000


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(template, "SECONDS", 1.0)
    yield write_bomb(tmp_path, LATE)
    template.close_process()


def test_the_preview_of_rows_says_in_a_sentence_what_the_template_does(
    window: MainWindow, qtbot: QtBot, hostile: Path
) -> None:
    setup = window.setup
    setup.set_tables(
        {
            "model": {"path": str(hostile / "model"), "kind": "chat"},
            "data": {"sources": [{"path": str(hostile / "rows.jsonl")}]},
        }
    )
    qtbot.waitUntil(lambda: setup.model.info is not None and bool(setup.data.sources), timeout=SECONDS)
    (source,) = setup.data.sources
    sentence = "The chat template of the model does not come to an end in 1 seconds; choose another model."
    qtbot.waitUntil(lambda: source.error == sentence, timeout=SECONDS)
    assert (source.look_closer.isEnabled(), source.look_closer.toolTip()) == (False, sentence)
