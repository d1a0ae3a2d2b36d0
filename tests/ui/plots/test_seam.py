"""Where a run was continued, every plot over its steps has a mark, and says so under the mouse."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF
from pytestqt.qtbot import QtBot

from studio.events import RunResumed
from studio.ui.bridge import AppContext
from studio.ui.pages.train.plots import RunPlots
from tests.screenshots.scripted import scripted_events, scripted_record


@pytest.fixture
def plots(dressed: object, qtbot: QtBot, context: AppContext) -> RunPlots:
    record = scripted_record()
    record.apply(RunResumed(step=110, update=103, restarted=True, changes={"training.epochs": 4.0}))
    for event in scripted_events():
        if getattr(event, "step", 0) > 110:
            record.apply(event)
    plots = RunPlots(context)
    qtbot.addWidget(plots)
    plots.resize(1190, 600)
    plots.show_record(record)
    with qtbot.waitExposed(plots):
        plots.show()
    return plots


def test_the_seam_is_marked_and_explained_in_every_plot(plots: RunPlots, qtbot: QtBot) -> None:
    for chart in (plots.loss, plots.scale, plots.lane, plots.grad_norm):
        chart.draw()
        assert chart.overlay.seams.tolist() == [110.0]
        x = float(chart.view.pixel_of(110.5))
        assert "Continued on" in chart.tip(QPointF(x + 1, 2))
        assert "training.epochs = 4.0" in chart.tip(QPointF(x + 1, 2))
        assert "Continued" not in chart.tip(QPointF(x + 40, 2))
