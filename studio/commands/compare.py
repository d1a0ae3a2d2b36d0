"""`compare`: runs beside each other, a column each."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from studio.commands.console import Commands, Console, add_command, table_lines
from studio.errors import ConfigError
from studio.i18n import tr
from studio.runner.compare import Comparison, compare_runs, figure_rows, setting_rows
from studio.runner.record import RunRecord
from studio.runs import open_run


def add_to(commands: Commands) -> None:
    about = tr("differing settings, losses, speed, memory and retention of runs")
    parser = add_command(commands, "compare", about, _compare)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help=tr("two or more run folders"))


def _compare(args: argparse.Namespace, console: Console) -> int:
    if len(args.runs) < 2:
        raise ConfigError(tr("compare takes two run folders or more."))
    compared = compare_runs([RunRecord.of_folder(open_run(path), console.progress) for path in args.runs])
    values = {"settings": compared.settings, "runs": [dataclasses.asdict(run) for run in compared.runs]}
    console.result(values, "\n".join(_lines(compared)))
    return 0


def _lines(compared: Comparison) -> Iterator[str]:
    figures = [["", *(run.name for run in compared.runs)], *figure_rows(compared)]
    lines = list(table_lines([*figures, *setting_rows(compared)]))
    yield from lines[: len(figures)]
    yield ""
    yield tr("Settings that differ:") if compared.settings else tr("All settings are equal.")
    yield from lines[len(figures) :]
