"""`export`: write what a run has learnt, read it back, and say whether it is what was trained."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from studio.commands.console import Commands, Console, add_command
from studio.i18n import tr
from studio.runner import actions
from studio.runs import open_run


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(commands, "export", tr("export a run's model and check the export"), _export)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help=tr("the run folder"))
    parser.add_argument("--to", required=True, metavar="TARGET", help=_targets())
    parser.add_argument("--dtype", default="auto", metavar="D", help=tr("save format (default: the base model's own)"))
    parser.add_argument("--out", type=Path, metavar="PATH", help=tr("folder to write (default: in the run folder)"))


def _targets() -> str:
    from studio.engine.export import TARGETS

    return tr("{targets}; the method decides which of them are possible").format(targets=", ".join(TARGETS.names()))


def _export(args: argparse.Namespace, console: Console) -> int:
    result = actions.export(open_run(args.run), args.to, args.dtype, args.out, console.progress)
    for check in result.checks:
        console.note(f"{'✓' if check.passed else '✗'} {check.meaning}")
    if not result.passed:
        console.note(tr("The export failed its checks; do not use it."))
    path = str(result.path.absolute())
    values = {
        "path": path,
        "certificate": str(result.certificate.absolute()),
        "passed": result.passed,
        "checks": [dataclasses.asdict(check) for check in result.checks],
    }
    console.result(values, path)
    return 0 if result.passed else 1
