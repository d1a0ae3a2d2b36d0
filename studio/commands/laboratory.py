"""`laboratory`: configurations that show each failure of the numerics on purpose, ready for `train`."""

from __future__ import annotations

import argparse

from studio.commands.console import Commands, Console, add_command
from studio.i18n import tr


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    about = tr("experiments on overflow and underflow: list them, or print the configurations of one for train")
    parser = add_command(commands, "laboratory", about, _laboratory)
    parser.add_argument("name", nargs="?", metavar="NAME", help=tr("the experiment; without one all are listed"))


def _laboratory(args: argparse.Namespace, console: Console) -> int:
    from studio.runner import laboratory

    if args.name is None:
        found = laboratory.experiments()
        listed = [{"name": one.name, "title": one.title, "verdict": one.verdict} for one in found]
        console.result({"experiments": listed}, "\n".join(f"{one.name:<18}{one.title}" for one in found))
        return 0
    chosen = laboratory.experiment(args.name)
    console.note(f"{chosen.explanation} {chosen.look_at}")
    paths = [str(path) for path in laboratory.prepare(chosen, console.progress)]
    console.result({"configurations": paths, "verdict": chosen.verdict}, "\n".join(paths))
    return 0
