"""The Precision card shows each option where it does something, and warns of what loses small updates."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.ui.bridge import AppContext
from studio.ui.forms.form import Form
from studio.ui.pages.setup.page import SetupPage
from studio.ui.pages.setup.precision_card import PrecisionCard
from tests.ui.fakes import FakeEngine

SCALING = {"loss_scaling", "initial_scale"}
DYNAMIC = {"growth_interval", "growth_factor", "backoff_factor", "minimum_scale"}


@pytest.fixture
def card(dressed: QApplication, qtbot: QtBot) -> PrecisionCard:
    result = PrecisionCard()
    qtbot.addWidget(result)
    result.show()
    result.form.more.open()
    return result


@pytest.fixture
def page(qtbot: QtBot, context: AppContext) -> SetupPage:
    result = SetupPage(context)
    qtbot.addWidget(result)
    result.show()
    return result


def _shown(form: Form) -> set[str]:
    return {key for key, row in form.rows.items() if row.isVisible()}


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"name": "auto"}, {"base_dtype"}),
        ({"name": "fp32"}, {"base_dtype", "tf32"}),
        ({"name": "bf16-mixed"}, {"base_dtype"}),
        ({"name": "bf16-pure"}, {"base_dtype", "stochastic_rounding"}),
        ({"name": "fp16-mixed"}, {"base_dtype", *SCALING, *DYNAMIC}),
        ({"name": "fp16-pure"}, {"base_dtype", *SCALING, *DYNAMIC}),
        ({"name": "fp16-mixed", "loss_scaling": "static"}, {"base_dtype", *SCALING}),
        ({"name": "fp16-mixed", "loss_scaling": "off"}, {"base_dtype", "loss_scaling"}),
    ],
)
def test_each_option_is_shown_where_it_does_something(
    card: PrecisionCard, values: dict[str, str], shown: set[str]
) -> None:
    card.set_values(values)
    assert _shown(card.form) == shown


def test_an_option_of_another_precision_does_not_stand_in_the_way(card: PrecisionCard) -> None:
    card.set_values({"name": "bf16-pure", "stochastic_rounding": True})
    assert card.values()["stochastic_rounding"] is True
    for name in ("bf16-mixed", "auto"):
        card.choice.set_value(name)
        assert "stochastic_rounding" not in card.values()


def test_a_precision_for_study_is_a_warning_with_and_without_a_model(card: PrecisionCard) -> None:
    card.set_values({"name": "fp16-pure"})
    card.show_choice("", "")
    assert card.verdict[1] == "warning"
    assert "For study only" in card.verdict[0]
    card.show_choice("fp16-pure", "For study only: it fails.")
    assert card.verdict == ("fp16 pure: For study only: it fails.", "warning")


def test_bf16_weights_without_stochastic_rounding_are_a_warning(card: PrecisionCard) -> None:
    for rounding, level in ((False, "warning"), (True, "good")):
        card.set_values({"name": "bf16-pure", "stochastic_rounding": rounding})
        card.show_choice("bf16-pure", "why")
        assert card.verdict[1] == level


def test_a_contradiction_between_cards_is_said_on_the_precision_card(
    page: SetupPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    page.set_tables({"model": {"path": "/m"}, "method": {"name": "full"}, "precision": {"base_dtype": "nf4"}})
    qtbot.waitUntil(lambda: page.precision.verdict[1] == "bad")
    assert page.precision.verdict[0].startswith("precision.base_dtype = nf4")
    assert page.start_problem()
