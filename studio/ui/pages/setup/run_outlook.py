"""What the run amounts to, before Start: updates, tokens, time, and what of it validation takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFrame, QWidget

from studio.i18n import tr, trn
from studio.runner.speed import MeasuredSpeed
from studio.text import numbers
from studio.text.numbers import brief, count_text, duration_text, share_text, speed_text
from studio.ui.widgets.figure import Figure

if TYPE_CHECKING:
    from studio.runner.forecast_words import Forecast
from studio.ui.widgets.layout import hbox


class RunOutlook(QFrame):
    """Hidden while the rows are not known."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "inset")
        self.setAccessibleName(tr("What the run amounts to"))
        self.figures = {key: Figure(name, tooltip) for key, name, tooltip in _figures()}
        hbox(
            *((figure, 1) for figure in self.figures.values()), spacing=1.5, margins=(1.5, 1.25, 1.5, 1.25), parent=self
        )
        self.hide()

    def show_forecast(self, found: Forecast | None, speed: MeasuredSpeed | None) -> None:
        """Show the figures of a run; without a `speed` that was measured before, its time is not known."""
        self.setVisible(found is not None)
        if found is None:
            return
        epochs = tr("epochs: {epochs}, {updates} each").format(
            epochs=brief(found.updates / found.updates_per_epoch), updates=f"{found.updates_per_epoch:,}"
        )
        self.figures["updates"].set(f"{found.updates:,}", epochs)
        rows = trn("{rows} row an epoch", "{rows} rows an epoch", found.rows).format(rows=f"{found.rows:,}")
        self.figures["tokens"].set(count_text(found.tokens) if found.tokens else numbers.NONE, rows)
        self.figures["time"].set(*_time(found, speed))
        plan = found.validation
        if plan.passes:
            measured = tr("{passes} × {rows} of {held_out} rows").format(
                passes=plan.passes, rows=f"{plan.rows:,}", held_out=f"{found.held_out:,}"
            )
            self.figures["validation"].set(share_text(plan.share, 1.0), measured)
        else:
            self.figures["validation"].set(numbers.NONE, tr("no row is held out"))


def _time(found: Forecast, speed: MeasuredSpeed | None) -> tuple[str, str]:
    if not found.tokens:
        return numbers.NONE, tr("choose a model")
    if speed is None:
        return numbers.NONE, tr("known after the first updates")
    seconds = found.tokens / speed.tokens_per_second / (1 - found.validation.share)
    measured = tr("{speed}, as in {run}").format(speed=speed_text(speed.tokens_per_second), run=speed.run)
    return tr("about {duration}").format(duration=duration_text(seconds)), measured


def _figures() -> tuple[tuple[str, str, str], ...]:
    return (
        ("updates", tr("Updates"), tr("How often the weights are changed, and in how many passes over the rows")),
        ("tokens", tr("Tokens"), tr("Tokens that the run reads to learn from, padding not counted")),
        (
            "time",
            tr("Time"),
            tr(
                "Estimated from the newest run on this computer with the same model, method, precision and storage of "
                "the weights. Where there is none, nobody knows it before the first updates."
            ),
        ),
        (
            "validation",
            tr("Validation"),
            tr(
                "Share of the run in which the held-out rows are measured; a token of theirs counts half, as it is "
                "not learnt from"
            ),
        ),
    )
