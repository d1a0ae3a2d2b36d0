"""What a self-test found, as a picture: one sentence, and the losses of its steps."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from PySide6.QtWidgets import QApplication, QWidget

from studio.i18n import tr
from studio.runner.self_test import SelfTest
from studio.ui import theme
from studio.ui.plots.loss import LossChart
from studio.ui.plots.picture_export import save_picture
from studio.ui.plots.timeline import Timeline
from studio.ui.theme import interface_font
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

SIZE = (900, 420)
SMOOTHED = 2  # steps: a self-test has few


class SelfTestPicture(QWidget):
    """The verdict above the chart."""

    def __init__(self, found: SelfTest, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.verdict = Verdict()
        state = found.record.state
        about = (state.model, state.method, state.precision, state.device)
        self.chart = LossChart(Timeline(self))
        self.chart.set_window(SMOOTHED)
        self.chart.show_record(found.record)
        self.chart.timeline.restart(state.step, state.step)
        words = tr("{facts}; the loss of each step and its mean").format(facts=tr(", ").join(filter(None, about)))
        self.column = vbox(self.verdict, label(words, "muted", wrap=True), (self.chart, 1), spacing=1, parent=self)
        self.verdict.set(found.sentence, "good" if found.passed else "bad")  # without a parent it would be a window


def save_self_test(found: SelfTest, path: Path) -> None:
    """Write the picture to a .png or .svg file, on a computer without a screen too.

    Raises:
        ExportError: the file cannot be written.
    """
    if sys.platform.startswith("linux"):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    app = QApplication.instance() or QApplication(["finetune-studio"])
    assert isinstance(app, QApplication)
    app.setFont(interface_font())
    theme.install(app, "light")
    picture = SelfTestPicture(found)
    picture.column.setContentsMargins(*4 * (theme.space(2),))
    picture.resize(*SIZE)
    picture.column.activate()
    picture.chart.draw()
    save_picture(picture, path, tr("Self-test"))
