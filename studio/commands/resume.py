"""`resume`: go on with a run from its newest valid checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.commands.console import Commands, Console, add_command, at_least
from studio.commands.train import add_overrides, go_on
from studio.config import read_config
from studio.i18n import tr
from studio.runs import open_run


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "resume", tr("go on with a run from its newest valid checkpoint"), _resume)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help=tr("the folder of the run"))
    add_overrides(parser)
    parser.add_argument("--until", type=at_least(1), metavar="STEP", help=tr("stop after this step, with a checkpoint"))
    parser.add_argument(
        "--consent",
        action="store_true",
        help=tr("go on though the files of the base model or of the data have changed"),
    )


def _resume(args: argparse.Namespace, console: Console) -> int:
    from studio.runner.launch import Launch, train_beside

    folder, launch = open_run(args.run), Launch.of()
    if launch and launch.ended(folder):
        return 1
    if launch and launch.rank:
        return train_beside(read_config(folder.config))  # process 0 says what has changed since
    return go_on(folder, console, args.set, args.until, consent=args.consent)
