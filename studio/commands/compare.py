"""`compare`: runs beside each other, a column each."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from studio.commands.console import Commands, Console, add_command, table_lines
from studio.commands.runs import add_runs_option, label_of
from studio.errors import ConfigError, RunFolderError
from studio.files import expand_user
from studio.i18n import tr
from studio.runs import RunFolder, list_runs, open_run

if TYPE_CHECKING:
    from studio.runner.compare import Comparison

MOST_NAMED = 12


def add_to(commands: Commands) -> None:
    about = tr("differing settings, losses, speed, memory and retention of runs")
    parser = add_command(commands, "compare", about, _compare)
    parser.add_argument("given", nargs="+", metavar="RUN_DIR", help=tr("two or more run folders, or names of runs"))
    add_runs_option(parser)


def _compare(args: argparse.Namespace, console: Console) -> int:
    from studio.runner.compare import compare_runs
    from studio.runner.record import RunRecord

    if len(args.given) < 2:
        raise ConfigError(tr("compare takes two run folders or more."))
    folders = [_run(given, args.runs) for given in args.given]
    compared = compare_runs([RunRecord.of_folder(folder, console.progress) for folder in folders])
    values = {"settings": compared.settings, "runs": [dataclasses.asdict(run) for run in compared.runs]}
    console.result(values, "\n".join(_lines(compared)))
    return 0


def _run(given: str, root: Path) -> RunFolder:
    """Return the run at a path, or else the one below `root` of that name.

    Raises:
        RunFolderError: there is none, or several have the name.
    """
    if os.path.lexists(expand_user(given)):
        return open_run(Path(given))
    named = [folder for folder in list_runs(root) if given in (folder.name, label_of(folder).name)]
    if len(named) > 1:
        words = tr("{count} runs have the name {name}; give the folder of one: {folders}.")
        folders = tr(", ").join(folder.name for folder in named[:MOST_NAMED])
        raise RunFolderError(words.format(count=len(named), name=given, folders=folders))
    return named[0] if named else open_run(Path(given))


def _lines(compared: Comparison) -> Iterator[str]:
    from studio.runner.compare import figure_rows, setting_rows

    figures = [["", *(run.name for run in compared.runs)], *figure_rows(compared)]
    lines = list(table_lines([*figures, *setting_rows(compared)]))
    yield from lines[: len(figures)]
    yield ""
    yield tr("Settings that differ:") if compared.settings else tr("All settings are equal.")
    yield from lines[len(figures) :]
