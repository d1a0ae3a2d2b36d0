"""`starter` and `laboratory`: a model to begin with, and experiments on the numerics."""

from __future__ import annotations

import argparse

from studio.commands.console import Commands, Console, add_command
from studio.i18n import tr
from studio.runner import actions, laboratory


def add_to(commands: Commands) -> None:
    add_command(commands, "starter", tr("fetch the starter model and print its path"), _fetch_starter)
    about = tr("experiments on overflow and underflow: list them, or print the configurations of one for train")
    parser = add_command(commands, "laboratory", about, _laboratory)
    parser.add_argument("name", nargs="?", metavar="NAME", help=tr("the experiment; without one all are listed"))


def _fetch_starter(args: argparse.Namespace, console: Console) -> int:
    path = str(actions.fetch_starter(console.progress).absolute())
    console.result({"path": path}, path)
    return 0


def _laboratory(args: argparse.Namespace, console: Console) -> int:
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
