"""What the window takes to open a long run, to list many runs, and to change the page.

    python tests/benchmarks/window_speed.py [--steps 200000] [--folders 2000] [--rounds 5] [--screen]

The journal is one of a run of this many steps, written here; the folders are runs that finished. Each round is a
process of its own. The clock runs from the request until the page has been painted, with everything that it shows.
The pages are made before that, as they are in the program once its window is on the screen. First visits stand apart
from later ones, of which the best of three counts; "what follows" is what a page reads and fills after that, such as a
list of runs. The processor time of the window's thread stands beside: it tells more where other programs run as well.
Goals: a run of 200,000 steps in 3 s, 2,000 folders in 1 s, another page in 50 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONFIG = '[model]\npath = "model"\n[[data.sources]]\npath = "rows.jsonl"\n'


def main() -> None:
    arguments = _arguments()
    if arguments.once:
        print(json.dumps(_measure()), flush=True)
        return
    sys.path.insert(0, str(ROOT))
    from tests.e2e.screen import virtual_screen

    screen = virtual_screen() if arguments.screen else contextlib.nullcontext({"QT_QPA_PLATFORM": "offscreen"})
    with tempfile.TemporaryDirectory() as home, screen as environment:
        _write_runs(Path(home), arguments.steps, arguments.folders)
        rounds = [_in_process(home, environment) for _ in range(arguments.rounds)]
    for name in rounds[0]:
        taken, busy = zip(*(found[name] for found in rounds), strict=True)
        print(
            f"{name:30} median {statistics.median(taken):7.3f} s   {min(taken):.3f} to {max(taken):.3f}   "
            f"window's thread {min(busy):.3f} s"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--folders", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--screen", action="store_true", help="draw on a real screen, by Xvfb")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_process(home: str, environment: dict[str, str]) -> dict[str, list[float]]:
    command = [sys.executable, __file__, "--once"]
    surroundings = os.environ | environment | {"FINETUNE_STUDIO_HOME": home, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, list[float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _write_runs(home: Path, steps: int, folders: int) -> None:
    """Write one long run, whose name is the last one, and many short ones."""
    from studio.runs import create_run

    for number in range(folders):
        _write_events(create_run(home / "runs", f"short-{number}", CONFIG), 5)
    _write_events(create_run(home / "runs", "zz-long", CONFIG), steps)


def _write_events(run: Any, steps: int) -> None:
    from studio.events import RunFinished, RunStarted, StepCompleted, to_json
    from studio.runs import release_lock

    started = RunStarted(
        run=run.name, model="SmolLM2", kind="chat", method="lora", precision="fp16-mixed", device="cpu", versions={}
    )
    finished = RunFinished(
        status="finished", step=steps, update=steps, trainable_parameters=1, total_parameters=1, adapter_bytes=1,
        peak_memory=1, seconds=steps * 0.012,
    )  # fmt: skip
    with run.journal.open("w") as journal:
        journal.write(to_json(started) + "\n")
        for step in range(1, steps + 1):
            event = StepCompleted(
                step=step, update=step, epoch=step / steps, loss=1 + 2 * math.exp(-step / steps) + math.sin(step) / 9,
                learning_rate=1e-4, grad_norm=1 + math.cos(step) / 2, grad_scale=65536.0, skipped=False,
                tokens=900 + step % 7, supervised_tokens=300, micro_batches=1, seconds=0.012,
            )  # fmt: skip
            journal.write(to_json(event) + "\n")
        journal.write(to_json(finished) + "\n")
    run.write_state("finished")
    release_lock(run.path)


def _measure() -> dict[str, tuple[float, float]]:
    """Return wall time and processor time of the window's thread, in seconds."""
    from PySide6.QtCore import QEventLoop

    from studio.runs import RunFolder
    from studio.ui import app, theme
    from studio.ui.actions import PAGES
    from studio.ui.bridge import AppContext
    from studio.ui.first_paint import FirstPaint
    from studio.ui.job import Job
    from studio.ui.main_window import MainWindow
    from studio.ui.plain_text import PlainText
    from studio.ui.settings import Settings

    application, settings = app.make_application(), Settings()
    theme.install(application, settings.theme)
    PlainText(application)
    context = AppContext(settings, parent=application)
    window = MainWindow(context)
    window.resize(1280, 800)
    window.show()

    def wait(done: Callable[[], bool]) -> None:
        while not done():  # it waits as the window does: a busy loop would take the interpreter from the readers
            application.processEvents(
                QEventLoop.ProcessEventsFlag.AllEvents | QEventLoop.ProcessEventsFlag.WaitForMoreEvents
            )

    def seconds(act: Callable[[], None], done: Callable[[], bool]) -> tuple[float, float]:
        began, busy = time.perf_counter(), time.thread_time()
        act()
        wait(done)
        application.processEvents()
        return time.perf_counter() - began, time.thread_time() - busy

    def shown(page: str) -> tuple[float, float]:
        painted: list[bool] = []
        FirstPaint(window.pages[page]).done.connect(lambda: painted.append(True))
        return seconds(lambda: window.go_to(page), lambda: bool(painted))

    def settle() -> None:
        jobs = window.findChildren(Job)
        wait(lambda: not any(job.running for job in jobs))

    window.prepare_pages()
    wait(lambda: len(window.pages) == len(PAGES))
    (long,) = context.runs_root.glob("*zz-long*")
    folders = len(list(context.runs_root.iterdir()))

    def is_listed() -> bool:
        return _runs_page(window).model.rowCount() == folders

    def is_open() -> bool:
        return context.record is not None and context.record.folder == RunFolder(long) and context.record.state.ended

    found = {"many runs listed": seconds(lambda: window.go_to("runs"), is_listed)}
    settle()
    window.go_to("setup")
    found["a long run opened"] = seconds(lambda: _runs_page(window).show_run(RunFolder(long)), is_open)
    visits: dict[str, list[tuple[float, float]]] = {page: [] for page in PAGES}
    following: dict[str, list[tuple[float, float]]] = {page: [] for page in PAGES}
    for _ in range(4):
        for page in PAGES:
            visits[page].append(shown(page))
            following[page].append(seconds(settle, lambda: True))
    for page, (first, *later) in visits.items():
        if page not in ("setup", "train", "runs"):  # which were shown before
            found[f"page {page}, first"] = first
        found[f"page {page}"] = min(later)
        found[f"page {page}, what follows"] = min(following[page][1:])
    context.cancel_all()
    context.join()
    window.close()
    return found


def _runs_page(window: Any) -> Any:
    return window.pages["runs"]


if __name__ == "__main__":
    main()
