"""`override` for the window: no exception leaves a method that Qt calls.

Qt is C++ and knows no exceptions of Python. One that leaves `data`, `sizeHint` or `eventFilter` comes out of some later
call that has nothing to do with it, or ends the process. So it goes to `sys.excepthook`, as that of a slot does, and Qt
gets an answer that says nothing.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QRectF, QSize, Qt

# Methods of Qt that are not written in camelCase.
_QT_WORDS = (
    "close",
    "count",
    "data",
    "done",
    "event",
    "flags",
    "index",
    "invalidate",
    "paint",
    "parent",
    "redo",
    "sort",
    "undo",
)
_NOTHING: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "Any": lambda: None,
    "bool": bool,
    "int": int,
    "QSize": QSize,
    "QRectF": QRectF,
    "Ticks": list,
    "list": list,
    "QLayoutItem | None": lambda: None,
    "Qt.Orientation": lambda: Qt.Orientation(0),
}

if TYPE_CHECKING:
    from typing_extensions import override as override
else:

    def override(method):
        """Mark a method that overrides another. One that Qt calls, by its name, lets no exception out."""
        name = method.__name__
        return _guarded(method) if name.lower() != name or name in _QT_WORDS else method


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    nothing = _NOTHING[method.__annotations__["return"].partition("[")[0]]

    @functools.wraps(method)
    def guarded(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except Exception:  # noqa: BLE001  whatever it is, it must not reach Qt; the hook logs and shows it
            kind, error, trace = sys.exc_info()
            assert kind is not None
            assert error is not None
            sys.excepthook(kind, error, trace)
            return nothing()

    return guarded
