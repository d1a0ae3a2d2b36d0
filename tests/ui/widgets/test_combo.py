"""A combo box whose text is longer than its room."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QStyleOptionComboBox
from pytestqt.qtbot import QtBot

from studio.ui.widgets.combo import ComboBox

LONG = "SmolLM2-135M-Instruct · LoRA · fp16-mixed · 2026-11-24 22:33"


@pytest.mark.usefixtures("dressed")
@pytest.mark.parametrize(("width", "ends"), [(200, "…"), (900, "22:33")])
def test_a_text_without_room_ends_in_an_ellipsis(qtbot: QtBot, width: int, ends: str) -> None:
    combo = ComboBox([("run", LONG)])
    qtbot.addWidget(combo)
    combo.resize(width, 33)
    combo.show()
    option = QStyleOptionComboBox()
    combo.initStyleOption(option)
    assert option.currentText.endswith(ends)
    assert combo.value() == "run"
    assert combo.currentText() == LONG
