"""What the window remembers between two sessions.

A file that was damaged, or edited by hand, never keeps the window from opening: what is not of its type is not there.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from PySide6.QtCore import QByteArray, QLocale, QSettings

from studio.files import is_special
from studio.i18n import LANGUAGES
from studio.paths import default_runs_root, home
from studio.runner.controller import Where
from studio.ui.theme import CHOICES, FONT_SIZES, USUAL_FONT, Choice

log = logging.getLogger(__name__)

RECENT_MODELS = 8
RECENT_SEARCHES = 20
MOST_BYTES = 1 << 24
GEOMETRY_BYTES = 66  # of what `saveGeometry` returns
T = TypeVar("T")


class Settings:
    """The settings file in the app's data folder."""

    def __init__(self, path: Path | None = None) -> None:
        file = path or home() / "settings.ini"
        if is_special(file) or (file.exists() and file.stat().st_size > MOST_BYTES):
            log.warning("The settings %s are not a file that can be read; others are used beside it", file)
            file = file.with_name("settings-2.ini")  # Qt would wait for a pipe, and read a device for ever
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
    def self_test_offered(self) -> bool:
        """Whether the window has offered the self-test."""
        return self._text("self_test_offered") == "yes"

    @self_test_offered.setter
    def self_test_offered(self, offered: bool) -> None:
        self._store.setValue("self_test_offered", "yes" if offered else "no")

    @property
    def font_size(self) -> int:
        """One of `FONT_SIZES`, in per cent."""
        chosen = self._text("font_size")
        return next((size for size in FONT_SIZES if str(size) == chosen), USUAL_FONT)

    @font_size.setter
    def font_size(self, percent: int) -> None:
        self._store.setValue("font_size", str(percent))

    @property
    def reduce_motion(self) -> bool | None:
        """Whether nothing may move by itself; None as long as the user has not chosen: then the desktop says."""
        return {"on": True, "off": False}.get(self._text("reduce_motion"))

    @reduce_motion.setter
    def reduce_motion(self, on: bool) -> None:
        self._store.setValue("reduce_motion", "on" if on else "off")

    @property
    def screen(self) -> str:
        """The screen that the window was on when it was closed; empty at first."""
        return self._text("screen")

    def geometry(self, screen: str) -> QByteArray:
        """Return what `QWidget.saveGeometry` returned on a screen; empty where the window has not been yet."""
        value = self._store.value(f"geometry/{screen}")
        # Qt takes a part of it as well, and would open a window of no size.
        whole = isinstance(value, QByteArray) and value.size() >= GEOMETRY_BYTES
        return value if whole else QByteArray()

    def remember_geometry(self, screen: str, geometry: QByteArray) -> None:
        """Keep where the window is, and how large, on a screen."""
        self._store.setValue("screen", screen)
        self._store.setValue(f"geometry/{screen}", geometry)

    @property
    def runs_root(self) -> Path:
        chosen = Path(self._text("runs_root"))
        return chosen if chosen.is_absolute() else default_runs_root()

    @runs_root.setter
    def runs_root(self, folder: Path) -> None:
        self._store.setValue("runs_root", str(folder))

    @property
    def where(self) -> Where:
        """Where new runs live."""
        chosen = self._text("where")
        return cast(Where, chosen) if chosen in get_args(Where) else "thread"

    @where.setter
    def where(self, where: Where) -> None:
        self._store.setValue("where", where)

    @property
    def notify(self) -> bool:
        """Whether the desktop tells that a run has ended, or is in trouble."""
        return self._flag("notify")

    @notify.setter
    def notify(self, on: bool) -> None:
        self._store.setValue("notify", "on" if on else "off")

    @property
    def keep_awake(self) -> bool:
        """Whether the computer is kept from sleeping while a run trains."""
        return self._flag("keep_awake")

    @keep_awake.setter
    def keep_awake(self, on: bool) -> None:
        self._store.setValue("keep_awake", "on" if on else "off")

    @property
    def show_progress(self) -> bool:
        """Whether the task bar shows how far the run is."""
        return self._flag("show_progress")

    @show_progress.setter
    def show_progress(self, on: bool) -> None:
        self._store.setValue("show_progress", "on" if on else "off")

    @property
    def dismissed(self) -> str:
        """The newest interrupted run that the user does not want to be offered again; empty at first."""
        return self._text("dismissed")

    @dismissed.setter
    def dismissed(self, key: str) -> None:
        self._store.setValue("dismissed", key)

    @property
    def tour_seen(self) -> bool:
        """Whether the tour was gone through or skipped."""
        return self._text("tour_seen") == "true"

    @tour_seen.setter
    def tour_seen(self, seen: bool) -> None:
        self._store.setValue("tour_seen", "true" if seen else "")

    @property
    def recent_models(self) -> tuple[str, ...]:
        """Folders and hub ids, the last one used first."""
        return tuple(entry for entry in self._json("recent_models", list) if isinstance(entry, str))

    def remember_model(self, path_or_id: str) -> None:
        """Put a model first among the recent ones."""
        others = [entry for entry in self.recent_models if entry != path_or_id]
        self._store.setValue("recent_models", json.dumps([path_or_id, *others][:RECENT_MODELS]))

    @property
    def models_from(self) -> str:
        """The name of the hub that models come from; empty where the user has not chosen."""
        return self._text("models_from")

    @models_from.setter
    def models_from(self, hub: str) -> None:
        self._store.setValue("models_from", hub)

    def hub_address(self, hub: str) -> str:
        """Return where a hub is to be asked; empty: at its own address, or that of its environment variable."""
        chosen = self._text(_address_key(hub))
        return chosen if chosen.startswith(("http://", "https://")) else ""

    def remember_hub_address(self, hub: str, address: str) -> None:
        """Keep where a hub is to be asked."""
        self._store.setValue(_address_key(hub), address)

    @property
    def recent_searches(self) -> tuple[str, ...]:
        """Words that the hub was searched for, the last ones first."""
        return tuple(words for words in self._json("recent_searches", list) if isinstance(words, str))

    def remember_search(self, words: str) -> None:
        """Put words first among the recent ones."""
        others = [entry for entry in self.recent_searches if entry != words]
        self._store.setValue("recent_searches", json.dumps([words, *others][:RECENT_SEARCHES]))

    @property
    def draft(self) -> dict[str, Any]:
        """The configuration as it stood in the Setup page, in the shape of CONFIG.toml; empty at first."""
        return {name: table for name, table in self._json("draft", dict).items() if isinstance(table, dict)}

    @draft.setter
    def draft(self, tables: dict[str, Any]) -> None:
        self._store.setValue("draft", json.dumps(tables))

    def save(self) -> None:
        """Write the file now."""
        self._store.sync()

    def _text(self, key: str) -> str:
        value = self._store.value(key)
        return value if isinstance(value, str) and "\0" not in value else ""

    def _flag(self, key: str) -> bool:
        """Something that is on unless the user has switched it off."""
        return self._text(key) != "off"

    def _json(self, key: str, expected: type[T]) -> T:
        try:
            value = json.loads(self._text(key) or "null")
        except (ValueError, RecursionError):
            value = None
        return value if isinstance(value, expected) else expected()


def _address_key(hub: str) -> str:
    return "hub" if hub == "huggingface" else f"hub_{hub}"  # the one that was there before others were
