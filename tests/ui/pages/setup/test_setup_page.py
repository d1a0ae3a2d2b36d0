from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QTextCharFormat
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog, QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from studio.config import parse_config, write_config
from studio.engine.data.findings.base import finding
from studio.engine.data.report import Remark
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.pages.setup.page import WIDEST, SetupPage
from studio.ui.widgets.verdict import Verdict
from tests.ui.fakes import GB, FakeEngine, FakeInspection, choose


@pytest.fixture
def page(qtbot: QtBot, context: AppContext) -> SetupPage:
    result = SetupPage(context)
    qtbot.addWidget(result)
    result.show()
    return result


@pytest.fixture
def model_folder(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    file = tmp_path / "rows.jsonl"
    file.touch()
    return str(file)


def wait_for_verdict(qtbot: QtBot, card: object, words: str) -> None:
    qtbot.waitUntil(lambda: words in card.verdict[0])  # type: ignore[attr-defined]


def test_an_empty_page_says_what_is_missing_first(page: SetupPage, rows: str, qtbot: QtBot) -> None:
    assert page.start_problem() == "Choose a model first."
    assert page.model.findChild(QLineEdit).placeholderText().startswith("A model folder")
    page.model.set_values({"path": "/some/model"})
    wait_for_verdict(qtbot, page.model, "Chat model")
    assert page.start_problem() == "Add a dataset file first."


def test_each_card_judges_in_words(ready: MainWindow) -> None:
    cards = ready.setup
    assert cards.model.verdict[0] == "Chat model, template found"
    assert cards.model.summary == "model · 135 M parameters · 257 MB in bf16"
    assert cards.data.verdict[0] == "412 rows"
    assert cards.method.verdict[0] == "4.9 M trainable, 3.5 %"
    assert cards.precision.verdict[0] == "bf16 mixed: this CPU has bf16 units"
    assert cards.training.verdict[0] == "Fits: 5 GB of 24 GB"
    assert cards.start_problem() == ""


def test_skipped_rows_are_a_warning_with_their_reasons(
    page: SetupPage, engine: FakeEngine, rows: str, qtbot: QtBot
) -> None:
    empty = Remark.of("rows_skipped", reason="empty_answer", file=rows, count=3, rows=412, numbers=(1, 2, 3))
    engine.data = FakeInspection(skipped=3, reasons={Remark("empty_answer"): 3}, problems=(empty,))
    page.data.add_files([rows])
    wait_for_verdict(qtbot, page.data, "412 rows · 3 skipped")
    assert page.data.verdict[1] == "warning"


def test_another_seed_holds_other_rows_out_so_that_the_file_is_looked_at_again(
    ready: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    assert set(engine.seeds) == {0}
    ready.setup.training.form.rows["seed"].editor.set_value(5)
    qtbot.waitUntil(lambda: engine.seeds[-1] == 5)


def test_what_asks_for_nothing_is_a_note_and_no_warning(
    page: SetupPage, engine: FakeEngine, rows: str, qtbot: QtBot
) -> None:
    unloved = Remark.of("rows_skipped", reason="bad_answer", file=rows, count=3, rows=412, numbers=(1, 2, 3))
    engine.data = FakeInspection(skipped=3, problems=(unloved, Remark.of("rated_data", file=rows)))
    page.data.add_files([rows])
    wait_for_verdict(qtbot, page.data, "412 rows · 3 skipped")
    assert page.data.verdict[1] == "good"
    notes = [verdict for verdict in page.data.sources[0].findChildren(Verdict) if verdict.level == "note"]
    assert [verdict.text.splitlines() for verdict in notes] == [
        [
            "rows.jsonl: 3 of 412 rows are skipped because the answer is marked as bad (row 1, 2, 3).",
            "rows.jsonl is rated data (KTO): only the answers marked as good are learnt.",
        ]
    ]


def test_findings_are_named_on_the_card_once_and_warn(
    page: SetupPage, engine: FakeEngine, rows: str, qtbot: QtBot
) -> None:
    engine.data = FakeInspection(findings=(finding("duplicates", [3, 5]), finding("placeholders", [7])))
    page.data.add_files([rows])
    wait_for_verdict(qtbot, page.data, "412 rows · 2 findings")
    assert page.data.verdict[1] == "warning"
    said = [line for verdict in page.data.sources[0].findChildren(Verdict) for line in verdict.text.splitlines()]
    assert [line for line in said if "Repeated rows" in line] == [
        "Findings: Repeated rows (2), Unfilled placeholders (1). The X-ray shows the rows, and what mends them."
    ]


def test_a_damaged_model_is_refused_in_a_sentence(page: SetupPage, qtbot: QtBot) -> None:
    page.model.set_values({"path": "/broken"})
    wait_for_verdict(qtbot, page.model, "is damaged")
    assert page.model.verdict[1] == "bad"
    assert page.start_problem() == "The model in /broken is damaged; download it again."


def test_a_file_that_cannot_be_read_stops_the_start_and_why_stands_once(
    page: SetupPage, model_folder: str, qtbot: QtBot
) -> None:
    page.set_tables({"model": {"path": model_folder}, "data": {"sources": [{"path": "/broken.jsonl"}]}})
    qtbot.waitUntil(lambda: page.data.sources[0].problem.startswith("broken.jsonl, line 3: not JSON"))
    wait_for_verdict(qtbot, page.data, "broken.jsonl cannot be used yet.")
    assert page.start_problem() == "broken.jsonl cannot be used yet; the Data card says why."
    assert [shown.text() for shown in page.findChildren(QLabel) if "line 3" in shown.text()] == [
        page.data.sources[0].problem
    ]


def test_a_folder_is_looked_at_while_typing_but_a_hub_id_only_on_enter(
    page: SetupPage, engine: FakeEngine, model_folder: str, qtbot: QtBot
) -> None:
    qtbot.keyClicks(page.model.path, "organisation/model")
    qtbot.waitUntil(lambda: "Press Enter" in page.start_problem())
    assert engine.opened == []
    qtbot.keyClick(page.model.path, Qt.Key.Key_Return)
    wait_for_verdict(qtbot, page.model, "Chat model")
    assert engine.opened == ["organisation/model"]
    page.model.path.selectAll()
    qtbot.keyClicks(page.model.path, model_folder)
    qtbot.waitUntil(lambda: engine.opened[-1] == model_folder)


def test_a_pasted_address_of_the_hub_becomes_the_id(page: SetupPage, engine: FakeEngine, qtbot: QtBot) -> None:
    qtbot.keyClicks(page.model.path, " https://huggingface.co/organisation/model/tree/main")
    qtbot.keyClick(page.model.path, Qt.Key.Key_Return)
    wait_for_verdict(qtbot, page.model, "Chat model")
    assert engine.opened == ["organisation/model"]
    assert page.model.path.text() == page.tables()["model"]["path"] == "organisation/model"


def test_the_kind_that_the_user_chose_is_the_kind_that_the_data_is_rendered_for(
    page: SetupPage, engine: FakeEngine, model_folder: str, rows: str, qtbot: QtBot
) -> None:
    page.set_tables({"model": {"path": model_folder, "kind": "base"}, "data": {"sources": [{"path": rows}]}})
    qtbot.waitUntil(lambda: (rows, "base") in engine.read)
    wait_for_verdict(qtbot, page.model, "Base model")


def test_a_chat_model_without_a_template_says_so(page: SetupPage, engine: FakeEngine, qtbot: QtBot) -> None:
    engine.model = {"has_template": False}
    page.model.set_values({"path": "/some/model"})
    wait_for_verdict(qtbot, page.model, "no template")


def test_the_same_file_is_not_added_twice(page: SetupPage, rows: str) -> None:
    page.data.add_files([rows, rows])
    page.data.add_files([rows])
    assert len(page.data.sources) == 1


def test_a_file_is_looked_for_among_the_users_own_and_not_among_the_samples(
    page: SetupPage, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def ask(_parent: object, _title: str, folder: str, _kinds: str) -> tuple[list[str], str]:
        looked.append(folder)
        return [rows], ""

    monkeypatch.setattr(QFileDialog, "getOpenFileNames", ask)
    page.data.add_sample("fine-tuning-en.jsonl")
    page.data.add_file.click()
    page.data.add_sample("general-en.jsonl")
    page.data.add_file.click()
    assert looked == [str(Path.home()), str(Path(rows).parent)]


def test_files_can_be_dropped_on_the_card(page: SetupPage, rows: str) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(rows), QUrl("https://example.org/rows.jsonl")])
    drop = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    page.data.drop_area.dropEvent(drop)
    assert [source.path for source in page.data.sources] == [rows]


def test_rehearsal_waits_for_a_general_file(page: SetupPage, rows: str, tmp_path: Path) -> None:
    slider = page.data.form.rows["replay_ratio"].editor
    page.data.add_files([rows])
    assert not slider.isEnabled()
    page.data.set_values({"sources": [{"path": rows}, {"path": str(tmp_path / "g.jsonl"), "role": "general"}]})
    assert slider.isEnabled()


def test_only_general_files_teach_nothing_new(page: SetupPage, model_folder: str, rows: str, qtbot: QtBot) -> None:
    page.set_tables({"model": {"path": model_folder}, "data": {"sources": [{"path": rows, "role": "general"}]}})
    wait_for_verdict(qtbot, page.model, "Chat model")
    assert "role Domain" in page.start_problem()


def test_the_preview_turns_its_rows_and_marks_what_is_learnt(page: SetupPage, rows: str, qtbot: QtBot) -> None:
    page.data.add_files([rows])
    wait_for_verdict(qtbot, page.data, "412 rows")
    preview = page.data.sources[0].preview
    assert preview.preview.toPlainText() == "question answer"
    assert preview.words.text() == "Row 1: 4 tokens, of which 2 are learnt (50 %, underlined)"
    qtbot.mouseClick(preview.on, Qt.MouseButton.LeftButton)
    assert preview.words.text().startswith("Row 2")
    assert not preview.on.isEnabled()
    cursor = preview.preview.textCursor()
    marked = []
    for place, letter in enumerate(preview.preview.toPlainText()):
        cursor.setPosition(place + 1)
        marked.append(
            letter if cursor.charFormat().underlineStyle() != QTextCharFormat.UnderlineStyle.NoUnderline else " "
        )
    assert "".join(marked).strip() == "answer"


def test_loss_scaling_is_shown_for_fp16_alone(page: SetupPage, engine: FakeEngine, qtbot: QtBot) -> None:
    row = page.precision.form.rows["initial_scale"]
    assert not row.isVisible()
    page.precision.set_values({"name": "fp16-mixed"})
    assert row.isVisible()
    page.precision.set_values({"name": "bf16-mixed"})
    assert not row.isVisible()


def test_loss_scaling_is_shown_when_automatic_became_fp16(page: SetupPage, engine: FakeEngine, qtbot: QtBot) -> None:
    engine.became = ("fp16-mixed", "this GPU has no bf16")
    page.model.set_values({"path": "/some/model"})
    wait_for_verdict(qtbot, page.precision, "fp16 mixed: this GPU has no bf16")
    assert page.precision.form.rows["initial_scale"].isVisible()


def test_what_does_not_fit_is_a_warning_with_remedies(page: SetupPage, engine: FakeEngine, qtbot: QtBot) -> None:
    engine.total_bytes = 30 * GB
    page.model.set_values({"path": "/some/model"})
    wait_for_verdict(qtbot, page.training, "Does not fit")
    assert page.training.verdict[1] == "warning"


def test_verdicts_follow_while_typing(ready: MainWindow, qtbot: QtBot) -> None:
    ready.setup.method.set_values({"name": "full"})
    ready.setup.method.changed.emit()
    wait_for_verdict(qtbot, ready.setup.method, "135 M trainable")


def test_a_wrong_value_is_the_reason_beside_start(ready: MainWindow) -> None:
    rate = ready.setup.training.form.rows["learning_rate"].editor.main
    assert isinstance(rate, QLineEdit)
    rate.setText("1e-4x")
    assert ready.setup.start_problem() == "Learning rate: Enter a number, such as 0.5 or 2e-4."


def test_a_method_brings_its_own_learning_rate_unless_the_user_set_one(page: SetupPage) -> None:
    choose_method = page.method.choice
    rate = page.training.form.rows["learning_rate"].editor
    choose_method.set_value("full")
    assert rate.value() == 2e-5
    choose_method.set_value("lora")
    assert rate.value() == 2e-4
    rate.set_value(3e-4)
    choose_method.set_value("full")
    assert rate.value() == 3e-4


def test_the_page_gives_the_configuration_of_the_run(ready: MainWindow, tmp_path: Path) -> None:
    config = ready.setup.config()
    assert config.model.path == str(tmp_path / "model")
    assert config.method.name == "lora"
    assert config.training.learning_rate == 2e-4


def test_a_configuration_file_fills_the_page(page: SetupPage, tmp_path: Path) -> None:
    config = parse_config(
        {
            "model": {"path": "some/model", "kind": "chat"},
            "data": {"sources": [{"path": "a.csv", "columns": {"prompt": "q"}, "bad_rows": "skip"}], "max_length": 77},
            "method": {"name": "lora", "rank": 3, "target_modules": ["q_proj", "v_proj"]},
            "precision": {"name": "fp16-mixed", "initial_scale": 1e38},
            "training": {"max_steps": 40, "seed": 5},
        }
    )
    file = tmp_path / "config.toml"
    file.write_text(write_config(config), encoding="utf-8")
    page.load_configuration(file)
    assert page.config() == config


def test_a_configuration_that_cannot_be_read_is_a_sentence(
    page: SetupPage, context: AppContext, tmp_path: Path, qtbot: QtBot
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[model", encoding="utf-8")
    with qtbot.waitSignal(context.message) as heard:
        page.load_configuration(file)
    assert "is not valid TOML" in heard.args[0]


def test_the_draft_is_kept_for_the_next_start(window: MainWindow, tmp_path: Path, qtbot: QtBot) -> None:
    choose(window, tmp_path)
    qtbot.waitUntil(lambda: window.context.settings.draft == window.setup.tables())
    assert window.context.settings.draft["model"]["path"] == str(tmp_path / "model")


def test_the_outline_says_what_each_card_says(ready: MainWindow) -> None:
    assert next(entry.accessibleName() for entry in ready.setup.outline.entries) == "Model: Chat model, template found"


def test_on_a_large_screen_a_setting_is_not_far_from_its_words(ready: MainWindow, qtbot: QtBot) -> None:
    ready.resize(1920, 1080)
    card, outline = ready.setup.model, ready.setup.outline
    qtbot.waitUntil(lambda: outline.mapTo(ready, outline.rect().topRight()).x() > 1280)
    left, right = (one.mapTo(ready.setup, one.rect().topLeft()).x() for one in (card, outline))
    assert right + outline.width() - left <= theme.characters(WIDEST)


def test_an_entry_of_the_outline_leads_to_its_card(ready: MainWindow, qtbot: QtBot) -> None:
    entry = ready.setup.outline.entries[-1]
    qtbot.mouseClick(entry, Qt.MouseButton.LeftButton)
    assert ready.setup.training.visibleRegion().boundingRect().height() > 50
    assert ready.setup.training.isAncestorOf(ready.focusWidget())


def test_a_file_of_rows_that_cannot_teach_stops_the_start(
    page: SetupPage, engine: FakeEngine, model_folder: str, rows: str, qtbot: QtBot
) -> None:
    engine.data = FakeInspection(rows=2, skipped=2, problems=(Remark.of("no_rows", file="rows.jsonl"),))
    page.set_tables({"model": {"path": model_folder}, "data": {"sources": [{"path": rows}]}})
    qtbot.waitUntil(lambda: page.data.sources[0].problem == "rows.jsonl has no rows.")
    assert page.start_problem() == "rows.jsonl cannot be used yet; the Data card says why."
    assert page.data.verdict[1] == "bad"


def test_a_button_at_the_edge_stays_under_the_pointer_until_it_is_let_go(page: SetupPage) -> None:
    """A press gives the button the focus; the page once moved then, and the click was lost."""
    page.resize(900, 500)
    button, pressed = page.data.add_file, []
    button.clicked.disconnect()
    button.clicked.connect(lambda: pressed.append(button))
    page.area.ensureWidgetVisible(button, 0, 0)
    bar = page.area.verticalScrollBar()
    bar.setValue(bar.value() - button.height() // 3)
    assert 0 < button.visibleRegion().boundingRect().height() < button.height(), "its lower third is to be cut off"
    place = button.mapTo(page, QPoint(button.width() // 2, button.height() // 3))
    window, left, none = page.windowHandle(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mousePress(window, left, none, place)
    assert button.hasFocus()
    QTest.mouseRelease(window, left, none, place)
    assert pressed
