"""`starter`: fetch the starter model."""

from __future__ import annotations

import argparse

from studio.commands.console import Commands, Console, add_command
from studio.i18n import tr
from studio.runner import actions


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    add_command(commands, "starter", tr("fetch the starter model and print its path"), _fetch)


def _fetch(args: argparse.Namespace, console: Console) -> int:
    path = str(actions.fetch_starter(console.progress).absolute())
    console.result({"path": path}, path)
    return 0
