"""Fields know what is customary: they offer it, say what is automatic, and warn beyond it."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu
from pytestqt.qtbot import QtBot

from studio.config import DataSource, TrainingConfig
from studio.engine.methods.lora import LoraConfig
from studio.ui.forms.editors import LineEditor
from studio.ui.forms.form import Form
from studio.ui.forms.numbers import next_power
from studio.ui.forms.offer_editor import OfferEditor, devices, encodings


@pytest.fixture(autouse=True)
def _dressed(dressed: QApplication) -> None:
    """Forms take their distances from the font of the application."""


@pytest.fixture
def lora(qtbot: QtBot) -> Form:
    form = Form(LoraConfig)
    qtbot.addWidget(form)
    form.show()
    return form


def line(form: Form, key: str) -> QLineEdit:
    editor = form.rows[key].editor
    assert isinstance(editor, LineEditor)
    return editor.line


def test_alpha_follows_the_rank_until_it_is_set(lora: Form) -> None:
    assert line(lora, "alpha").placeholderText() == "Automatic: 32"
    lora.rows["rank"].editor.set_value(4)
    assert line(lora, "alpha").placeholderText() == "Automatic: 8"
    assert "alpha" not in lora.values()
    line(lora, "alpha").setText("12")
    lora.rows["rank"].editor.set_value(64)
    assert lora.values()["alpha"] == 12
    line(lora, "alpha").clear()
    assert LoraConfig.model_validate(lora.values()).alpha_in_force == 128


@pytest.mark.qt_log_ignore("This plugin does not support")  # the offscreen platform about its menus
def test_the_rank_is_offered_in_a_menu_and_stepped_by_powers(lora: Form, qtbot: QtBot) -> None:
    rank = line(lora, "rank")
    qtbot.keyClick(rank, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    menu = lora.rows["rank"].editor.findChild(QMenu)
    assert [action.text() for action in menu.actions()] == ["4", "8", "16", "32"]
    menu.actions()[0].trigger()
    assert lora.values()["rank"] == 4
    menu.close()
    for key, value in ((Qt.Key.Key_Up, 8), (Qt.Key.Key_Up, 16), (Qt.Key.Key_Down, 8)):
        qtbot.keyClick(rank, key)
        assert lora.values()["rank"] == value


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [(2e-4, 5e-4, 1e-4), (1e-4, 2e-4, 5e-5), (3e-4, 5e-4, 2e-4), (1.0, 2.0, 0.5), (6, 8, 4), (1, 2, 1), (8, 16, 4)],
)
def test_powers_go_on_as_people_write_them(value: float, up: float, down: float) -> None:
    assert (next_power(value, 1), next_power(value, -1)) == (up, down)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("rank", "512", "2 to 128 is customary."),
        ("rank", "1", "2 to 128 is customary."),
        ("alpha", "512", "Alpha / rank: 0.5 to 4 is customary."),
        ("dropout", "0.5", "0 to 0.3 is customary."),
    ],
)
def test_a_value_beyond_the_customary_range_says_so_and_why(lora: Form, key: str, text: str, words: str) -> None:
    usual = line(lora, key).text()
    line(lora, key).setText(text)
    note = lora.rows[key].note
    assert note.text.startswith(words)
    assert len(note.text) > len(words) + 20
    assert note.level == "warning"
    assert lora.problem() == ""
    line(lora, key).setText(usual)
    assert note.text == ""


def test_epochs_are_off_beside_a_number_of_updates(qtbot: QtBot) -> None:
    form = Form(TrainingConfig)
    qtbot.addWidget(form)
    epochs = form.rows["epochs"].editor
    assert epochs.isEnabled()
    form.rows["max_steps"].editor.set_value(40)
    assert not epochs.isEnabled()
    line(form, "max_steps").clear()
    assert epochs.isEnabled()


def test_devices_and_encodings_are_those_that_there_are_and_what_a_file_says_is_kept(qtbot: QtBot) -> None:
    assert [value for value, _ in devices(2) if value != "mps"] == ["auto", "cuda:0", "cuda:1", "cpu"]
    form = Form(DataSource, {"encoding"}, {"encoding": lambda spec: OfferEditor(encodings(), spec)})
    qtbot.addWidget(form)
    editor = form.rows["encoding"].editor
    assert isinstance(editor, OfferEditor)
    form.set_values({"encoding": "koi8-r"})
    assert form.values() == {"encoding": "koi8-r"}
    editor.offer_choices([("auto", "Automatic")])
    assert form.values() == {"encoding": "koi8-r"}
    form.set_values({})
    assert form.values() == {"encoding": "auto"}
    for value, _ in encodings()[1:]:
        assert "a".encode(value)


@pytest.mark.parametrize("key", ["max_steps", "evaluate_every"])
def test_automatic_is_not_cut_beside_a_unit(qtbot: QtBot, key: str) -> None:
    form = Form(TrainingConfig)
    qtbot.addWidget(form)
    form.show()
    form.more.open()
    field = line(form, key)
    margins = field.textMargins()
    room = field.contentsRect().width() - margins.left() - margins.right()
    assert field.fontMetrics().horizontalAdvance(field.placeholderText()) + 16 <= room
