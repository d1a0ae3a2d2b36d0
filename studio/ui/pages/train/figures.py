"""The key figures of a run in one quiet strip."""

from __future__ import annotations

import math

from PySide6.QtWidgets import QFrame, QWidget

from studio.config.retention import KEPT, MOSTLY_KEPT
from studio.i18n import gettext_noop, tr
from studio.runner.memory_words import memory_text
from studio.runner.state import RunState
from studio.text import numbers
from studio.text.numbers import duration_text, size_text
from studio.text.retention import retention_share
from studio.text.words import stage_text, status_text
from studio.ui import theme
from studio.ui.plots.scale import scale_figure
from studio.ui.widgets.figure import LEAST, Figure
from studio.ui.widgets.flow import flow
from studio.ui.widgets.verdict import Level

# More skipped steps than this share are no longer the search for a scale (FIELD: chronic overflow).
CHRONIC = 0.05
_MEMORY = gettext_noop("The most that was held as the longest rows were tried, before the first step")
_RETENTION = gettext_noop(
    "The base's perplexity on general texts, divided by the model's: 100 % is as good as before, less is forgetting. "
    "KL is how far its predictions have moved from the base's, in nats a token"
)
# Shares of the room, in the order of the figures: no words are cut at 1024 pixels.
_WIDTHS = (9, 6, 8, 6, 7, 8, 5, 7, 7)
_LEVELS: dict[str, Level] = {"finished": "good", "failed": "bad", "paused": "warning", "interrupted": "warning"}


class KeyFigures(QFrame):
    """Status, losses, gradient scale, skipped steps, speed, memory and time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setAccessibleName(tr("Key figures"))
        self.figures = {key: Figure(name, tooltip) for key, name, tooltip in _figures()}
        least = theme.characters(LEAST)
        parts = ((figure, width, least) for figure, width in zip(self.figures.values(), _WIDTHS, strict=True))
        flow(*parts, spacing=1.5, margins=(2, 1.25, 2, 1.25), even=True, parent=self)

    def show_state(self, state: RunState) -> None:
        """Show a run as it stands."""
        show = {key: figure.set for key, figure in self.figures.items()}
        epoch = tr("epoch {epoch}").format(epoch=f"{state.epoch:.2f}") if state.step else ""
        show["status"](status_text(state.status), _progress(state), _LEVELS.get(state.status))
        show["loss"](numbers.number(state.loss), epoch, _finite_level(state.loss))
        show["validation"](numbers.number(state.validation_loss), *_change(state))
        show["retention"](*_retention(state))
        # There is no room for both at 1024 pixels; speed has a chart of its own.
        self.figures["retention"].setVisible(state.retention is not None)
        self.figures["speed"].setVisible(state.retention is None)
        show["scale"](*scale_figure(state))
        show["skipped"](*_skipped(state))
        show["speed"](numbers.whole(state.tokens_per_second), tr("tokens/s") if state.tokens_per_second else "")
        show["memory"](*_memory(state))
        self.figures["memory"].setToolTip(memory_text(state) or tr(_MEMORY))
        left = "" if state.eta_seconds is None else tr("{time} left").format(time=duration_text(state.eta_seconds))
        show["time"](duration_text(state.seconds), left)


def _figures() -> tuple[tuple[str, str, str], ...]:
    return (
        ("status", tr("Status"), tr("What the run is doing")),
        ("loss", tr("Loss"), tr("Training loss of the newest step, as computed: neither smoothed nor filtered")),
        ("validation", tr("Validation loss"), tr("Loss on the held-out rows, and how it changed since the start")),
        ("retention", tr("Retention"), tr(_RETENTION)),
        ("scale", tr("Gradient scale"), tr("What the loss is multiplied by so that small fp16 gradients survive")),
        ("skipped", tr("Skipped"), tr("Steps that were not applied because a gradient was not finite")),
        ("speed", tr("Speed"), tr("Tokens read a second, over the last steps")),
        ("memory", tr("Memory"), tr(_MEMORY)),
        ("time", tr("Time"), tr("Time since the start, without pauses; what is left is estimated from the last steps")),
    )


def _progress(state: RunState) -> str:
    if state.stage and state.stage != "training" and not state.ended:
        return stage_text(state.stage)
    if not state.planned_updates:
        return ""
    return tr("update {update} of {planned}").format(update=f"{state.update:,}", planned=f"{state.planned_updates:,}")


def _finite_level(value: float | None) -> Level | None:
    return "bad" if value is not None and not math.isfinite(value) else None


def _change(state: RunState) -> tuple[str, Level | None]:
    now, first = state.validation_loss, state.first_validation_loss
    if now is None or first is None or not math.isfinite(now - first):
        return "", _finite_level(now)
    if now == first:
        return tr("at the start"), None
    return tr("{change} since start").format(change=numbers.signed(now - first)), "good" if now < first else "warning"


def _retention(state: RunState) -> tuple[str, str, Level | None]:
    if state.retention is None:
        return numbers.NONE, "", None
    level: Level | None = None
    if not state.retention >= MOSTLY_KEPT:
        level = "bad"
    elif state.retention < KEPT:
        level = "warning"
    return retention_share(state.retention), tr("KL {kl}").format(kl=numbers.number(state.kl, 2)), level


def _skipped(state: RunState) -> tuple[str, str, Level | None]:
    if not state.step:
        return numbers.NONE, "", None
    chronic = state.step >= 100 and state.skipped_steps > CHRONIC * state.step
    detail = tr("of {attempted} attempted").format(attempted=f"{state.step:,}")
    return f"{state.skipped_steps:,}", detail, "warning" if chronic else None


def _memory(state: RunState) -> tuple[str, str, Level | None]:
    measured, shrunk = state.memory, state.shrunk
    if shrunk is not None and shrunk.during != "trial":
        detail = tr("{tokens} tokens at a time").format(tokens=f"{shrunk.tokens:,}")
    elif measured is not None:
        detail = tr("{rows} × {length} tokens").format(rows=measured.rows, length=f"{measured.length:,}")
    else:
        detail = ""
    return size_text(measured.peak) if measured else numbers.NONE, detail, "warning" if shrunk else None
