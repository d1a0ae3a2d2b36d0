"""A line of text that is cut where there is no room."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from studio.ui.override import override
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.text import ElidedLabel


class Requests(QObject):
    """Counts how often something is to be laid out anew."""

    count = 0

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.LayoutRequest
        return False


def test_the_same_text_again_lays_nothing_out_anew(dressed: QApplication, qtbot: QtBot) -> None:
    page, line, requests = QWidget(), ElidedLabel("SmolLM2"), Requests()
    hbox(line, parent=page)
    qtbot.addWidget(page)
    with qtbot.waitExposed(page):
        page.show()
    page.installEventFilter(requests)
    line.set_text("SmolLM2")
    QApplication.processEvents()
    assert requests.count == 0
    line.set_text("Qwen")
    QApplication.processEvents()
    assert requests.count == 1
