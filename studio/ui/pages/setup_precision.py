"""The Precision card: which numbers the computation is done in, and loss scaling where fp16 needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QWidget

from studio.config import PrecisionConfig, options
from studio.engine.precision import PRECISIONS
from studio.i18n import tr
from studio.ui.forms.editors import choice_widget
from studio.ui.forms.form import Form
from studio.ui.pages.section import SectionCard
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import label

_OPTIONS = {spec.key for spec in options(PrecisionConfig)} - {"name"}
_ALWAYS = {"base_dtype"}


class PrecisionCard(SectionCard):
    """Lists the precision registry, with Automatic first."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("precision", tr("Precision"), parent)
        self._became = ""
        choices = [("auto", tr("Automatic")), *((entry.name, tr(entry.title)) for entry in PRECISIONS)]
        self.choice = choice_widget(choices)
        if isinstance(self.choice, Segmented):
            self.choice.describe(tr("Precision"), "")
        else:
            self.choice.setAccessibleName(tr("Precision"))
        self._explanation = label("", "muted", wrap=True)
        self.form = Form(PrecisionConfig, _OPTIONS)
        for part in (self.choice, self._explanation, self.form):
            self.body.addWidget(part)
        self.choice.changed.connect(self._chosen)
        self.form.changed.connect(self.changed)
        self._show_precision()

    @property
    def name(self) -> str:
        """The chosen precision, or auto."""
        return self.choice.value()

    def values(self) -> dict[str, Any]:
        return {"name": self.name, **self.form.values()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        self.choice.set_value(str(values.get("name", "auto")))
        self.form.set_values(values)
        self._show_precision()

    def problem(self) -> str:
        return self.form.problem()

    def show_choice(self, became: str, why: str) -> None:
        """Say what the choice became on this machine and why; an empty name says nothing yet."""
        self._became = became
        self._show_precision()
        if self.problem():
            self.judge(self._title(), self.problem(), "bad")
        elif became:
            title = tr(PRECISIONS.get(became).title)
            self.judge("", tr("{precision}: {why}").format(precision=title, why=why), "good", brief=title)
        else:
            self.judge(self._title(), "", "none")

    def show_problem(self, sentence: str) -> None:
        """Say why the choice cannot be used here."""
        self._became = ""
        self._show_precision()
        self.judge(self._title(), sentence, "bad")

    def _title(self) -> str:
        return tr("Automatic") if self.name == "auto" else tr(PRECISIONS.get(self.name).title)

    def _chosen(self) -> None:
        self._became = ""
        self._show_precision()
        self.changed.emit()

    def _show_precision(self) -> None:
        effective = self._became if self.name == "auto" else self.name
        scaled = bool(effective) and PRECISIONS.get(effective).loss_scaling
        for key, row in self.form.rows.items():
            row.setVisible(scaled or key in _ALWAYS)
        self._explanation.setText(
            tr(PRECISIONS.get(self.name).explanation)
            if self.name != "auto"
            else tr("Takes bf16 where the hardware is made for it, fp16 with loss scaling on older GPUs, else fp32.")
        )
