"""`compare`: runs beside each other, a column each."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.commands.console import Commands, Console, add_command, table_lines
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr
from studio.runner.compare import Comparison, compare_runs
from studio.runs import open_run
from studio.text import numbers
from studio.text.retention import retention_share

# Title and words of each figure that a run may have; what was not measured is a dash.
_FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "status": (gettext_noop("Status"), str),
    "updates": (gettext_noop("Updates"), numbers.whole),
    "training_loss": (gettext_noop("Training loss, last steps"), numbers.number),
    "first_validation_loss": (gettext_noop("Validation loss, first"), numbers.number),
    "last_validation_loss": (gettext_noop("Validation loss, last"), numbers.number),
    "best_validation_loss": (gettext_noop("Validation loss, best"), numbers.number),
    "tokens_per_second": (gettext_noop("Tokens a second"), numbers.whole),
    "peak_memory": (gettext_noop("Peak memory"), numbers.size_text),
    "retention": (gettext_noop("Retention"), retention_share),
}


def add_to(commands: Commands) -> None:
    about = tr("differing settings, losses, speed, memory and retention of runs")
    parser = add_command(commands, "compare", about, _compare)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help=tr("two or more run folders"))


def _compare(args: argparse.Namespace, console: Console) -> int:
    if len(args.runs) < 2:
        raise ConfigError(tr("compare takes two run folders or more."))
    compared = compare_runs([open_run(path) for path in args.runs], console.progress)
    values = {"settings": compared.settings, "runs": [dataclasses.asdict(run) for run in compared.runs]}
    console.result(values, "\n".join(_lines(compared)))
    return 0


def _lines(compared: Comparison) -> Iterator[str]:
    rows = [["", *(run.name for run in compared.runs)]]
    for name, (title, words) in _FIGURES.items():
        found = (getattr(run, name) for run in compared.runs)
        rows.append([tr(title), *(numbers.NONE if value is None else words(value) for value in found)])
    rows += [[key, *map(_setting, values)] for key, values in compared.settings.items()]
    lines = list(table_lines(rows))
    figures = len(_FIGURES) + 1
    yield from lines[:figures]
    yield ""
    yield tr("Settings that differ:") if compared.settings else tr("All settings are equal.")
    yield from lines[figures:]


def _setting(value: Any) -> str:
    """Return a value as it is typed in a configuration, a text without its quotes."""
    if value is None:
        return numbers.NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
