"""Presets: settings for a goal, laid over a configuration. Those that ship with the app, and the user's own.

A preset is a TOML file of words and of tables as in CONFIG.toml. A table with a `name` (method, precision) replaces the
whole table, because its options belong to that name; any other table changes only the options that it has.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from studio.config import parse_config
from studio.errors import ConfigError
from studio.files import read_text
from studio.i18n import language, tr
from studio.paths import home, resource
from studio.runs import write_atomically

MOST_OWN = 200
LONGEST_TITLE = 60
NOT_KEPT = {"data": ("sources",), "training": ("start_from", "device"), "retention": ("probes",)}
"""Settings that name files or a device, and belong to one run."""
_STAND_IN: dict[str, Any] = {"model": {"path": "-"}, "data": {"sources": [{"path": "-"}]}}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One preset, its words in the language of the session.

    Attributes:
        name: that of its file, without the ending.
        about: what it is for, empty for one of the user's own.
        tables: the settings, as in CONFIG.toml.
        own: whether the user has saved it.
        problem: why it cannot be applied, in a sentence, or nothing.
    """

    name: str
    title: str
    about: str = ""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own: bool = False
    problem: str = ""


def own_folder() -> Path:
    """Return where the user's own presets are; it need not exist yet."""
    return home() / "presets"


def shipped_presets() -> list[Preset]:
    """Return the presets that ship with the app, in the order in which they are offered."""
    found = []
    for file in resource("presets", "goals").glob("*.toml"):
        values = tomllib.loads(read_text(file))
        order, words = values.pop("order"), values.pop("words")
        found.append((order, Preset(name=file.stem, tables=values, **words.get(language(), words["en"]))))
    return [preset for _, preset in sorted(found, key=lambda one: one[0])]


def own_presets() -> list[Preset]:
    """Return the user's own presets by title. One that cannot be read is there too, with the reason."""
    files = sorted(own_folder().glob("*.toml"))[:MOST_OWN]
    return sorted((_read_own(file) for file in files), key=lambda preset: preset.title.casefold())


def save_own(title: str, tables: Mapping[str, Any]) -> Preset:
    """Save the settings of a configuration, without what names files or a device. One of the same title is replaced.

    Raises:
        ConfigError: the title cannot be one, a setting is wrong, or the file cannot be written.
    """
    title = _checked_title(title)
    kept = {
        section: {key: value for key, value in table.items() if key not in NOT_KEPT.get(section, ())}
        for section, table in tables.items()
        if section != "model"
    }
    _check(kept)
    before = next((preset for preset in own_presets() if preset.title == title), None)
    name = before.name if before else _free_name(title)
    _write(own_folder() / f"{name}.toml", {"title": title, **kept})
    return Preset(name=name, title=title, tables=kept, own=True)


def rename_own(preset: Preset, title: str) -> Preset:
    """Return a preset with another title. Raises `ConfigError` where it is taken or cannot be one."""
    title = _checked_title(title)
    if any(other.title == title and other.name != preset.name for other in own_presets()):
        raise ConfigError(tr("There is a preset of this name already: {title}.").format(title=title))
    _write(own_folder() / f"{preset.name}.toml", {"title": title, **preset.tables})
    return replace(preset, title=title)


def delete_own(preset: Preset) -> None:
    """Delete a preset's file. Raises `ConfigError` where it stays."""
    try:
        (own_folder() / f"{preset.name}.toml").unlink(missing_ok=True)
    except OSError as error:
        words = tr("The preset {title} cannot be deleted: {reason}.")
        raise ConfigError(words.format(title=preset.title, reason=error.strerror)) from error


def apply_preset(preset: Preset, tables: Mapping[str, Any], chat_template: str | None = None) -> dict[str, Any]:
    """Return the tables of a configuration with a preset laid over them.

    Rehearsal needs general rows: where no source has any, those that ship with the app are added.

    Args:
        chat_template: what the chosen model takes in place of the template that the preset installs, empty where it
            has one of its own; None while no model is known.
    """
    result = {section: dict(table) for section, table in tables.items()}
    for section, settings in preset.tables.items():
        before = {} if "name" in settings else result.get(section, {})
        result[section] = {**before, **settings}
    if "epochs" in preset.tables.get("training", {}) and "max_steps" not in preset.tables["training"]:
        result["training"].pop("max_steps", None)
    if chat_template is not None and preset.tables.get("model", {}).get("chat_template"):
        result["model"]["chat_template"] = chat_template
    data = result.setdefault("data", {})
    sources = list(data.get("sources", ()))
    file = str(resource("samples", "general-zh.jsonl" if language() == "zh_CN" else "general-en.jsonl"))
    rehearses = any(source.get("role") == "general" or source["path"] == file for source in sources)
    if data.get("replay_ratio") and not rehearses:
        data["sources"] = [*sources, {"path": file, "role": "general"}]
    return result


def _read_own(file: Path) -> Preset:
    """A file that was damaged or edited wrongly keeps its place in the list, so that it can be deleted there."""
    try:
        tables = tomllib.loads(read_text(file))
        title = str(tables.pop("title", file.stem))[:LONGEST_TITLE]
        _check(tables)
    except (OSError, ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number of 5000 digits
        reason = (isinstance(error, OSError) and error.strerror) or str(error)[:200]
        problem = tr("This preset cannot be read: {reason}.").format(reason=reason)
        return Preset(name=file.stem, title=file.stem, own=True, problem=problem)
    except ConfigError as error:
        return Preset(name=file.stem, title=title, own=True, problem=str(error))
    return Preset(name=file.stem, title=title, tables=tables, own=True)


def _check(tables: Mapping[str, Any]) -> None:
    """Refuse tables that no configuration can have. Raises `ConfigError`."""
    wrong = next((key for key, table in tables.items() if not isinstance(table, dict)), "")
    if wrong:
        raise ConfigError(tr("{key} is not a setting of a preset.").format(key=wrong))
    stand_in = {section: {**tables.get(section, {}), **values} for section, values in _STAND_IN.items()}
    parse_config({**tables, **stand_in})


def _checked_title(title: str) -> str:
    title = " ".join(title.split())
    if not title or len(title) > LONGEST_TITLE or not title.isprintable():
        raise ConfigError(tr("A preset needs a name of at most {count} characters.").format(count=LONGEST_TITLE))
    return title


def _free_name(title: str) -> str:
    """A name for a file that every system takes; the title itself stands inside."""
    stem = "preset-" + re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:40]
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, MOST_OWN + 2))
    free = next((name for name in names if not (own_folder() / f"{name}.toml").exists()), "")
    if not free:
        raise ConfigError(tr("There are too many presets; delete one first."))
    return free


def _write(path: Path, values: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, tomli_w.dumps(values))
    except OSError as error:
        words = tr("The preset cannot be written to {path}: {reason}.")
        raise ConfigError(words.format(path=path, reason=error.strerror)) from error
