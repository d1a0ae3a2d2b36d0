"""A dataset of the hub is added by its id, its subset and its split."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from studio.config import DataSource
from studio.engine.data.hub import _Dataset, _hub_dataset
from studio.ui import theme
from studio.ui.dialogs.hub.dataset import HubDataset
from studio.ui.main_window import MainWindow


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("owner/name", "", ""), _Dataset("owner/name", None, None)),
        ((" owner/name ", "", "test"), _Dataset("owner/name", None, "test")),
        (("owner/name", "main", ""), _Dataset("owner/name", "main", "train")),
        (("https://huggingface.co/datasets/owner/name", "main", "test"), _Dataset("owner/name", "main", "test")),
    ],
)
def test_what_is_typed_is_what_the_engine_reads(
    window: MainWindow, qtbot: QtBot, typed: tuple[str, str, str], meant: _Dataset
) -> None:
    window.setup.data.ask_hub()
    dialog = window.setup.findChild(HubDataset)
    assert isinstance(dialog, HubDataset)
    assert not dialog.add.isEnabled()
    for line, text in zip((dialog.id, dialog.subset, dialog.split), typed, strict=True):
        qtbot.keyClicks(line, text)
    qtbot.keyClick(dialog.split, Qt.Key.Key_Return)
    (source,) = window.setup.data.values()["sources"]
    assert _hub_dataset(DataSource.model_validate(source)) == meant


def test_an_id_without_an_owner_is_not_added(qtbot: QtBot, window: MainWindow) -> None:
    dialog = HubDataset(window.context, window)
    for text in ("name", "owner/", "a/b/c", "owner/na me", "owner/name:split"):
        dialog.id.setText(text)
        assert not dialog.add.isEnabled()
        assert dialog.add.toolTip()
    dialog.reject()


def test_no_words_are_under_a_field_where_the_font_is_large(
    qtbot: QtBot, dressed: QApplication, window: MainWindow
) -> None:
    theme.set_font_size(200)  # the screen of the tests is 800 pixels high
    dialog = HubDataset(window.context, window)
    dialog.show()
    qtbot.waitExposed(dialog)
    for line in (dialog.id, dialog.subset, dialog.split):
        assert not any(line.geometry().intersects(words.geometry()) for words in dialog.findChildren(QLabel))
    dialog.reject()
    theme.set_font_size(theme.USUAL_FONT)
