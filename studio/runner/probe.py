"""The precision probe, for window and command line. It measures each precision in a process of its own, one at a time.

So a crash, or a process that the system kills because memory is used up, only becomes a row of the table.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from studio.config import RunConfig, parse_config
from studio.engine.child import ChildFailed, run_in_child
from studio.engine.control import Progress, no_progress
from studio.engine.precision import PRECISIONS
from studio.engine.probe.recommend import REFERENCE, ProbeRow, judgement, objection, recommend
from studio.errors import StudioError, is_out_of_memory
from studio.i18n import tr
from studio.runner import actions
from studio.text.words import stage_text

__all__ = ["DEFAULT_STEPS", "ProbeResult", "ProbeRow", "objection", "precisions_in_order", "probe"]

log = logging.getLogger(__name__)

DEFAULT_STEPS = 3


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
            row = _measure_in_child(config, name, steps, folder, share)
            rows.append(replace(row, sentence=judgement(row)) if row.status == "measured" else row)
            if see is not None:
                see(rows[-1])
    recommended, reason = recommend(rows)
    return ProbeResult(rows=tuple(rows), recommended=recommended, reason=reason, steps=steps)


def _share(progress: Progress, name: str, place: int, count: int, steps: int) -> Progress:
    """Return the progress function of one precision; loading counts as one update."""
    title = tr(PRECISIONS.get(name).title)

    def report(stage: str, done: int, total: int) -> None:
        within = 1 + done if stage == "training" else 0
        progress(f"{title} · {stage_text(stage)}", place * (steps + 1) + within, count * (steps + 1))

    return report


def _measure_in_child(config: RunConfig, name: str, steps: int, folder: str, progress: Progress) -> ProbeRow:
    job = {
        "config": config.model_dump(mode="json", exclude_none=True),
        "precision": name,
        "steps": steps,
        "reference": str(Path(folder, "reference.safetensors")),
    }
    try:
        return ProbeRow.from_dict(run_in_child(_measure, job, progress))
    except ChildFailed as error:
        log.warning("The probe of %s ended with %d: %s", name, error.code, error)
        return ProbeRow(precision=name, status="failed", sentence=_exit_sentence(error.code))


def _measure(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Measure one precision, in the child, and return its row."""
    name = job["precision"]
    try:
        from studio.engine.probe.measure import measure

        row = measure(parse_config(job["config"]), name, job["steps"], Path(job["reference"]), progress)
    except StudioError:
        raise
    except Exception as error:
        log.exception("The probe of %s failed", name)
        row = ProbeRow(precision=name, status="failed", sentence=_sentence(error))
    return dataclasses.asdict(row)


def _sentence(error: Exception) -> str:
    if is_out_of_memory(error):
        return tr("The memory was not enough.")
    reason = str(error).split("\n")[0][:200].rstrip(".")
    return tr("An unexpected {kind}: {reason}. The log has the details.").format(
        kind=type(error).__name__, reason=reason
    )


def _exit_sentence(code: int) -> str:
    """Say how a process ended that sent no result."""
    if code == -getattr(signal, "SIGKILL", 9):
        return tr("The system ended its process, as it does when the memory is used up.")
    if code < 0:
        return tr("Its process crashed ({signal}).").format(signal=signal.Signals(-code).name)
    return tr("Its process ended without a word (exit status {code}).").format(code=code)
