"""The precision probe, for window and command line: a process of its own for every precision, one after the other.

So a crash, or a system that ends a process for want of memory, is a row in the table and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import studio
from studio import errors
from studio.config import RunConfig
from studio.engine.control import Progress, no_progress
from studio.engine.precision import PRECISIONS
from studio.engine.probe.recommend import REFERENCE, ProbeRow, judgement, objection, recommend
from studio.errors import StudioError
from studio.i18n import language, tr
from studio.runner import actions
from studio.text.words import stage_text

__all__ = ["DEFAULT_STEPS", "ProbeResult", "ProbeRow", "objection", "precisions_in_order", "probe"]

DEFAULT_STEPS = 3
POLL_SECONDS = 0.1
# `-P` keeps files of the current folder from being taken for modules; the package is found by its own path.
COMMAND: Sequence[str] = (sys.executable, "-P", "-m", "studio.runner.probe_child")


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What the probe found: a row per precision, the one to take (None: none works), and why."""

    rows: tuple[ProbeRow, ...]
    recommended: str | None
    reason: str
    steps: int


def precisions_in_order() -> tuple[str, ...]:
    """Return the names of the precisions as they are probed: fp32 first, which the others are compared with."""
    return (REFERENCE, *(name for name in PRECISIONS.names() if name != REFERENCE))


def probe(
    config: RunConfig,
    steps: int = DEFAULT_STEPS,
    progress: Progress = no_progress,
    see: Callable[[ProbeRow], None] | None = None,
) -> ProbeResult:
    """Do `steps` updates of the run in every precision and compare them; `see` gets each row when it is there.

    Raises:
        StudioError: model, data or method cannot be used, whatever the precision.
        Cancelled: by `progress`; the process at work is then killed.
    """
    info = actions.open_model(config.model.path, progress)
    config = config.model_copy(update={"model": config.model.model_copy(update={"path": str(info.path)})})
    names = precisions_in_order()
    rows = []
    with TemporaryDirectory(prefix="finetune-studio-probe-") as folder:
        for place, name in enumerate(names):
            share = _share(progress, name, place, len(names), steps)
            row = _Child(config, name, steps, Path(folder)).measure(share)
            rows.append(replace(row, sentence=judgement(row)) if row.status == "measured" else row)
            if see is not None:
                see(rows[-1])
    recommended, reason = recommend(rows)
    return ProbeResult(rows=tuple(rows), recommended=recommended, reason=reason, steps=steps)


def _share(progress: Progress, name: str, place: int, count: int, steps: int) -> Progress:
    """One precision's part of the whole: loading counts like an update."""
    title = tr(PRECISIONS.get(name).title)

    def report(stage: str, done: int, total: int) -> None:
        within = 1 + done if stage == "training" else 0
        progress(f"{title} · {stage_text(stage)}", place * (steps + 1) + within, count * (steps + 1))

    return report


class _Child:
    """The process of one precision."""

    def __init__(self, config: RunConfig, name: str, steps: int, folder: Path) -> None:
        self._name = name
        self._told = folder / f"{name}.jsonl"
        self._job = folder / f"{name}.json"
        self._seen = 0
        job = {
            "config": config.model_dump(mode="json", exclude_none=True),
            "precision": name,
            "steps": steps,
            "reference": str(folder / "reference.safetensors"),
            "told": str(self._told),
            "language": language(),
        }
        self._job.write_text(json.dumps(job), encoding="utf-8")

    def measure(self, progress: Progress) -> ProbeRow:
        """Run it to its end and return its row."""
        last: tuple[str, int, int] = ("starting", 0, 0)
        with self._start() as process:
            try:
                progress(*last)
                while not _ended(process):
                    last = [last, *self._reports()][-1]
                    progress(*last)
            except BaseException:
                process.kill()
                raise
        return self._row(process.returncode)

    def _start(self) -> subprocess.Popen[bytes]:
        root = str(Path(studio.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        return subprocess.Popen(
            (*COMMAND, str(self._job)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def _reports(self) -> Iterator[tuple[str, int, int]]:
        """The progress told since the last call."""
        for word, *values in self._lines(self._seen):
            self._seen += 1
            if word == "progress":
                yield values[0], values[1], values[2]

    def _row(self, code: int) -> ProbeRow:
        for word, *values in self._lines(0):
            if word == "row":
                return ProbeRow.from_dict(values[0])
            if word == "refused":
                kind: type[StudioError] = getattr(errors, values[0])
                raise kind(values[1])
        return ProbeRow(precision=self._name, status="failed", sentence=_obituary(code))

    def _lines(self, first: int) -> list[Any]:
        """What was told from a line on; one that is still being written has no end yet."""
        if not self._told.exists():
            return []
        lines = self._told.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines[first:]]


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _obituary(code: int) -> str:
    """Say how a process died that left no word."""
    if code == -getattr(signal, "SIGKILL", 9):
        return tr("The system ended its process, as it does when the memory is used up.")
    if code < 0:
        return tr("Its process crashed ({signal}).").format(signal=signal.Signals(-code).name)
    return tr("Its process ended without a word (exit status {code}).").format(code=code)
