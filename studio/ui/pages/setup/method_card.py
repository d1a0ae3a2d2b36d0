"""The Method card: how the model is changed, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.config import Suggestion
from studio.engine.methods import METHODS, Method
from studio.i18n import tr
from studio.runner.actions import Estimate
from studio.text.numbers import count_text, share_text
from studio.ui.forms.editors import choice_widget
from studio.ui.forms.form import Form
from studio.ui.pages.setup.method_facts import MethodFacts
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox
from studio.ui.widgets.text import label


class MethodCard(SectionCard):
    """Lists the method registry; the chosen method brings its own form.

    `chosen` carries the method's name. The page connects `compare`, which compares all methods for the model.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("method", tr("Method"), parent)
        self.choice = choice_widget([(method.name, tr(method.title)) for method in METHODS])
        self._forms: dict[str, Form] = {}
        self._offered: Mapping[str, Sequence[Suggestion]] = {}
        self._refusal = ""
        self._explanation = label("", "muted", wrap=True)
        self.facts = MethodFacts()
        self.compare = push_button(tr("Compare methods …"), "quiet", "setup")
        self.allow_comparison(tr("Choose a model first."))
        self._lay_out()
        self.set_values({"name": "lora"})
        self.choice.changed.connect(self._chosen)

    @property
    def name(self) -> str:
        """The name of the chosen method."""
        return self.choice.value()

    @property
    def method(self) -> Method:
        """The chosen method."""
        return METHODS.get(self.name)

    @property
    def form(self) -> Form:
        """The form of the chosen method, made when it is first needed."""
        if self.name not in self._forms:
            self._forms[self.name] = form = Form(self.method.config)
            form.offer(self._offered)
            form.changed.connect(self.changed)
            self.body.addWidget(form)
        return self._forms[self.name]

    def tables(self) -> list[dict[str, Any]]:
        """Return the `[method]` table of every method whose options have been in sight, as the card would take it."""
        return [{"name": name, **form.values()} for name, form in self._forms.items()]

    def values(self) -> dict[str, Any]:
        return {"name": self.name, **self.form.values()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        self.choice.set_value(str(values.get("name", self.name)))
        self.form.set_values(values)
        self._show_method()

    def take(self, name: str) -> None:
        """Choose a method, as a click would."""
        self.choice.set_value(name)

    def problem(self) -> str:
        return self.form.problem() or self._refusal

    def refuse(self, sentence: str) -> None:
        """Say why the options cannot be for the chosen model, or nothing; the verdict follows with the estimate."""
        self._refusal = sentence

    def offer(self, suggestions: Mapping[str, Sequence[Suggestion]]) -> None:
        """Offer what the chosen model has, where an option chooses among its parts."""
        self._offered = suggestions
        for form in self._forms.values():
            form.offer(suggestions)

    def allow_comparison(self, obstacle: str) -> None:
        """Offer to compare the methods, or say why that cannot be now."""
        self.compare.setEnabled(not obstacle)
        self.compare.setToolTip(obstacle or tr("Sizes, memory, merging and exports of every method for this model"))

    def show_estimate(self, estimate: Estimate | None, problem: str = "") -> None:
        """Say how much is trained, why that is not known, or nothing yet."""
        summary, problem = tr(self.method.title), self.problem() or problem  # the form explains it better
        self.facts.show_estimate(None if problem else estimate)
        if problem:
            self.judge(summary, problem, "bad")
        elif estimate is None:
            self.judge(summary, "", "none")
        else:
            share = share_text(estimate.trainable_parameters, estimate.total_parameters)
            words = tr("{count} trainable, {share}")
            self.judge(summary, words.format(count=count_text(estimate.trainable_parameters), share=share), "good")

    def _lay_out(self) -> None:
        self.choice.describe(tr("Method"))
        self.body.addLayout(hbox(self.choice, self.compare, STRETCH, spacing=1))
        self.body.addWidget(self._explanation)
        self.body.addWidget(self.facts)

    def _chosen(self) -> None:
        self._show_method()
        self.facts.show_estimate(None)  # figures of another method would be wrong until the answer comes
        self.chosen.emit(self.name)
        self.changed.emit()

    def _show_method(self) -> None:
        shown = self.form
        for form in self._forms.values():
            form.setVisible(form is shown)
        self._explanation.setText(tr(self.method.explanation))
        self.facts.show_method(self.method)
