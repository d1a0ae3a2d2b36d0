"""What a person says of a run: label.json in its folder, with a name, notes, tags and a star."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from studio.errors import RunFolderError
from studio.i18n import tr
from studio.runs.files import write_atomically
from studio.runs.read import read_stored

LABEL = "label.json"


class StoredLabel(TypedDict, total=False):
    """What is known of label.json."""

    name: str
    notes: str
    tags: list[str]
    star: bool


@dataclass(frozen=True, kw_only=True)
class RunLabel:
    """A run without a label has an empty one. `tags` are words without commas."""

    name: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    star: bool = False

    def words(self, name: str = "") -> str:
        """Return the star, the name that a person gave the run, else `name`, and the tags."""
        parts = ("★" if self.star else "", self.name or name, *(f"#{tag}" for tag in self.tags))
        return " ".join(filter(None, parts))


def read_label(folder: Path) -> RunLabel:
    """Return the label of a run folder. Raises `RunFolderError` when label.json is damaged."""
    path = folder / LABEL
    if not path.exists():
        return RunLabel()
    stored = read_stored(path, StoredLabel)
    tags = tuple(tag.strip() for tag in stored.get("tags", []) if tag.strip())
    return RunLabel(
        name=stored.get("name", "").strip(), notes=stored.get("notes", ""), tags=tags, star=stored.get("star", False)
    )


def write_label(folder: Path, label: RunLabel) -> None:
    """Replace the label of a run folder. Raises `RunFolderError` when it cannot be written."""
    try:
        write_atomically(folder / LABEL, json.dumps(dataclasses.asdict(label), ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        words = tr("The label of the run cannot be written in {folder}: {reason}.")
        raise RunFolderError(words.format(folder=folder, reason=error.strerror)) from error
