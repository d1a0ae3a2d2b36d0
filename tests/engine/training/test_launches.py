"""What an update asks of a GPU: one wait, however many micro-batches, and nothing for steps that nobody looks at."""

from __future__ import annotations

from studio.engine.training.monitor import NumericsMonitor
from studio.engine.training.trainer import StepObserver
from tests.launches import Launches, as_on_a_gpu
from tests.tiny import bench, rows


def _second_update(observed: bool) -> Launches:
    chosen = rows(8)
    with as_on_a_gpu() as launches:
        tiny = bench({"name": "lora", "rank": 4, "dropout": 0.1}, {"name": "bf16-mixed"})
        observer: StepObserver = NumericsMonitor(tiny.trainer, lambda event: None) if observed else StepObserver()
        for _ in range(2):  # the first one is looked at, and gives the optimizer its states
            launches.reset()
            attempt = tiny.update(chosen, token_budget=60, observer=observer)
    assert len(attempt.batches) > 2
    return launches


def test_an_update_waits_for_the_device_once_and_a_step_that_nobody_looks_at_costs_nothing() -> None:
    plain, observed = (_second_update(observed) for observed in (False, True))
    assert +plain.waits == {"tolist": 1}
    assert observed.waits == plain.waits
    assert observed.names == plain.names
