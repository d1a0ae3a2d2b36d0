"""What is known of a run without its journal, and in which words."""

from __future__ import annotations

import functools
import logging
import math
import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.engine.control import Progress, no_progress
from studio.engine.methods import METHODS
from studio.errors import RunFolderError
from studio.files import read_text
from studio.i18n import tr
from studio.runner.continuing import CAN_GO_ON, lives_elsewhere
from studio.runs import RunFolder, RunLabel, find_runs, read_label
from studio.runs.folder import Marks
from studio.text import numbers
from studio.text.words import status_text

log = logging.getLogger(__name__)
_TIME = re.compile(r"^\d{8}-\d{6}-")
NO_LABEL = RunLabel()


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What is known of a run without its journal. Times are seconds; None and "" are what is not known.

    `problem` is the sentence of a failed run, or of a folder that cannot be read (its status is then damaged).
    `learnt` says that there is a result, or a checkpoint that stands for it.
    `continues_text` says that it taught a Base model, and no form of question and answer.
    `where` says that another process of this computer, or another computer, trains it; then `computer` is the name of
    that one, which was heard of last when `written`.
    `configuration` is the text of its config.toml; empty where that cannot be read.
    """

    folder: RunFolder
    status: str
    created: float | None = None
    model: str = ""
    method: str = ""
    precision: str = ""
    updates: int | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    retention: float | None = None
    seconds: float | None = None
    problem: str = ""
    learnt: bool = False
    continues_text: bool = False
    where: Literal["", "process", "computer"] = ""
    computer: str = ""
    written: float = 0.0
    configuration: str = ""
    label: RunLabel = NO_LABEL

    @property
    def can_go_on(self) -> bool:
        """Whether it has come to an end from which it can be continued."""
        return self.status in CAN_GO_ON

    @property
    def can_be_exported(self) -> bool:
        """Whether it has come to an end and left something that was learnt."""
        return self.status in ("finished", "stopped") or (self.learnt and self.status in ("failed", "interrupted"))

    @property
    def can_be_asked(self) -> bool:
        """Whether it has learnt something, be it under way or not."""
        return self.can_be_exported or self.learnt


def read_summaries(root: Path, progress: Progress = no_progress) -> list[RunSummary]:
    """Return all runs below a folder, newest first; damaged ones are among them, not hidden."""
    folders = find_runs(root)
    summaries = []
    for done, folder in enumerate(folders):
        progress("reading_runs", done, len(folders))
        summaries.append(read_summary(folder))
    return sorted(summaries, key=_age, reverse=True)


def _age(run: RunSummary) -> tuple[float, str]:
    """When a run was made; of a damaged one, when its state was written."""
    made = run.created if run.created is not None else run.folder.state.stat().st_mtime
    return made, run.folder.name


def read_summary(folder: RunFolder) -> RunSummary:
    """Return what one folder says of itself: the very same summary while nothing in the folder has changed."""
    marks = folder.marks
    try:
        return _read(folder) if marks is None else _read_unchanged(folder, marks)
    except RunFolderError as error:
        return RunSummary(folder=folder, status="damaged", problem=str(error), configuration=_configuration(folder))


@functools.lru_cache(maxsize=1 << 14)
def _read_unchanged(folder: RunFolder, _marks: Marks) -> RunSummary:
    return _read(folder)


def _read(folder: RunFolder) -> RunSummary:
    state = folder.read_state()
    losses, configuration = _table(state, "validation_loss"), _configuration(folder)
    where = lives_elsewhere(folder)
    return RunSummary(
        folder=folder,
        status=state["status"],
        created=_number(state, "created"),
        model=str(_table(state, "model").get("name", "")),
        method=str(state.get("method", "")),
        precision=str(state.get("precision", "")),
        updates=None if (updates := _number(state, "updates")) is None else int(updates),
        first_loss=_number(losses, "first"),
        last_loss=_number(losses, "last"),
        retention=_number(_table(state, "retention"), "retention"),
        seconds=_number(state, "seconds"),
        problem=str(state.get("error", "")),
        learnt=folder.has_result,
        where=where,
        computer=folder.computer if where == "computer" else "",
        written=folder.written if where == "computer" else 0.0,
        continues_text=_table(state, "model").get("kind") == "base" and not _asks(configuration),
        configuration=configuration,
        label=_label(folder),
    )


def _label(folder: RunFolder) -> RunLabel:
    """A damaged label hides no run."""
    try:
        return read_label(folder.path)
    except RunFolderError as error:
        log.warning("%s", error)
        return NO_LABEL


def _asks(configuration: str) -> bool:
    """Return whether a configuration says how a Base model is asked."""
    try:
        data = tomllib.loads(configuration).get("data")
    except tomllib.TOMLDecodeError:
        return False
    return isinstance(data, dict) and bool(data.get("prompt_template"))


def _configuration(folder: RunFolder) -> str:
    try:
        return read_text(folder.config)
    except (OSError, UnicodeDecodeError):
        return ""


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = values.get(key)
    return inner if isinstance(inner, dict) else {}


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def method_title(name: str) -> str:
    """Return a method as it is called in the window; an unknown one keeps its name."""
    return tr(METHODS.get(name).title) if name in METHODS.names() else name


def when_text(seconds: float | None) -> str:
    """Return a moment in local time."""
    return numbers.NONE if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def state_text(run: RunSummary) -> str:
    """Return what a run is doing, or how it ended."""
    if run.where:
        return tr("On another computer") if run.where == "computer" else tr("Running elsewhere")
    return status_text(run.status)


def short_name(run: RunSummary) -> str:
    """Return the name of a run's folder without the time that it begins with, which has a column of its own."""
    return _TIME.sub("", run.folder.name) or run.folder.name


def name_text(run: RunSummary) -> str:
    """Return the star, the name that a person gave the run, else that of its folder, and its tags."""
    return run.label.words(short_name(run))


def loss_text(run: RunSummary) -> str:
    """Return how the validation loss went, first to last."""
    if run.first_loss is None:
        return numbers.NONE
    if run.last_loss is None:
        return numbers.number(run.first_loss)
    return f"{numbers.number(run.first_loss)} → {numbers.number(run.last_loss)}"
