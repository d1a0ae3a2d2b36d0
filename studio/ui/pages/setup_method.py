"""The Method card: how the model is changed, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.engine.methods import METHODS
from studio.i18n import tr
from studio.runner.actions import Estimate
from studio.ui.forms.editors import choice_widget
from studio.ui.forms.form import Form
from studio.ui.pages.section import SectionCard
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import label
from studio.words import count_text, share_text


class MethodCard(SectionCard):
    """Lists the method registry; the chosen method brings its own form. `chosen` carries the method's name."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("method", tr("Method"), parent)
        self.choice = choice_widget([(method.name, tr(method.title)) for method in METHODS])
        self._forms: dict[str, Form] = {}
        self._explanation = label("", "muted", wrap=True)
        self.body.addWidget(self.choice)
        self.body.addWidget(self._explanation)
        if isinstance(self.choice, Segmented):
            self.choice.describe(tr("Method"), "")
        else:
            self.choice.setAccessibleName(tr("Method"))
        self.set_values({"name": "lora"})
        self.choice.changed.connect(self._chosen)

    @property
    def name(self) -> str:
        """The name of the chosen method."""
        return self.choice.value()

    @property
    def form(self) -> Form:
        """The form of the chosen method, made when it is first needed."""
        if self.name not in self._forms:
            self._forms[self.name] = form = Form(METHODS.get(self.name).config)
            form.changed.connect(self.changed)
            self.body.addWidget(form)
        return self._forms[self.name]

    def values(self) -> dict[str, Any]:
        return {"name": self.name, **self.form.values()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        self.choice.set_value(str(values.get("name", self.name)))
        self.form.set_values(values)
        self._show_method()

    def problem(self) -> str:
        return self.form.problem()

    def show_estimate(self, estimate: Estimate | None, problem: str = "") -> None:
        """Say how much is trained, why that is not known, or nothing yet."""
        summary = tr(METHODS.get(self.name).title)
        if problem or self.problem():
            self.judge(summary, problem or self.problem(), "bad")
        elif estimate is None:
            self.judge(summary, "", "none")
        else:
            share = share_text(estimate.trainable_parameters, estimate.total_parameters)
            words = tr("{count} trainable, {share}")
            self.judge(summary, words.format(count=count_text(estimate.trainable_parameters), share=share), "good")

    def _chosen(self) -> None:
        self._show_method()
        self.chosen.emit(self.name)
        self.changed.emit()

    def _show_method(self) -> None:
        shown = self.form
        for form in self._forms.values():
            form.setVisible(form is shown)
        self._explanation.setText(tr(METHODS.get(self.name).explanation))
