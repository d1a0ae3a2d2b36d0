"""In which settings two configurations differ, in the words of the Setup page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from studio.config import (
    CheckpointsConfig,
    DataConfig,
    ModelConfig,
    NumericsConfig,
    OptionSpec,
    PrecisionConfig,
    RetentionConfig,
    Section,
    TrainingConfig,
    options,
)
from studio.engine.methods import METHODS
from studio.engine.precision import PRECISIONS
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr
from studio.text.findings import TITLES as FINDINGS
from studio.text.numbers import NONE, in_percent
from studio.ui.forms.numbers import number_text

Tables = Mapping[str, Any]
SHARES = {"replay_ratio", "validation_fraction", "warmup_ratio"}
"""Options that are told in per cent."""
SECTIONS: dict[str, tuple[str, type[Section] | None]] = {
    "model": (gettext_noop("Model"), ModelConfig),
    "data": (gettext_noop("Data"), DataConfig),
    "method": (gettext_noop("Method"), None),  # which class it is, its name says
    "precision": (gettext_noop("Precision"), PrecisionConfig),
    "training": (gettext_noop("Training"), TrainingConfig),
    "retention": (gettext_noop("Retention"), RetentionConfig),
    "checkpoints": (gettext_noop("Checkpoints"), CheckpointsConfig),
    "numerics": (gettext_noop("Numerics"), NumericsConfig),
}


@dataclass(frozen=True)
class Change:
    """A setting, what it is now and what it is to be, in words."""

    section: str
    setting: str
    old: str
    new: str


def changes(before: Tables, after: Tables) -> list[Change]:
    """Return what differs between the tables of two configurations, right or wrong, in the order of the Setup page."""
    return [change for section in SECTIONS for change in _changes_in(section, before, after)]


def setting_title(key: str) -> str:
    """Return a setting, given by its dotted key, as the Setup page calls it; one without a title there as it is."""
    section, _, name = key.partition(".")
    title, cls = SECTIONS.get(section, ("", None))
    sections = (
        [METHODS.get(method).config for method in METHODS.names()] if section == "method" else [cls] if cls else []
    )
    found = (spec.title for one in sections for spec in options(one) if spec.key == name)
    words = title if key == "method.name" else next(found, "")
    return f"{tr(title)}  ·  {tr(words)}" if words else key


def _changes_in(section: str, before: Tables, after: Tables) -> Iterator[Change]:
    title, old, new = tr(SECTIONS[section][0]), before.get(section, {}), after.get(section, {})
    if section == "data":
        known = [source["path"] for source in old.get("sources", ())]
        added = [source["path"] for source in new.get("sources", ()) if source["path"] not in known]
        yield from (Change(title, tr("General rows"), NONE, Path(path).name) for path in added)
    if section == "method" and old.get("name") != new.get("name"):
        yield Change(title, title, tr(METHODS.get(old["name"]).title), tr(METHODS.get(new["name"]).title))
        old = {}  # the options of another method say nothing of this one's
    cls = SECTIONS[section][1] or METHODS.get(new["name"]).config
    for spec in options(cls):
        values = [table.get(spec.key, spec.default) for table in (old, new)]
        if _plain(values[0]) != _plain(values[1]):
            words = [_words(spec, value, cls, table) for value, table in zip(values, (old, new), strict=True)]
            yield Change(title, tr(spec.title), words[0] if old or section != "method" else NONE, words[1])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _words(spec: OptionSpec, value: Any, cls: type[Section], table: Tables) -> str:
    if value is None:
        amounts = _automatic(cls, table).get(spec.key)
        return tr("Automatic") if amounts is None else tr("Automatic: {value}").format(value=number_text(amounts))
    if isinstance(value, bool):
        return tr("On") if value else tr("Off")
    if spec.key in SHARES and isinstance(value, float):
        return in_percent(number_text(round(100 * value, 1)))
    if isinstance(value, int | float):
        return f"{number_text(value)} {tr(spec.unit)}".rstrip()
    if cls is PrecisionConfig and spec.key == "name":
        return tr("Automatic") if value == "auto" else tr(PRECISIONS.get(value).title)
    labels = FINDINGS if spec.key == "leave_out" else dict(spec.choices)
    words = [value] if isinstance(value, str) else list(value)
    return tr(", ").join(tr(labels[word]) if word in labels else str(word) for word in words) or NONE


def _automatic(cls: type[Section], table: Tables) -> Mapping[str, Any]:
    try:
        return cls.model_validate(dict(table)).automatic()
    except (ValidationError, ConfigError):
        return {}
