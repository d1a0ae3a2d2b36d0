"""What the Train page shows of a run, held against the run's journal."""

from __future__ import annotations

import itertools
import math

import numpy as np
from pytestqt.qtbot import QtBot

from studio.events import StepCompleted
from studio.runs import read_journal
from studio.ui.main_window import MainWindow
from studio.ui.plots.lane.events import SKIPPED
from studio.ui.plots.line_chart import LineChart


def journalled_steps(window: MainWindow) -> list[StepCompleted]:
    """Return every attempted step of the run that is shown, as its journal has it."""
    record = window.context.record
    assert record is not None
    assert record.folder is not None
    return [event for event in read_journal(record.folder.journal) if isinstance(event, StepCompleted)]


def wait_for_the_end(window: MainWindow, qtbot: QtBot, minutes: float) -> None:
    """Wait until the run has ended and its last step is drawn and counted.

    A chart may draw a new step before the page's pace comes round to the words below it.
    """
    context = window.context
    qtbot.waitUntil(lambda: context.record is not None and context.record.state.ended, timeout=round(minutes * 60_000))
    plots = window.pages["train"].plots
    qtbot.waitUntil(
        lambda: all(drawn_to(chart, context.record.state.step) for chart in (plots.loss, plots.scale)), timeout=60_000
    )
    qtbot.waitUntil(lambda: f" of {context.record.state.step:,} attempted" in plots.counts.whole_text, timeout=60_000)


def drawn_to(chart: LineChart, step: int) -> bool:
    """Return whether a chart shows a step: it draws some time after it heard of one."""
    x, _ = chart.curves[0].item.getData()
    return x is not None and len(x) > 0 and x[-1] >= step


def assert_the_page_shows_every_step(window: MainWindow, steps: list[StepCompleted]) -> None:
    """Losses, the halving scale and each skipped step: none is lost between the journal and what is drawn."""
    plots = window.pages["train"].plots
    raw = plots.loss.curves[0].series
    assert list(raw.x) == [step.step for step in steps]
    np.testing.assert_array_equal(raw.y, [step.loss for step in steps])

    x, height = plots.scale.curves[0].item.getData()
    drawn = dict(zip(x, height, strict=True))
    assert all(math.isclose(drawn[step.step], math.log2(step.grad_scale)) for step in steps)

    skipped = [step.step for step in steps if step.skipped]
    assert list(plots.lane.marks.in_row(SKIPPED)) == skipped
    ticks = plots.lane.overlay.tick_pixels()
    assert all(np.abs(ticks - plots.lane.view.pixel_of(step)).min() <= 1 for step in skipped)
    assert plots.counts.whole_text.startswith(f"{len(skipped)} skipped of {len(steps)} attempted")
    assert window.pages["train"].figures.figures["skipped"].text == (
        f"Skipped: {len(skipped)} of {len(steps)} attempted"
    )


def assert_skipped_steps_change_nothing(steps: list[StepCompleted]) -> None:
    """A skipped step halves the scale; updates, learning rate and rows wait for the step that is applied."""
    for step, following in itertools.pairwise(steps):
        assert following.update == step.update + (not following.skipped)
        if step.skipped:
            assert following.grad_scale == step.grad_scale / 2
            assert following.learning_rate == step.learning_rate
            assert (following.tokens, following.supervised_tokens) == (step.tokens, step.supervised_tokens)
