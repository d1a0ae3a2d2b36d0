"""The choice of the steps over which a training loss is averaged."""

from __future__ import annotations

from studio.i18n import tr
from studio.ui import theme
from studio.ui.widgets.combo import ComboBox

WINDOWS = (4, 8, 16, 32, 64, 128, 256, 1024)


class Smoothing(ComboBox):
    """Chooses a number of steps; 1 is none."""

    def __init__(self, steps: int, about: str) -> None:
        means = ((str(window), tr("Mean of {steps} steps").format(steps=f"{window:,}")) for window in WINDOWS)
        super().__init__([("1", tr("Raw values only")), *means])
        self.set_value(str(steps))
        self.setAccessibleName(tr("Smoothing of the training loss"))
        self.setToolTip(about)
        self.setMaximumWidth(theme.characters(30))

    @property
    def steps(self) -> int:
        return int(self.value())
