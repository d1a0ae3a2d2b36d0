"""The self-test: some seconds of training on the starter model, which tell whether training works on this computer."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from studio import __version__
from studio.config import RunConfig, parse_config
from studio.engine.control import Progress, no_progress
from studio.errors import Cancelled
from studio.files import is_file
from studio.i18n import tr
from studio.paths import home, resource
from studio.runner import actions
from studio.runs.files import write_atomically
from studio.text.numbers import number

if TYPE_CHECKING:
    from studio.runner.controller import Controller
    from studio.runner.record import RunRecord

log = logging.getLogger(__name__)

SECONDS = 20.0
PATIENCE = 6  # so many times as long is waited on a slow or busy computer for the fewest steps
FEWEST = 4  # steps: with fewer no fall of the loss can be told
POLL_SECONDS = 0.1
RECORD = "self-test.json"  # in the data folder: that it has passed
ROWS = 2


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """What the self-test found. Losses are the means of its first and its last third; None with too few steps."""

    record: RunRecord
    passed: bool
    sentence: str
    first: float | None = None
    last: float | None = None


def self_test(progress: Progress = no_progress, seconds: float = SECONDS) -> SelfTest:
    """Train the starter model for some seconds on the same rows, whose loss must then fall; nothing is kept.

    Raises:
        ModelError: the starter model is not here and cannot be downloaded.
        Cancelled: by `progress`.
    """
    model = actions.fetch_starter(progress)
    with TemporaryDirectory(prefix="finetune-studio-") as folder:
        record = _train(_config(model, _rows(Path(folder))), Path(folder), seconds, progress)
    found = judge(record)
    if found.passed:
        _remember(found)
    return found


def has_passed() -> bool:
    """Return whether a self-test has passed on this computer: in the window, or at the end of the installation."""
    return is_file(home() / RECORD)


def _remember(found: SelfTest) -> None:
    text = json.dumps({"version": __version__, "time": time.time(), "first": found.first, "last": found.last})
    try:
        home().mkdir(parents=True, exist_ok=True)
        write_atomically(home() / RECORD, text + "\n")
    except OSError as error:
        log.warning("That the self-test has passed cannot be remembered: %s", error)


def _rows(folder: Path) -> Path:
    """Write the shortest sample rows, so that a step is quick on a processor too; return the file."""
    lines = resource("samples", "fine-tuning-en.jsonl").read_text(encoding="utf-8").splitlines()
    file = folder / "rows.jsonl"
    file.write_text("\n".join(sorted(lines, key=len)[:ROWS]) + "\n", encoding="utf-8")
    return file


def _config(model: Path, rows: Path) -> RunConfig:
    return parse_config(
        {
            "model": {"path": str(model)},
            "data": {"sources": [{"path": str(rows)}], "validation_fraction": 0.0},
            "method": {"name": "lora", "rank": 8},
            "training": {
                "max_steps": 10_000,
                "batch_size": ROWS,
                "learning_rate": 1e-3,
                "schedule": "constant",
                "warmup_ratio": 0.0,
            },
            "retention": {"measure": False},
            "checkpoints": {"every_minutes": 0.0},
        }
    )


def _train(config: RunConfig, root: Path, seconds: float, progress: Progress) -> RunRecord:
    """Train until so many seconds have gone since the first step, and the fewest steps were made."""
    from studio.runner.controller import Controller
    from studio.runner.record import RunRecord

    controller = Controller()
    record = RunRecord(controller.start(config, root))
    began: float | None = None
    try:
        while not controller.join(POLL_SECONDS):
            _read(controller, record)
            if record.state.step and began is None:
                began = time.monotonic()
            gone = time.monotonic() - began if began is not None else 0.0
            if began is None:
                progress(record.state.stage or "starting", record.state.done, record.state.total)
            elif gone < seconds or (record.state.step < FEWEST and gone < PATIENCE * seconds):
                progress("training", min(int(gone), int(seconds)), int(seconds))
            elif not controller.stopping:
                controller.stop(save=False)
    except Cancelled:
        controller.stop(save=False)
        controller.join()
        raise
    _read(controller, record)
    return record


def _read(controller: Controller, record: RunRecord) -> None:
    for update in controller.poll():
        record.apply(update)


def judge(record: RunRecord) -> SelfTest:
    """Return whether a run trained, and whether its loss fell."""
    state, losses = record.state, record.series["loss"].y
    if state.status not in ("stopped", "finished"):
        return SelfTest(record=record, passed=False, sentence=state.sentence or tr("The run ended without a reason."))
    if len(losses) < FEWEST:
        words = tr("Training works here, but too slowly to see the loss fall; steps in that time: {steps}.")
        return SelfTest(record=record, passed=True, sentence=words.format(steps=len(losses)))
    third = max(1, len(losses) // 3)
    first, last = float(losses[:third].mean()), float(losses[-third:].mean())
    passed = last < first  # not so either where one is not a number
    words = (
        tr("Training works here: in {steps} steps the loss fell from {first} to {last}.")
        if passed
        else tr("The loss did not fall: in {steps} steps it went from {first} to {last}. Something is wrong here.")
    )
    sentence = words.format(steps=len(losses), first=number(first), last=number(last))
    return SelfTest(record=record, passed=passed, sentence=sentence, first=first, last=last)
