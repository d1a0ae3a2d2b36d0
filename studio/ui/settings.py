"""What the window remembers between two sessions. QSettings gives back 'false' for False unless told the type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar, cast

from PySide6.QtCore import QByteArray, QLocale, QSettings

from studio.i18n import LANGUAGES
from studio.paths import default_runs_root, home
from studio.runner.controller import Where
from studio.ui.theme import CHOICES, Choice

RECENT_MODELS = 8
T = TypeVar("T")


class Settings:
    """The settings file in the app's data folder."""

    def __init__(self, path: Path | None = None) -> None:
        file = path or home() / "settings.ini"
        self._store = QSettings(str(file), QSettings.Format.IniFormat)

    @property
    def language(self) -> str:
        """A key of `LANGUAGES`: the user's choice, or else the system's language where there is a catalogue for it."""
        chosen = self._text("language")
        if chosen in LANGUAGES:
            return chosen
        return "zh_CN" if QLocale.system().language() == QLocale.Language.Chinese else "en"

    @language.setter
    def language(self, language: str) -> None:
        self._store.setValue("language", language)

    @property
    def theme(self) -> Choice:
        chosen = self._text("theme")
        return next((choice for choice in CHOICES if choice == chosen), "system")

    @theme.setter
    def theme(self, choice: Choice) -> None:
        self._store.setValue("theme", choice)

    @property
    def geometry(self) -> QByteArray:
        """What `QWidget.saveGeometry` returned; empty at first."""
        return cast(QByteArray, self._store.value("geometry", QByteArray(), type=QByteArray))

    @geometry.setter
    def geometry(self, geometry: QByteArray) -> None:
        self._store.setValue("geometry", geometry)

    @property
    def runs_root(self) -> Path:
        return Path(self._text("runs_root") or default_runs_root())

    @runs_root.setter
    def runs_root(self, folder: Path) -> None:
        self._store.setValue("runs_root", str(folder))

    @property
    def where(self) -> Where:
        """Where new runs live."""
        return "process" if self._text("where") == "process" else "thread"

    @where.setter
    def where(self, where: Where) -> None:
        self._store.setValue("where", where)

    @property
    def dismissed(self) -> str:
        """The newest interrupted run that the user does not want to be offered again; empty at first."""
        return self._text("dismissed")

    @dismissed.setter
    def dismissed(self, key: str) -> None:
        self._store.setValue("dismissed", key)

    @property
    def recent_models(self) -> tuple[str, ...]:
        """Folders and hub ids, the last one used first."""
        return tuple(entry for entry in self._json("recent_models", list) if isinstance(entry, str))

    def remember_model(self, path_or_id: str) -> None:
        """Put a model first among the recent ones."""
        others = [entry for entry in self.recent_models if entry != path_or_id]
        self._store.setValue("recent_models", json.dumps([path_or_id, *others][:RECENT_MODELS]))

    @property
    def draft(self) -> dict[str, Any]:
        """The configuration as it stood in the Setup page, in the shape of CONFIG.toml; empty at first."""
        return cast(dict[str, Any], self._json("draft", dict))

    @draft.setter
    def draft(self, tables: dict[str, Any]) -> None:
        self._store.setValue("draft", json.dumps(tables))

    def save(self) -> None:
        """Write the file now."""
        self._store.sync()

    def _text(self, key: str) -> str:
        return str(self._store.value(key, "", type=str))

    def _json(self, key: str, expected: type[T]) -> T:
        try:
            value = json.loads(self._text(key) or "null")
        except ValueError:  # a file edited by hand must not keep the window from opening
            value = None
        return value if isinstance(value, expected) else expected()
