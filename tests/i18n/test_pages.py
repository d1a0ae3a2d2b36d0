"""In another language no page of the window shows an English sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QAbstractItemModel, QAbstractTableModel, QEvent, QModelIndex, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QGroupBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from studio.i18n import set_language
from studio.ui import theme
from studio.ui.theme import interface_font
from tests.screenshots import chat_pages, continuing_pages, data_pages, export_pages, help_pages, run_pages, setup_pages

FOLDER = Path(__file__).parents[1] / "screenshots"
# What the scripted runs say: names, rows, answers, and sentences of a certificate.
SCRIPTED = " ".join("\n".join(file.read_text(encoding="utf-8") for file in FOLDER.glob("*.py")).split())
ROLES = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole)
# Every page, a dialog of each kind, and the states that say most.
PAGES = (
    setup_pages.page_setup,
    setup_pages.page_model_base_or_chat,
    setup_pages.page_data_prompt_template,
    setup_pages.page_memory_does_not_fit,
    setup_pages.page_method_prompt_tuning,
    setup_pages.page_method_comparison,
    setup_pages.page_presets,
    chat_pages.page_chat_settings,
    help_pages.page_guide_search,
    help_pages.page_report,
    help_pages.page_tour,
    data_pages.page_columns,
    data_pages.page_hub_dataset,
    data_pages.page_xray,
    run_pages.page_laboratory,
    run_pages.page_train_finished,
    run_pages.page_outcome,
    run_pages.page_numerics_chronic,
    run_pages.page_runs,
    export_pages.page_export_gguf,
    continuing_pages.page_continue_cut_off,
    continuing_pages.page_continue_train_on,
    continuing_pages.page_continue_queue,
    continuing_pages.page_continue_cluster,
)


def texts(root: QWidget) -> Iterator[str]:
    """Yield all that a window says: to eyes, to the pointer and to a screen reader."""
    for widget in (root, *root.findChildren(QWidget)):
        yield from (widget.toolTip(), widget.accessibleName(), widget.accessibleDescription(), widget.windowTitle())
        if isinstance(widget, QLabel | QAbstractButton):
            yield widget.text()
        if isinstance(widget, QGroupBox):
            yield widget.title()
        if isinstance(widget, QLineEdit | QPlainTextEdit | QTextEdit):
            yield widget.placeholderText()
        if isinstance(widget, QComboBox):
            yield from (widget.itemText(place) for place in range(widget.count()))
        if isinstance(widget, QAbstractItemView) and widget.model() is not None:
            yield from _cells(widget.model())
    for action in root.findChildren(QAction):
        yield from (action.text(), action.toolTip())


def _cells(model: QAbstractItemModel) -> Iterator[str]:
    top = QModelIndex()
    columns = range(model.columnCount(top) if isinstance(model, QAbstractTableModel) else 1)
    for role in ROLES:
        yield from (str(model.headerData(column, Qt.Orientation.Horizontal, role) or "") for column in columns)
        for row in range(min(model.rowCount(top), 50)):
            yield from (str(model.index(row, column).data(role) or "") for column in columns)


def english(text: str) -> list[str]:
    """Return what of a text reads like English: three words and more that no fixture has put there."""
    plain = re.sub(r"<[^>]*>", " ", text)
    found = (match[0] for match in re.finditer(r"[A-Za-z][a-z]+(?:,? [a-z]+){2,}", plain))
    return [words for words in found if " ".join(words.split()[:3]) not in SCRIPTED]


@pytest.fixture(scope="module")
def dressed(qapp: QApplication) -> QApplication:
    qapp.setFont(interface_font())
    theme.install(qapp, "light")
    return qapp


@pytest.mark.parametrize("make", PAGES, ids=lambda make: make.__name__.removeprefix("page_"))
def test_a_page_speaks_the_language(dressed: QApplication, make: Callable[[], QWidget]) -> None:
    set_language("zh_CN")
    page = make()
    said = set(filter(None, texts(page)))
    page.hide()
    page.deleteLater()
    dressed.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert any(re.search(r"[\u4e00-\u9fff]", text) for text in said)
    assert {text for text in said if english(text)} == set()
