"""What a page about runs says while there is none, with the ways to one."""

from __future__ import annotations

from studio.i18n import tr
from studio.ui.bridge import AppContext
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.empty import EmptyState


class NoRun(EmptyState):
    """Offers to set a run up and, where `past_runs`, to open one of the past."""

    def __init__(self, context: AppContext, icon: str, heading: str, sentence: str, *, past_runs: bool = True) -> None:
        super().__init__(icon, heading, sentence)
        self.set_up = push_button(tr("Set one up"), "primary", "setup", tr("Go to the Setup page"))
        self.set_up.clicked.connect(lambda: context.go_to("setup"))
        self.add(self.set_up)
        if past_runs:
            look_back = push_button(tr("Open a past run"), "quiet", tooltip=tr("Go to the Runs page"))
            look_back.clicked.connect(lambda: context.go_to("runs"))
            self.add(look_back)
