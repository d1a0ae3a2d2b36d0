"""`tensorboard`: the journals of runs as event files, for those who look at their runs there."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.commands.console import Commands, Console, add_command
from studio.i18n import tr
from studio.runner.tensorboard import export_tensorboard
from studio.runs import open_run


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "tensorboard", tr("write the plots of runs as event files of TensorBoard"), _export)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help=tr("one run folder or more"))
    about = tr("a folder that gets one folder a run (default: tensorboard inside each run folder)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=about)


def _export(args: argparse.Namespace, console: Console) -> int:
    paths = []
    for run in map(open_run, args.runs):
        out = None if args.out is None else args.out / run.name
        paths.append(str(export_tensorboard(run, out, console.progress)))
    console.result({"paths": paths}, "\n".join(paths))
    return 0
