"""`runs`: the run folders, newest first."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import Any

from studio.commands.console import Commands, Console, add_command
from studio.errors import RunFolderError
from studio.i18n import tr, trn
from studio.paths import default_runs_root
from studio.runs import RunFolder, RunLabel, list_runs, read_label
from studio.text.numbers import computer_text
from studio.text.retention import retention_share
from studio.text.visible import in_line

log = logging.getLogger(__name__)


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "runs", tr("list runs, newest first"), _list)
    add_runs_option(parser)


def add_runs_option(parser: argparse.ArgumentParser) -> None:
    """Add `--runs DIR`."""
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="DIR",
        default=default_runs_root(),
        help=tr("where run folders are kept (default: {folder})").format(folder=default_runs_root()).replace("%", "%%"),
    )


def _list(args: argparse.Namespace, console: Console) -> int:
    found, lines = [], []
    for folder in list_runs(args.runs):
        try:
            state = folder.read_state()
        except RunFolderError as error:
            state = {"status": "damaged", "error": str(error)}
        label = label_of(folder)
        found.append({"run": str(folder.path), **state, "label": dataclasses.asdict(label)})
        lines.append(_line(folder, label, state))
    console.result({"runs": found}, "\n".join(lines) or tr("No runs below {folder}.").format(folder=args.runs))
    return 0


def label_of(folder: RunFolder) -> RunLabel:
    """Return what a person says of a run; a damaged label hides no run."""
    try:
        return read_label(folder.path)
    except RunFolderError as error:
        log.warning("%s", error)
        return RunLabel()


def _line(folder: RunFolder, label: RunLabel, state: dict[str, Any]) -> str:
    parts = [f"{state['status']:<11}", folder.name]
    if words := label.words():
        parts.append(words)
    if computer := folder.computer:
        parts.append(computer_text(computer, folder.written))
    if "updates" in state:
        parts.append(trn("{updates} update", "{updates} updates", state["updates"]).format(updates=state["updates"]))
    losses = state.get("validation_loss") or {}
    if losses.get("first") is not None and losses.get("last") is not None:
        words = tr("validation loss {first} → {last}")
        parts.append(words.format(first=f"{float(losses['first']):.4f}", last=f"{float(losses['last']):.4f}"))
    if kept := state.get("retention"):
        parts.append(tr("retention {share}").format(share=retention_share(float(kept["retention"]))))
    if state.get("error"):
        parts.append(str(state["error"]))
    return in_line("  ".join(parts))
