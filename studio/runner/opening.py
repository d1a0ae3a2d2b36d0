"""What a path that was dropped on the window, or named on the command line, is, and what opening it will do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.errors import StudioError
from studio.files import expand_user, is_file, is_special
from studio.i18n import tr, trn

Kind = Literal["run", "model", "configuration", "data"]


@dataclass(frozen=True)
class Opening:
    """A path, absolute, and what it is by its name and by the names of the files in it; nothing is read."""

    kind: Kind
    path: Path


def what_opens(given: str | Path) -> Opening:
    """Return what a path is. Raises `StudioError`, with a sentence, where the window can do nothing with it."""
    path = expand_user(given)
    if "\0" in str(path) or not os.path.lexists(path):
        raise StudioError(tr("There is no {path}.").format(path=str(path).replace("\0", "�")))
    path = path.absolute()
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir it raises for no name
        if is_file(path / "state.json"):
            return Opening("run", path)
        if is_file(path / "config.json"):
            return Opening("model", path)
        words = tr("{path} is neither a run nor a model: there is no state.json and no config.json in it.")
        raise StudioError(words.format(path=path))
    if is_special(path):
        raise StudioError(tr("{path} is no regular file.").format(path=path))
    return Opening("configuration" if path.suffix.lower() == ".toml" else "data", path)


def together(paths: Sequence[str | Path]) -> list[Opening]:
    """Return what several paths are. Raises `StudioError`: one cannot be opened, or only one of its kind can be."""
    found = [what_opens(path) for path in paths]
    for kind, problem in (
        ("run", tr("Only one run can be shown at a time.")),
        ("model", tr("A run trains one model: drop only one model folder.")),
        ("configuration", tr("Only one configuration can be shown at a time.")),
    ):
        if sum(one.kind == kind for one in found) > 1:
            raise StudioError(problem)
    return found


def opening_words(found: Sequence[Opening]) -> str:
    """Return what opening these will do, in a sentence each."""
    said = []
    for one in found:
        if one.kind == "run":
            said.append(tr("Show the run {name}").format(name=one.path.name))
        elif one.kind == "model":
            said.append(tr("Take {name} as the model").format(name=one.path.name))
        elif one.kind == "configuration":
            said.append(tr("Take the configuration of {name}").format(name=one.path.name))
    files = [one.path.name for one in found if one.kind == "data"]
    if files:
        words = trn("Add {name} to the data", "Add {count} files to the data", len(files))
        said.append(words.format(name=files[0], count=len(files)))
    return "\n".join(said)
