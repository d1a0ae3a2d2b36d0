"""How long the first window takes, from the start of the process to the first paint, beside the barest Qt window.

    python tests/benchmarks/start_up.py [--runs 7] [--screen]

Every start is a process of its own, with settings of its own (the first start of a new user); the two kinds take
turns, and one start of each is made before it counts, so that the files are in memory. `--screen` draws on a real X11
screen (Xvfb) instead of off it. It also says whether torch, transformers, peft and datasets were imported by then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIDES = {"window": "Finetune Studio", "bare": "bare QApplication and QMainWindow"}
HEAVY = ("torch", "transformers", "peft", "datasets")


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        _open(arguments.side, arguments.started)
        return
    sys.path.insert(0, str(ROOT))
    from tests.e2e.screen import virtual_screen

    with (
        virtual_screen() if arguments.screen else contextlib.nullcontext({"QT_QPA_PLATFORM": "offscreen"}) as screen,
        tempfile.TemporaryDirectory() as bytecode,
    ):
        environment = _with_bytecode(screen, bytecode)
        for side in SIDES:
            _in_process(side, environment)
        rounds = [{side: _in_process(side, environment) for side in SIDES} for _ in range(arguments.runs)]
    _report(rounds, screen["QT_QPA_PLATFORM"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--screen", action="store_true", help="draw on a real screen, by Xvfb")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def _with_bytecode(screen: dict[str, str], folder: str) -> dict[str, str]:
    """Return an environment in which Python compiles each module once, as it is on every start but the first."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | screen | {"PYTHONPYCACHEPREFIX": folder, "PYTHONPATH": str(ROOT)}


def _in_process(side: str, environment: dict[str, str]) -> dict[str, Any]:
    """Start one process; its clock and ours are the same one, that of the system."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, __file__, "--side", side, "--started", repr(time.monotonic())]
        done = subprocess.run(
            command, env=environment | {"FINETUNE_STUDIO_HOME": home}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _report(rounds: list[dict[str, dict[str, Any]]], platform: str) -> None:
    print(f"{len(rounds)} starts of each on {platform}, taking turns: seconds from process start to first paint")
    for side, title in SIDES.items():
        taken = [each[side]["seconds"] for each in rounds]
        print(f"{title:36} median {statistics.median(taken):.3f}   {min(taken):.3f} to {max(taken):.3f}")
    ratio = statistics.median(each["window"]["seconds"] / each["bare"]["seconds"] for each in rounds)
    print(f"{'Finetune Studio / bare':36} median {ratio:.2f}")
    imported = sorted({name for each in rounds for name in each["window"]["imported"]})
    print(f"Of {', '.join(HEAVY)} imported by the first paint: {', '.join(imported) or 'none'}")


def _open(side: str, started: float) -> None:
    """Open a window, say when its first paint was done and what was imported by then, and end."""
    if side == "window":
        from studio.cli import main as studio  # before Qt, as the program does

    from PySide6.QtCore import QEvent, QObject, QTimer
    from PySide6.QtWidgets import QApplication, QMainWindow
    from typing_extensions import override

    class FirstPaint(QObject):
        """Waits for the first paint event of a main window, and then until it has been dealt with."""

        @override
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            # Every event comes here, and to look at its type takes longer than at the class.
            if isinstance(watched, QMainWindow) and event.type() == QEvent.Type.Paint:
                application.removeEventFilter(self)
                QTimer.singleShot(0, lambda: _painted(started, watched))
            return False

    if side == "window":
        from studio.ui import app

        application = app.make_application()
    else:
        application = QApplication([])
    watch = FirstPaint()
    application.installEventFilter(watch)
    if side == "window":
        sys.exit(studio([]))
    bare = QMainWindow()
    bare.resize(1280, 800)
    bare.show()
    sys.exit(application.exec())


def _painted(started: float, window: Any) -> None:
    seconds = time.monotonic() - started
    result = {"seconds": seconds, "imported": [name for name in HEAVY if name in sys.modules]}
    print(json.dumps(result), file=sys.__stdout__, flush=True)  # the command line keeps stdout for itself
    window.close()


if __name__ == "__main__":
    main()
