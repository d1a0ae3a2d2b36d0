"""The Precision card: which numbers the computation is done in, and loss scaling where fp16 needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QWidget

from studio.config import PrecisionConfig, options
from studio.engine.precision import PRECISIONS, Precision
from studio.i18n import tr
from studio.ui.forms.editors import choice_widget
from studio.ui.forms.form import Form
from studio.ui.pages.setup.section_card import SectionCard
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Level

_OPTIONS = {spec.key for spec in options(PrecisionConfig)} - {"name"}


class PrecisionCard(SectionCard):
    """Lists the precision registry, with Automatic first. The page connects `probe`, which compares them here."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("precision", tr("Precision"), parent)
        self._became = ""
        choices = [("auto", tr("Automatic")), *((entry.name, tr(entry.title)) for entry in PRECISIONS)]
        self.choice = choice_widget(choices)
        self.choice.describe(tr("Precision"))
        self._explanation = label("", "muted", wrap=True)
        self.form = Form(PrecisionConfig, _OPTIONS)
        self.probe = push_button(tr("Compare on this machine …"), "quiet", "numerics")
        self.allow_probe(tr("Choose a model and a dataset first."))
        self.body.addLayout(hbox(self.choice, self.probe, STRETCH, spacing=1))
        for part in (self._explanation, self.form):
            self.body.addWidget(part)
        self.choice.changed.connect(self._chosen)
        self.form.changed.connect(self._form_changed)
        self._show_precision()

    @property
    def name(self) -> str:
        """The chosen precision, or auto."""
        return self.choice.value()

    def values(self) -> dict[str, Any]:
        """Options that do nothing in the chosen precision are left out; Automatic may become any but a pure one."""
        precision = None if self.name == "auto" else PRECISIONS.get(self.name)
        values = {
            key: value
            for key, value in self.form.values().items()
            if (self._applies(key, precision) if precision else key != "stochastic_rounding")
        }
        return {"name": self.name, **values}

    def set_values(self, values: Mapping[str, Any]) -> None:
        self.choice.set_value(str(values.get("name", "auto")))
        self.form.set_values(values)
        self._show_precision()

    def problem(self) -> str:
        return self.form.problem()

    def take(self, name: str) -> None:
        """Choose a precision, as a click would."""
        self.choice.set_value(name)

    def allow_probe(self, obstacle: str) -> None:
        """Offer to compare the precisions, or say why that cannot be now."""
        self.probe.setEnabled(not obstacle)
        self.probe.setToolTip(
            obstacle or tr("Try every precision for a few updates with this model, data and method, and compare them")
        )

    def show_choice(self, became: str, why: str) -> None:
        """Say what the choice became on this machine and why; an empty name says nothing yet."""
        self._became = became
        self._show_precision()
        if self.problem():
            self.judge(self._title(), self.problem(), "bad")
        elif became:
            title = tr(PRECISIONS.get(became).title)
            level: Level = "warning" if self._is_doubtful() else "good"
            self.judge("", tr("{precision}: {why}").format(precision=title, why=why), level, brief=title)
        elif self.name != "auto" and PRECISIONS.get(self.name).for_study:
            self.judge(self._title(), tr(PRECISIONS.get(self.name).for_study), "warning", brief=self._title())
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

    def _form_changed(self) -> None:
        self._show_precision()
        self.changed.emit()

    def _is_doubtful(self) -> bool:
        """Whether the choice is there to be seen failing, or loses small updates without the option that keeps them."""
        if self.name == "auto":
            return False
        precision = PRECISIONS.get(self.name)
        plain = self._applies("stochastic_rounding", precision) and not self.form.values()["stochastic_rounding"]
        return bool(precision.for_study) or plain

    def _show_precision(self) -> None:
        effective = self._became if self.name == "auto" else self.name
        precision = PRECISIONS.get(effective) if effective else None
        for key, row in self.form.rows.items():
            row.setVisible(self._applies(key, precision))
        self._explanation.setText(
            tr(PRECISIONS.get(self.name).explanation)
            if self.name != "auto"
            else tr(
                "Takes bf16 where the hardware is made for it, fp16 with loss scaling on older GPUs unless the model "
                "was made in bf16, else fp32."
            )
        )

    def _applies(self, key: str, precision: Precision | None) -> bool:
        """Whether an option does anything in a precision; None while Automatic has not become one."""
        if key == "base_dtype":
            return True
        if precision is None:
            return False
        if key == "tf32":
            return precision.autocast is None
        if key == "stochastic_rounding":
            return precision.parameters == "bf16"
        mode = self.form.rows["loss_scaling"].editor.value()
        return precision.loss_scaling and (
            key == "loss_scaling" or mode == "dynamic" or (mode == "static" and key == "initial_scale")
        )
