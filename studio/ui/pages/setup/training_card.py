"""The Training card: how long, how large the steps, and whether it fits into the memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from PySide6.QtWidgets import QWidget

from studio.config import (
    CheckpointsConfig,
    NumericsConfig,
    RetentionConfig,
    Section,
    TrainingConfig,
    option,
)
from studio.engine.methods import METHODS, Method
from studio.i18n import sentences, tr
from studio.runner.actions import Estimate
from studio.runner.controller import Where
from studio.runner.forecast_words import rate_warning
from studio.text.numbers import size_text
from studio.text.words import PLACES
from studio.ui.bridge import AppContext
from studio.ui.forms.editors import LinesEditor
from studio.ui.forms.form import Form
from studio.ui.forms.numbers import number_text
from studio.ui.forms.offer_editor import OfferEditor, devices
from studio.ui.pages.setup.run_editor import RunEditor
from studio.ui.pages.setup.run_outlook import RunOutlook
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.widgets.memory_bar import MemoryBar
from studio.ui.widgets.segmented import Segmented


class Place(Section):
    """Where a run lives."""

    where: Where = option(
        "thread",
        "Where the run lives",
        "In the window it starts at once, and ends with it. In its own process it starts some seconds later, outlives "
        "the window and a crash, and is found again. On all GPUs, too; these share the rows of each update.",
        labels=PLACES,
    )


class TrainingCard(SectionCard):
    """The form of `[training]` below the memory estimate, and those of the sections that go with it.

    `place` is no section of the configuration: where a run lives does not change what it learns.
    """

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__("training", tr("Training"), parent)
        self.form = Form(
            TrainingConfig,
            editors={"start_from": partial(RunEditor, context), "device": partial(OfferEditor, devices(0))},
        )
        self.place = Form(Place)
        self.place.set_values({"where": context.settings.where})
        cast(Segmented, self.place.rows["where"].editor.main).offer("gpus", "")  # until they are counted
        self.checkpoints = Form(CheckpointsConfig, more=tr("Checkpoints"))
        self.retention = Form(RetentionConfig, editors={"prompts": LinesEditor}, more=tr("What is measured, and asked"))
        self.numerics = Form(NumericsConfig, more=tr("Recording of the numerics"))
        self.memory = MemoryBar()
        self.outlook = RunOutlook()
        self.sections = {"retention": self.retention, "checkpoints": self.checkpoints, "numerics": self.numerics}
        for part in (self.memory, self.outlook, self.form, self.place, *self.sections.values()):
            self.body.addWidget(part)
        self._suggested = TrainingConfig().learning_rate
        self._gpus = 0
        self.form.changed.connect(self.changed)
        self.place.changed.connect(lambda: setattr(context.settings, "where", self.place.values()["where"]))
        self.place.changed.connect(self.changed)  # several GPUs may have room for what one has not
        for form in self.sections.values():
            form.changed.connect(self.changed)

    def values(self) -> dict[str, Any]:
        return self.form.values()

    def set_values(self, values: Mapping[str, Any]) -> None:
        self.form.set_values(values)

    def problem(self) -> str:
        return next(filter(None, (form.problem() for form in (self.form, *self.sections.values()))), "")

    def suggest_for(self, method: str) -> None:
        """Offer the method's learning rate, unless the user has set one of their own."""
        suggested = METHODS.get(method).suggested_learning_rate
        editor = self.form.rows["learning_rate"].editor
        if editor.value() == self._suggested:
            editor.set_value(suggested)
        self._suggested = suggested

    @property
    def processes(self) -> int:
        """How many processes will train together."""
        return self._gpus if self.place.values()["where"] == "gpus" else 1

    def show_gpus(self, count: int) -> None:
        """Offer each GPU as device, and to train on all of them where there are several."""
        cast(OfferEditor, self.form.rows["device"].editor).offer_choices(devices(count))
        self._gpus = count
        choice = cast(Segmented, self.place.rows["where"].editor.main)
        if count < 2 and choice.value() == "gpus":
            choice.set_value("process")
        choice.offer("gpus", tr("All {count} GPUs").format(count=count) if count > 1 else "")
        if self.processes > 1:
            self.changed.emit()

    def judge_rate(self, method: Method) -> None:
        """Warn of a learning rate that is unusual for the method."""
        row = self.form.rows["learning_rate"]
        rate = row.editor.value()
        row.note.set(rate_warning(method, rate) if isinstance(rate, float) else "", "warning")

    def show_estimate(self, estimate: Estimate | None) -> None:
        """Say whether the run fits, or nothing yet."""
        self.memory.show_estimate(estimate)
        if self.problem():
            self.judge(self._outlook(), self.problem(), "bad")
        elif estimate is None:
            self.judge(self._outlook(), "", "none")
        else:
            self._judge_memory(estimate)

    def _judge_memory(self, estimate: Estimate) -> None:
        total, available = size_text(estimate.total_bytes), size_text(estimate.available_bytes)
        if estimate.fits:
            self.judge(
                self._outlook(), tr("Fits: {total} of {available}").format(total=total, available=available), "good"
            )
        else:
            words = tr("Does not fit: {total} needed, {available} there.")
            if any(remedy.fits for remedy in estimate.remedies):
                words = sentences((words, tr("Below, what is enough comes first.")))
            brief = tr("Does not fit: {total}").format(total=total)
            self.judge(self._outlook(), words.format(total=total, available=available), "warning", brief)

    def _outlook(self) -> str:
        values = self.form.values()
        if isinstance(values.get("max_steps"), int):
            length = tr("updates: {count}").format(count=values["max_steps"])
        else:
            length = tr("epochs: {count}").format(count=_text(values.get("epochs")))
        rate = tr("learning rate: {rate}").format(rate=_text(values.get("learning_rate")))
        return f"{length} · {rate}"


def _text(value: Any) -> str:
    return number_text(value) if isinstance(value, int | float) else str(value)
