"""No exception leaves a method that Qt calls, whatever a file of a stranger made of the program."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QSize, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

import studio.ui
from studio.ui.override import override

UI = Path(studio.ui.__file__).parent


def _own_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(studio.ui.__path__, "studio.ui."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name:
                yield value


def _overrides_of_qt() -> list[tuple[type, str, Any]]:
    """The methods of our classes that have the name of a method of one of their bases in Qt or in pyqtgraph."""
    found = []
    for cls in _own_classes():
        bases = [base for base in cls.__mro__ if base.__module__.startswith(("PySide6", "pyqtgraph"))]
        for name, value in vars(cls).items():
            if inspect.isfunction(value) and not name.startswith("__") and any(name in vars(base) for base in bases):
                found.append((cls, name, value))
    return found


def test_every_method_that_qt_calls_is_guarded() -> None:
    found = _overrides_of_qt()
    assert len(found) > 60
    bare = [
        f"{cls.__module__}.{cls.__name__}.{name}" for cls, name, value in found if not hasattr(value, "__wrapped__")
    ]
    assert not bare


def test_every_name_in_camel_case_is_an_override() -> None:
    for file in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.lower() != node.name:
                marks = [mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)]
                assert "override" in marks, f"{file}: {node.name}"


class _Broken(QAbstractTableModel):
    @override
    def rowCount(self, parent: Any = None) -> int:
        raise OverflowError("rows")

    @override
    def columnCount(self, parent: Any = None) -> int:
        return 2

    @override
    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        raise OverflowError("1e300")


class _BrokenWidget(QWidget):
    @override
    def sizeHint(self) -> QSize:
        raise ValueError("no size")

    @override
    def eventFilter(self, watched: QObject, event: Any) -> bool:
        raise KeyError("event")


def test_an_exception_goes_to_the_hook_and_qt_gets_an_answer(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        told.append(kind.__name__)

    monkeypatch.setattr(sys, "excepthook", hook)
    model, widget = _Broken(), _BrokenWidget()
    qtbot.addWidget(widget)
    assert model.rowCount() == 0
    assert model.data(QModelIndex()) is None
    assert not widget.sizeHint().isValid()
    assert widget.eventFilter(widget, None) is False
    assert told == ["OverflowError", "OverflowError", "ValueError", "KeyError"]
