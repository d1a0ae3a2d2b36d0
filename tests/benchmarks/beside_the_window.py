"""What the open window costs the training: step time with the Train page drawing, against headless.

    python tests/benchmarks/beside_the_window.py [--pairs 5] [--steps 12] [--fast-steps 1000] [--screen] [--model DIR]

Needs the starter model. Two cases: the starter model with LoRA in bf16-mixed on the English sample, which is what
people do (target: within 5 %), and a tiny model with some hundred steps a second, where every step is an event and a
point on the plots. The first shows the Train page, the second the Numerics page. Every run is a process of its own, with the same configuration and seed; the two sides of a pair follow
each other, and the pairs take turns in their order, so that a drifting machine meets both alike. A pair's ratio is that
of the time from the end of the first step to the end of the last. `--screen` draws on a real X11 screen (Xvfb), whose
own work then counts as well.

It also says whether both sides computed the same losses, and whether the plots hold every step of the journal, and
the Numerics page every sample.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "resources" / "samples" / "fine-tuning-en.jsonl"
SIDES = ("headless", "window")
TARGET = 1.05
AFTER_THE_END = 1000  # milliseconds, for the last step to be drawn


@dataclass(frozen=True)
class Case:
    """What is trained, and the page that is open; `fast`: a row a step, on one core, so that the steps are many."""

    title: str
    model: str
    data: str
    steps: int
    fast: bool = False


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        case = Case("", arguments.model, arguments.data, arguments.steps, arguments.fast)
        print(json.dumps(_measure(arguments.side, case)))
        return
    sys.path.insert(0, str(ROOT))
    from tests.e2e.screen import virtual_screen

    with (
        tempfile.TemporaryDirectory() as folder,
        virtual_screen() if arguments.screen else contextlib.nullcontext({"QT_QPA_PLATFORM": "offscreen"}) as screen,
    ):
        for case in _cases(arguments, Path(folder)):
            print(f"\n{case.title}, {case.steps} steps, the window on {screen['QT_QPA_PLATFORM']}", flush=True)
            pairs = [_pair(case, screen, number) for number in range(arguments.pairs)]
            _report(pairs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="of the starter model; 0 leaves it out")
    parser.add_argument("--fast-steps", type=int, default=1000, help="of the tiny model; 0 leaves it out")
    parser.add_argument("--screen", action="store_true", help="draw on a real screen, by Xvfb")
    parser.add_argument("--model", default="", help="default: the starter model")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--fast", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _cases(arguments: argparse.Namespace, folder: Path) -> list[Case]:
    cases = []
    if arguments.steps:
        model = arguments.model or _starter()
        cases.append(Case(f"{Path(model).name}, LoRA, bf16-mixed", model, str(SAMPLE), arguments.steps))
    if arguments.fast_steps:
        from tests.tiny import save_model, save_rows

        model, rows = save_model(folder / "tiny"), save_rows(folder / "sums.jsonl", 200)
        cases.append(Case("A tiny model, LoRA, fp16-mixed", str(model), str(rows), arguments.fast_steps, fast=True))
    return cases


def _starter() -> str:
    from studio.runner.actions import starter_folder

    folder = starter_folder()
    if folder is None:
        sys.exit("Fetch the starter model first: finetune-studio starter")
    return str(folder)


def _pair(case: Case, screen: dict[str, str], number: int) -> dict[str, dict[str, Any]]:
    order = SIDES if number % 2 == 0 else SIDES[::-1]
    pair = {side: _in_process(side, case, screen) for side in order}
    headless, window = pair["headless"]["step_seconds"], pair["window"]["step_seconds"]
    print(
        f"headless {headless:.4f} s a step, window {window:.4f} s a step, ratio {window / headless:.3f}; "
        f"{order[0]} first, the charts drawn {pair['window']['drawn']} times",
        flush=True,
    )
    return pair


def _in_process(side: str, case: Case, screen: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--model", case.model, "--data", case.data]
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | screen | {"FINETUNE_STUDIO_HOME": home, "PYTHONPATH": str(ROOT)}
        environment |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        command += ["--steps", str(case.steps)]
        if case.fast:
            command.append("--fast")
            environment["OMP_NUM_THREADS"] = "1"
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _report(pairs: list[dict[str, dict[str, Any]]]) -> None:
    ratios = [pair["window"]["step_seconds"] / pair["headless"]["step_seconds"] for pair in pairs]
    median = statistics.median(ratios)
    verdict = "within" if median <= TARGET else "beyond"
    print(
        f"window / headless: median {median:.3f} of {len(ratios)} pairs ({min(ratios):.3f} to {max(ratios):.3f}), "
        f"{verdict} the target of {TARGET:.2f}"
    )
    same = all(pair["window"]["losses"] == pair["headless"]["losses"] for pair in pairs)
    print(f"The same losses on both sides, bit for bit: {'yes' if same else 'no'}")
    steps, lost = (sum(pair["window"][figure] for pair in pairs) for figure in ("steps", "lost"))
    print(f"Steps in the journals: {steps}, not on the plots as they were: {lost}")
    samples, lost = (sum(pair["window"][figure] for pair in pairs) for figure in ("samples", "samples_lost"))
    print(f"Samples of the numerics in the journals: {samples}, not on the page as they were: {lost}")


def _measure(side: str, case: Case) -> dict[str, Any]:
    from studio.events import NumericsSampled, StepCompleted
    from studio.runs import read_journal

    run = _with_window if side == "window" else _headless
    with tempfile.TemporaryDirectory() as root:
        folder, result = run(case, Path(root))
        events = list(read_journal(folder.journal))
    steps = [event for event in events if isinstance(event, StepCompleted)]
    samples = [_key(event) for event in events if isinstance(event, NumericsSampled)]
    if side == "window":
        result["lost"] = len(steps) - len(set(result.pop("plotted")) & {(step.step, step.loss) for step in steps})
        result["samples"] = len(samples)
        result["samples_lost"] = len(set(samples) - set(map(tuple, result.pop("shown"))))
    # The times of the journal, because they hold what lies between two steps as well.
    seconds = (steps[-1].time - steps[0].time) / (len(steps) - 1)
    return result | {"step_seconds": seconds, "steps": len(steps), "losses": [step.loss for step in steps]}


def _config(case: Case) -> Any:
    from studio.config import parse_config

    return parse_config(
        {
            "model": {"path": case.model, "kind": "chat"},
            "data": {"sources": [{"path": case.data}], "validation_fraction": 0.0},
            "method": {"name": "lora"},
            "precision": {"name": "fp16-mixed" if case.fast else "bf16-mixed"},
            "training": {"max_steps": case.steps} | ({"batch_size": 1} if case.fast else {}),
        }
    )


def _headless(case: Case, root: Path) -> tuple[Any, dict[str, Any]]:
    """Train as `finetune-studio train` does."""
    from studio.commands.train import POLL_SECONDS
    from studio.runner.controller import Controller
    from studio.runner.record import RunRecord

    controller = Controller()
    folder = controller.start(_config(case), root)
    record = RunRecord(folder)
    ended = False
    while not ended:
        ended = controller.join(POLL_SECONDS)
        for update in controller.poll():
            record.apply(update)
    _must_have_finished(record)
    return folder, {}


def _with_window(case: Case, root: Path) -> tuple[Any, dict[str, Any]]:
    """Train as the window does, with a page in view; the window closes itself once the last step is drawn."""
    from PySide6.QtCore import QTimer

    from studio.ui import app, theme
    from studio.ui.app import MainThreadCollector
    from studio.ui.bridge import AppContext
    from studio.ui.main_window import MainWindow
    from studio.ui.settings import Settings

    application = app.make_application()
    settings = Settings(root / "settings.ini")
    settings.runs_root = root / "runs"
    theme.install(application, "light")
    MainThreadCollector(application)
    context = AppContext(settings, parent=application)
    window = MainWindow(context)
    window.resize(1280, 800)
    window.show()
    context.start_run(_config(case))
    window.go_to("train")  # a page is made when it is first shown
    if case.fast:
        window.go_to("numerics")
    plots = window.pages["train"].plots
    drawn = _count_draws(window.pages["numerics"].scale.chart if case.fast else plots.loss)

    def end_if_ended() -> None:
        if not context.controller.running:
            QTimer.singleShot(AFTER_THE_END, application.quit)

    context.run_state_changed.connect(end_if_ended)
    application.exec()
    record = context.live
    context.join()
    _must_have_finished(record)
    window.go_to("train")
    raw = plots.loss.raw.series
    return record.folder, {
        "drawn": len(drawn),
        "plotted": list(zip(map(int, raw.x), map(float, raw.y), strict=True)),
        "shown": [_key(sample) for sample in record.samples],
    }


def _key(sample: Any) -> tuple[int, str, float]:
    """What tells a sample from all others."""
    return sample.step, sample.because, sample.products_largest


def _count_draws(chart: Any) -> list[None]:
    """Return a list that grows by one with every drawing of a chart."""
    drawn: list[None] = []
    draw = chart.draw

    def counted() -> None:
        drawn.append(None)
        draw()

    chart.draw = counted
    return drawn


def _must_have_finished(record: Any) -> None:
    if record.state.status != "finished" or not math.isfinite(record.state.loss):
        raise RuntimeError(f"The run ended as {record.state.status}: {record.state.sentence}")


if __name__ == "__main__":
    main()
