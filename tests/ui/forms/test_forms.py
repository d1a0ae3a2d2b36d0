from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from studio.config import DataConfig, PrecisionConfig, Section, Suggestion, TrainingConfig, option, options
from studio.engine.methods import METHODS
from studio.ui.forms.editors import ShareEditor
from studio.ui.forms.form import Form
from studio.ui.forms.names import BY_NAME, NamesEditor
from studio.ui.forms.numbers import number_text, parse_number
from studio.ui.forms.row import with_mnemonic
from studio.ui.widgets.check_list import DETAIL, MOST_ROWS, CheckList

SECTIONS: list[type[Section]] = [DataConfig, PrecisionConfig, TrainingConfig, *(method.config for method in METHODS)]


@pytest.fixture(autouse=True)
def _dressed(dressed: QApplication) -> None:
    """Forms take their distances from the font of the application."""


@pytest.fixture
def training(qtbot: QtBot) -> Form:
    form = Form(TrainingConfig)
    qtbot.addWidget(form)
    form.show()
    return form


def line(form: Form, key: str) -> QLineEdit:
    main = form.rows[key].editor.main
    assert isinstance(main, QLineEdit)
    return main


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_option_has_a_row_with_a_name_a_description_and_a_label_that_leads_to_it(
    section: type[Section], qtbot: QtBot
) -> None:
    form = Form(section)
    qtbot.addWidget(form)
    assert set(form.rows) == {spec.key for spec in options(section)}
    for row in form.rows.values():
        main = row.editor.main
        assert main.accessibleName() == row.title
        assert row.editor.spec.help
        assert any(label.buddy() is main for label in row.findChildren(QLabel))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_a_form_shows_the_defaults_and_gives_them_back(section: type[Section], qtbot: QtBot) -> None:
    form = Form(section)
    qtbot.addWidget(form)
    for spec in options(section):
        given = form.values().get(spec.key)
        expected = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        assert given == expected, spec.key
    assert form.problem() == ""


def test_the_letters_of_a_form_are_all_different(training: Form) -> None:
    letters = [row.mnemonic for row in training.rows.values() if row.mnemonic]
    assert len(letters) == len(set(letters))


def test_a_chinese_title_gets_its_letter_in_brackets() -> None:
    assert with_mnemonic("学习率", {"a"}) == ("学习率(&B)", "b")
    assert with_mnemonic("R & D", ()) == ("&R && D", "r")


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e-4", 2e-4), ("0,0002", 2e-4), (" 1E-3 ", 1e-3), ("\u22125", None), ("10,000", None), ("1e-4x", None), ("nan", None),
     ("inf", None), ("", None), ("0", None)],
)  # fmt: skip
def test_numbers_are_read_as_people_type_them(text: str, value: float | None) -> None:
    spec = next(spec for spec in options(TrainingConfig) if spec.key == "learning_rate")
    if value is None:
        with pytest.raises(ValueError, match=r"\.$"):
            parse_number(text, spec)
    else:
        assert parse_number(text, spec) == value


@pytest.mark.parametrize(
    "value", [0.0, 1.0, 2e-4, 0.05, 65536.0, 1e38, 3.4028234663852886e38, 1.2345678901234567e-9, 8, -3e-7]
)
def test_a_number_survives_being_written_and_read(value: float) -> None:
    assert float(number_text(value)) == value
    assert number_text(2e-4) == "2e-4"
    assert number_text(65536.0) == "65536"


def test_a_wrong_value_is_named_below_its_field_and_in_the_form(training: Form) -> None:
    line(training, "learning_rate").setText("0")
    row = training.rows["learning_rate"]
    assert row.problem == "Allowed: > 0, ≤ 10."
    assert training.problem() == "Learning rate: Allowed: > 0, ≤ 10."
    line(training, "learning_rate").setText("1e-4")
    assert training.problem() == ""


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_what_was_typed_right_or_wrong_comes_back_in_another_form(section: type[Section], qtbot: QtBot) -> None:
    first, second = Form(section), Form(section)
    qtbot.addWidget(first)
    qtbot.addWidget(second)
    for typed in ("abc", "", "9" * 5000, "nan", "שלום", "-1", "1,000"):
        for row in first.rows.values():
            if isinstance(row.editor.main, QLineEdit):
                row.editor.main.setText(typed)
        second.set_values(first.values())
        assert second.values() == first.values()
        assert second.problem() == first.problem()


def test_what_only_the_configuration_knows_is_named_as_well(training: Form) -> None:
    line(training, "device").setText("gpu7")
    assert training.problem() == "Device: Take auto, cpu, cuda, cuda:N or mps."


def test_an_option_that_is_not_set_is_left_out(training: Form) -> None:
    assert "max_steps" not in training.values()
    line(training, "max_steps").setText("40")
    assert training.values()["max_steps"] == 40


def test_advanced_options_wait_behind_one_line(training: Form) -> None:
    assert not line(training, "seed").isVisible()
    training.more.open()
    assert line(training, "seed").isVisible()


def test_the_arrow_keys_step_whole_numbers_within_their_bounds(training: Form, qtbot: QtBot) -> None:
    field = line(training, "batch_size")
    field.setText("2")
    qtbot.keyClick(field, Qt.Key.Key_Up)
    assert training.values()["batch_size"] == 3
    for _ in range(5):
        qtbot.keyClick(field, Qt.Key.Key_Down)
    assert training.values()["batch_size"] == 1


def test_a_share_is_a_slider_in_per_cent_within_the_bounds(qtbot: QtBot) -> None:
    form = Form(DataConfig, {"replay_ratio"}, {"replay_ratio": ShareEditor})
    qtbot.addWidget(form)
    form.set_values({"replay_ratio": 0.2})
    assert form.values() == {"replay_ratio": 0.2}
    form.set_values({"replay_ratio": 3.0})
    assert form.values() == {"replay_ratio": 0.9}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_what_a_form_gives_is_what_the_section_takes(section: type[Section], qtbot: QtBot) -> None:
    form = Form(section)
    qtbot.addWidget(form)
    values: dict[str, Any] = form.values()
    if section is DataConfig:
        values["sources"] = [{"path": "rows.jsonl"}]
    assert section.model_validate(values) == section.model_validate(
        {"sources": values["sources"]} if "sources" in values else {}
    )


def test_an_option_without_a_meaning_is_switched_off_until_it_has_one(qtbot: QtBot) -> None:
    form = Form(METHODS.get("prompt-tuning").config)
    qtbot.addWidget(form)
    text = form.rows["init_text"].editor
    assert not text.isEnabled()
    form.rows["init"].editor.set_value("text")
    form.changed.emit()
    assert text.isEnabled()
    form.set_values({})
    assert not text.isEnabled()


class Layers(Section):
    """A section whose option is a word or names, as that of a method is."""

    where: tuple[str, ...] = option(
        ("all",),
        title="Where",
        help="Which.",
        labels={"all": "All of them", "attention": "Attention only"},
        suggestions="layers",
    )


OFFERED = (
    Suggestion(value="attn.q_proj", detail="4 → 4", within=("all", "attention")),
    Suggestion(value="attn.k_proj", detail="4 → 2", within=("all", "attention")),
    Suggestion(value="mlp.up_proj", detail="4 → 8", within=("all",)),
)


@pytest.fixture
def layers(qtbot: QtBot) -> Form:
    form = Form(Layers)
    qtbot.addWidget(form)
    form.resize(700, 300)
    form.offer({"layers": OFFERED})
    with qtbot.waitExposed(form):
        form.show()
    return form


def names_editor(form: Form) -> NamesEditor:
    editor = form.rows["where"].editor
    assert isinstance(editor, NamesEditor)
    return editor


def test_a_word_or_names_are_chosen_and_the_names_begin_with_what_the_word_took_in(layers: Form) -> None:
    editor = names_editor(layers)
    assert layers.values() == {"where": ["all"]}
    assert not editor.list.isVisible()
    editor.choice.set_value("attention")
    assert layers.values() == {"where": ["attention"]}
    editor.choice.set_value(BY_NAME)
    assert editor.list.isVisible()
    assert not editor.line.isVisible()
    assert layers.values() == {"where": ["attn.q_proj", "attn.k_proj"]}
    assert [item.data(DETAIL) for item in editor.list.rows()] == ["4 → 4", "4 → 2", "4 → 8"]


def test_tab_leads_to_the_list_whose_names_arrows_find_and_space_ticks(layers: Form, qtbot: QtBot) -> None:
    editor = names_editor(layers)
    layers.set_values({"where": ["attn.q_proj"]})
    editor.choice.button(BY_NAME).setFocus()  # type: ignore[union-attr]
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is editor.list
    qtbot.keyClick(editor.list, Qt.Key.Key_Space)
    assert layers.problem() == "Where: Name at least one."
    qtbot.keyClick(editor.list, Qt.Key.Key_Right)
    qtbot.keyClick(editor.list, Qt.Key.Key_Space)
    assert layers.values() == {"where": ["attn.k_proj"]}
    assert layers.problem() == ""


def test_a_click_on_a_name_ticks_it_as_one_on_its_box_does(layers: Form, qtbot: QtBot) -> None:
    editor = names_editor(layers)
    layers.set_values({"where": ["attn.q_proj"]})
    area = editor.list.visualItemRect(editor.list.item(2))
    with qtbot.waitSignal(layers.changed):
        qtbot.mouseClick(editor.list.viewport(), Qt.MouseButton.LeftButton, pos=area.center())
    assert layers.values() == {"where": ["attn.q_proj", "mlp.up_proj"]}
    qtbot.mouseClick(editor.list.viewport(), Qt.MouseButton.LeftButton, pos=area.topLeft() + QPoint(12, 12))
    assert layers.values() == {"where": ["attn.q_proj"]}
    for press in (qtbot.mouseClick, qtbot.mouseDClick, qtbot.mouseRelease):  # two clicks in quick succession
        press(editor.list.viewport(), Qt.MouseButton.LeftButton, pos=area.center())
    assert layers.values() == {"where": ["attn.q_proj"]}


@pytest.mark.parametrize("names", [["q_proj", "up_proj"], ["0.attn.q_proj"], ["gone", "attn.q_proj"], ["attention"]])
def test_names_come_back_as_they_were_written_until_somebody_ticks(names: list[str], layers: Form) -> None:
    layers.set_values({"where": names})
    assert layers.values() == {"where": names}
    layers.offer({})
    assert layers.values() == {"where": names}
    layers.offer({"layers": OFFERED})
    assert layers.values() == {"where": names}


def test_a_short_name_ticks_all_that_end_in_it_and_a_foreign_one_stands_at_the_end(layers: Form) -> None:
    editor = names_editor(layers)
    layers.set_values({"where": ["q_proj", "c_attn"]})
    assert editor.list.checked() == ["attn.q_proj", "c_attn"]
    assert editor.list.item(3).data(DETAIL) == "written by hand"
    editor.list.item(3).setCheckState(Qt.CheckState.Unchecked)
    assert layers.values() == {"where": ["attn.q_proj"]}


def test_without_names_on_offer_they_are_typed(layers: Form, qtbot: QtBot) -> None:
    editor = names_editor(layers)
    layers.offer({})
    editor.choice.set_value(BY_NAME)
    assert editor.line.isVisible()
    assert not editor.list.isVisible()
    assert layers.problem() == "Where: Name at least one."
    qtbot.keyClicks(editor.line, "c_attn, c_fc")
    assert layers.values() == {"where": ["c_attn", "c_fc"]}
    assert layers.problem() == ""


def test_names_of_the_model_before_do_not_come_back(layers: Form) -> None:
    editor = names_editor(layers)
    editor.choice.set_value(BY_NAME)
    editor.choice.set_value("all")
    layers.offer({"layers": [Suggestion(value="c_attn", within=("all",))]})
    editor.choice.set_value(BY_NAME)
    assert layers.values() == {"where": ["c_attn"]}


def test_the_list_has_a_name_and_its_rows_have_theirs(layers: Form) -> None:
    editor = names_editor(layers)
    layers.set_values({"where": ["q_proj"]})
    assert editor.list.accessibleName() == "Where, by name"
    assert editor.list.toolTip() == "Arrow keys move, Space ticks"
    first = editor.list.item(0)
    assert first.data(Qt.ItemDataRole.AccessibleTextRole) == "attn.q_proj, 4 → 4"
    assert first.toolTip() == "attn.q_proj: 4 → 4"


@pytest.mark.parametrize("count", [1, 7, 400])
def test_a_list_is_as_high_as_its_rows_up_to_a_bound(count: int, qtbot: QtBot) -> None:
    ticks = CheckList()
    qtbot.addWidget(ticks)
    ticks.set_items([(f"mlp.experts.{number}", "4 → 4") for number in range(count)], ())
    ticks.resize(700, 40)
    with qtbot.waitExposed(ticks):
        ticks.show()
    last = ticks.visualItemRect(ticks.item(count - 1))
    assert (last.bottom() <= ticks.viewport().height()) == (count < 400)
    assert ticks.viewport().height() <= MOST_ROWS * ticks.gridSize().height()
