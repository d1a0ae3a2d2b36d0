"""The text of a row with its mask is read as it is."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from studio.ui.widgets.mask_preview import MaskPreview


def picture(qtbot: QtBot, text: str) -> QImage:
    preview = MaskPreview()
    qtbot.addWidget(preview)
    preview.resize(200, 60)
    preview.show_segments([(text, True)])
    return preview.grab().toImage()


@pytest.mark.usefixtures("dressed")
def test_a_low_line_that_is_learnt_is_seen(qtbot: QtBot) -> None:
    assert picture(qtbot, "snake_case") != picture(qtbot, "snake case")
