"""Pictures of what the Help menu opens. `render.py` draws them."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

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
