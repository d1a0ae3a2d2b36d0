"""Pictures of what the Help menu opens. `render.py` draws them."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.ui.dialogs.report import ReportDialog
from tests.screenshots.windows import offscreen_context, opened, window_at


def guide(chapter: str, anchor: str = "top", words: str = "") -> QWidget:
    """Return the guide at a place."""
    window = window_at("setup", offscreen_context())
    window.help.open_guide()
    dialog = window.help.guide
    assert dialog is not None
    dialog.search.setText(words)
    dialog.show_chapter(chapter, anchor)
    return opened(window, dialog)


def page_guide() -> QWidget:
    """A chapter with a table."""
    return guide("methods")


def page_guide_search() -> QWidget:
    """Sections that have a word, which is lit up."""
    return guide("precision", "scaling", "fp16")


def page_guide_keys() -> QWidget:
    """All commands with their keys."""
    return guide("keys")


def page_report() -> QWidget:
    """What a report holds, before it is written."""
    window = window_at("setup", offscreen_context())
    return opened(window, ReportDialog(window.context, None, window))


def page_tour() -> QWidget:
    """The first step, beside its card."""
    window = window_at("setup", offscreen_context())
    window.help.begin_tour()
    return window


def page_tour_start() -> QWidget:
    """The step about Start, at the foot of the window."""
    window = window_at("setup", offscreen_context())
    window.help.begin_tour()
    assert window.help.tour is not None
    for _ in range(3):
        window.help.tour.go_on()
    return window
