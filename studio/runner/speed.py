"""How fast training was on this machine before: read from the journals of earlier runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.errors import StudioError
from studio.events import RunEvent, RunFinished, RunStarted, StepCompleted, from_json
from studio.files import is_file, open_regular
from studio.runs import RunFolder, list_runs

log = logging.getLogger(__name__)

# Updates at the beginning of a run in which memory is allocated and kernels are chosen.
WARM_UP = 3
# Bytes at the end of a journal that are read; a line about the numerics has tens of thousands.
_TAIL = 4_000_000
_RUNS = 200  # the newest ones, which are looked at


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What decides the speed: runs that agree in all of it are comparable.

    Attributes:
        trainable_parameters, total_parameters: the shape of the model and of what is trained.
        base_dtype: how frozen weights are stored.
        device: its type: cpu, cuda or mps.
    """

    method: str
    precision: str
    base_dtype: str
    device: str
    trainable_parameters: int
    total_parameters: int


@dataclass(frozen=True, kw_only=True)
class MeasuredSpeed:
    """Tokens a second of the updates of an earlier run, padding not counted, and the name of the run."""

    tokens_per_second: float
    run: str


def measured_speed(root: Path, setup: Setup) -> MeasuredSpeed | None:
    """Return the speed of the newest ended run below `root` that had the same setup; None where there is none."""
    for folder in list_runs(root)[:_RUNS]:
        try:
            if speed := _speed(folder, setup):
                return MeasuredSpeed(tokens_per_second=speed, run=folder.name)
        except (OSError, StudioError) as error:
            log.info("The speed of %s is not known: %s", folder.path, error)
    return None


def _speed(folder: RunFolder, setup: Setup) -> float | None:
    state = folder.read_state()
    named = (state.get("method"), state.get("precision"), state.get("base_dtype"))
    if named != (setup.method, setup.precision, setup.base_dtype) or not is_file(folder.journal):
        return None
    steps: list[StepCompleted] = []
    alike = False
    for event in _events(folder.journal):
        if isinstance(event, RunStarted) and event.device.partition(":")[0] != setup.device:
            return None
        if isinstance(event, StepCompleted) and event.step > WARM_UP and not event.skipped:
            steps.append(event)
        if isinstance(event, RunFinished):
            counts = (event.trainable_parameters, event.total_parameters)
            alike = counts == (setup.trainable_parameters, setup.total_parameters)
    seconds = sum(step.seconds for step in steps)
    return sum(step.tokens for step in steps) / seconds if alike and seconds else None


def _events(journal: Path) -> Iterator[RunEvent]:
    """Yield the start of a run, and its steps and end as far as the last bytes of the journal have them."""
    wanted = tuple(f'{{"type": "{kind.type}"'.encode() for kind in (RunStarted, StepCompleted, RunFinished))
    with open_regular(journal) as file:
        first = file.readline(_TAIL)
        lines = [first]
        file.seek(max(file.tell(), journal.stat().st_size - _TAIL))
        lines += file.read(_TAIL).splitlines()
    for line in lines:
        if line.startswith(wanted):
            try:
                yield from_json(line)
            except ValueError:
                continue  # cut short by a crash
