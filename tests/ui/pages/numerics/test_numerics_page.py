"""The Numerics page: what a person reads, clicks, drags and saves there, of a live run and of a finished one."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.engine.numerics import verdicts
from studio.events import NumericsSampled, OverflowDiagnosed, RunFailed, RunResumed, StepCompleted, to_json
from studio.exponents import Histogram
from studio.runner.record import RunRecord
from studio.runs import create_run
from studio.ui.bridge import AppContext
from studio.ui.pages.numerics.evidence import NAMES, SCALINGS, WORDS, evidence_rows
from studio.ui.pages.numerics.page import NumericsPage
from studio.ui.plots.lane.events import GROWTH, SKIPPED, VERDICT
from tests.engine.numerics.test_diagnosis_words import streams
from tests.screenshots import scripted_numerics as scripted
from tests.screenshots.scripted import scripted_record
from tests.ui.fakes import FakeController


def _page(context: AppContext, qtbot: QtBot, record: RunRecord | None) -> NumericsPage:
    context.record = record
    page = NumericsPage(context)
    qtbot.addWidget(page)
    page.resize(1190, 714)
    with qtbot.waitExposed(page):
        page.show()
    return page


@pytest.fixture
def page(context: AppContext, qtbot: QtBot) -> NumericsPage:
    """Of a run in which steps keep being skipped."""
    return _page(context, qtbot, scripted.chronic_overflow())


def _record(page: NumericsPage) -> RunRecord:
    assert page._record is not None
    return page._record


def _shown_step(page: NumericsPage) -> int:
    sample = page.histogram._sample
    assert sample is not None
    return sample.step


def test_before_any_run_the_page_leads_to_setup(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, None)
    assert page.empty.isVisible()
    with qtbot.waitSignal(context.page_requested) as request:
        qtbot.mouseClick(page.empty.set_up, Qt.MouseButton.LeftButton)
    assert request.args == ["setup"]


def test_the_key_figures_are_those_of_the_newest_sample(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted.clean())
    sample = _record(page).samples[-1]
    doublings = math.floor(math.log2(65504.0 / (sample.products_largest * 65536.0)))
    assert page.figures.headroom.figure.text == f"Headroom: {doublings} doublings until fp16 overflows"
    assert page.figures.headroom.gauge.doublings == doublings
    assert page.figures.figures["applied"].text == "Updates applied: 279 of 280 attempted"
    assert page.figures.figures["scale"].text == "Gradient scale: 65,536 2¹⁶"
    assert page.figures.figures["looks"].text == f"Samples: {len(_record(page).samples)} every 20 steps"


def test_an_overflow_is_said_where_the_headroom_stands(page: NumericsPage) -> None:
    newest = _record(page).samples[-1]
    assert newest.because == "skip"
    assert page.figures.headroom.figure.text == f"Headroom: overflow at step {newest.step}"


def test_the_newest_verdict_is_shown_with_advice_evidence_and_remedies(
    page: NumericsPage, context: AppContext, qtbot: QtBot
) -> None:
    verdict = _record(page).verdicts[-1]
    text = page.events.text().replace("\u200b", "")
    assert text.startswith("Steps keep overflowing\n")
    assert verdict.sentence in text
    assert verdict.advice in text
    assert "Module: model.layers.29.mlp.down_proj" in text
    assert "Share: 10 %" in text
    with qtbot.waitSignal(context.remedy_requested) as request:
        qtbot.mouseClick(page.events.remedies.best, Qt.MouseButton.LeftButton)
    assert request.args == [verdict.remedies[0]] == ["use_dynamic_scaling"]
    assert [action.text() for action in page.events.remedies.menu.actions()] == [
        "Use bf16", "Use fp32", "Lower the learning rate",
    ]  # fmt: skip
    with qtbot.waitSignal(context.remedy_requested) as request:
        page.events.remedies.menu.actions()[2].trigger()
    assert request.args == ["lower_learning_rate"]


def test_what_only_a_run_under_way_can_do_is_not_offered_for_an_ended_one(context: AppContext, qtbot: QtBot) -> None:
    record = scripted.forward_overflow()
    record.apply(dataclasses.replace(record.verdicts[-1], remedies=["skip_rows", "use_bf16"]))
    page = _page(context, qtbot, record)
    remedies = page.events.remedies
    reason = "“Leave these rows out” needs a run that is under way."
    assert remedies.best.text() == "Use bf16"
    assert remedies.best.isEnabled()
    (left_out,) = remedies.menu.actions()
    assert (left_out.text(), left_out.isEnabled()) == ("Leave these rows out", False)
    assert left_out.toolTip().startswith(reason)
    assert f"{reason} Take these rows out of the data file, and start a new run." in page.events.text()


def test_what_a_run_under_way_can_do_is_offered_until_it_ends(
    context: AppContext, controller: FakeController, qtbot: QtBot
) -> None:
    record = scripted.forward_overflow()
    record.apply(dataclasses.replace(record.verdicts[-1], remedies=["skip_rows"]))
    context.live, controller.running = record, True
    page = _page(context, qtbot, record)
    assert page.events.remedies.best.isEnabled()
    assert page.events.instead.isHidden()
    record.apply(RunFailed(step=143, sentence="It overflowed."))
    page._catch_up()
    assert page.events.remedies.best.text() == "Leave these rows out"
    assert not page.events.remedies.best.isEnabled()
    assert "needs a run that is under way" in page.events.remedies.best.toolTip()
    assert page.events.remedies.reason.isVisible()
    assert page.events.instead.isVisible()


def test_earlier_verdicts_are_a_click_away(page: NumericsPage, qtbot: QtBot) -> None:
    assert page.events.summary == "2 of 2"
    assert not page.events.after.isEnabled()
    qtbot.mouseClick(page.events.before, Qt.MouseButton.LeftButton)
    assert page.events.summary == "1 of 2"
    assert page.events.text().startswith("Search of the loss scale")
    assert page.events.remedies.isHidden()
    qtbot.mouseClick(page.events.after, Qt.MouseButton.LeftButton)
    assert page.events.text().startswith("Steps keep overflowing")


def test_a_verdict_that_is_new_is_shown_at_once(page: NumericsPage, qtbot: QtBot) -> None:
    record = _record(page)
    newest = dataclasses.replace(record.verdicts[-1], step=260, verdict="scale_collapse", remedies=[])
    record.apply(newest)
    page.refresh()
    qtbot.waitUntil(lambda: page.events.text().startswith("Loss scale at its floor"))
    assert page.events.summary == "3 of 3"


@pytest.mark.parametrize("row", [SKIPPED, GROWTH, VERDICT])
def test_a_click_on_an_event_says_what_it_was_and_shows_its_sample(page: NumericsPage, row: int) -> None:
    step = int(page.lane.marks.in_row(row)[0])
    page.lane.picked.emit(page.lane.event_at(step, row))
    said = page.events.text()
    assert page.lane.event_at(step, row).text.lower() in said.lower()
    if row == SKIPPED:
        assert _shown_step(page) == step
        assert "Backwards first in: model.layers.29.mlp.down_proj" in said.replace("\u200b", "")
    assert page.histogram.follow.isVisible()


def test_the_newest_sample_is_followed_until_one_is_chosen_and_again_on_request(
    page: NumericsPage, qtbot: QtBot
) -> None:
    record = _record(page)
    assert _shown_step(page) == record.samples[-1].step
    assert page.histogram.follow.isHidden()
    page.modules.map.chosen.emit(5, 121)
    assert _shown_step(page) == 121
    record.apply(dataclasses.replace(record.samples[-1], step=261))
    page.refresh()
    qtbot.waitUntil(lambda: len(page.modules.map.matrix) == len(record.samples))
    assert _shown_step(page) == 121
    qtbot.mouseClick(page.histogram.follow, Qt.MouseButton.LeftButton)
    assert _shown_step(page) == 261


def test_the_histogram_is_that_of_the_step_under_the_mouse(page: NumericsPage) -> None:
    page.timeline.set_cursor(150)
    assert _shown_step(page) == 141
    page.timeline.set_cursor(None)
    assert _shown_step(page) == _record(page).samples[-1].step


def test_a_click_in_the_map_shows_the_history_of_its_module(page: NumericsPage) -> None:
    heat = page.modules.map
    heat.choose(212, 121)
    heat.chosen.emit(212, 121)
    assert page.history.heading.whole_text == "Layer 21 q_proj"
    assert page.history.name.whole_text == "model.layers.21.self_attn.q_proj"
    record = _record(page)
    expected = [
        (s.step, s.gradient_largest[212] * (s.grad_scale or 1))
        for s in record.samples
        if not s.gradient_non_finite[212]
    ]
    series = page.history.history.line.series
    finite = np.isfinite(series.y)
    assert list(zip(series.x[finite], series.y[finite], strict=True)) == expected


def test_the_map_can_show_activations_and_shares(page: NumericsPage) -> None:
    page.modules.direction.set_value("activation")
    assert page.modules.map.matrix.values[0, 3] == _record(page).samples[0].activation_largest[3]
    page.modules.statistic.set_value("zeros")
    assert page.modules.map.matrix.values[0, 3] == _record(page).samples[0].activation_zeros[3]
    assert "100 %" in page.modules.bar.accessibleDescription()


def test_the_histogram_can_be_of_the_weights_or_of_the_activations(page: NumericsPage) -> None:
    sample = _record(page).samples[-1]
    assert page.histogram.view.histogram == Histogram.from_dict(sample.parameters)
    page.histogram.of.set_value("gradients")
    assert page.histogram.view.histogram == Histogram.from_dict(sample.gradients)


def test_another_scale_is_tried_and_the_present_one_is_a_click_away(page: NumericsPage, qtbot: QtBot) -> None:
    view = page.histogram.view
    assert page.histogram.back.isHidden()
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.histogram is not None
    expected = view.histogram.shares(view.present * 2)
    assert view.shares == expected
    assert "would do" in page.histogram.source.whole_text
    qtbot.mouseClick(page.histogram.back, Qt.MouseButton.LeftButton)
    assert view.scale == view.present


def test_a_run_without_loss_scaling_says_so_and_shows_what_fp16_would_do(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted.unscaled())
    assert "needs no loss scaling" in page.scale.chart.overlay.message
    assert page.figures.headroom.figure.text.endswith("if this were fp16")
    assert page.histogram.source.whole_text.endswith("no loss scaling: what fp16 would do")
    page.histogram.format.set_value("bf16")
    assert page.histogram.source.whole_text.endswith("no loss scaling: what bf16 would do")
    assert page.histogram.view.shares is not None
    assert page.histogram.view.shares.overflow == 0


def test_fp16_without_loss_scaling_is_not_described_as_another_precision(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted.switched_off())
    assert page.scale.chart.overlay.message.startswith("Loss scaling is switched off: the scale is 1.")
    assert page.figures.figures["scale"].text == "Gradient scale: 1 switched off"
    assert page.figures.headroom.figure.text.endswith("until fp16 overflows")
    assert page.histogram.source.whole_text.endswith("loss scaling is switched off: scale 1")
    assert page.histogram.best.whole_text == "No scale can be told best from this sample."
    assert page.histogram.lost.whole_text.startswith("What was flushed at 2⁰ left no trace")


def test_the_page_names_the_precision_that_the_run_went_on_with(page: NumericsPage) -> None:
    assert "fp16-mixed" in page.about.whole_text
    _record(page).apply(RunResumed(step=260, changes={"precision.name": "bf16-mixed"}))
    page._catch_up()
    assert "bf16-mixed" in page.about.whole_text


def test_a_run_that_records_nothing_says_how_to_switch_it_on(context: AppContext, qtbot: QtBot) -> None:
    page = _page(context, qtbot, scripted_record())
    assert "“Record the numerics”" in page.histogram.view.message
    assert "“Record the numerics”" in page.modules.map.empty_message()
    assert page.figures.figures["looks"].text == "Samples: – not recorded"
    assert page.modules.bar.isHidden()


def test_a_run_that_has_not_looked_yet_waits_and_then_shows_its_first_sample(context: AppContext, qtbot: QtBot) -> None:
    events = scripted.numerics_events(scripted.Script(steps=1, scale=lambda _: 1024.0))
    first = next(event for event in events if isinstance(event, NumericsSampled))
    page = _page(context, qtbot, scripted_record([event for event in events if event is not first]))
    assert "Waiting for the first look" in page.histogram.view.message
    _record(page).apply(first)
    page.refresh()
    qtbot.waitUntil(lambda: page.histogram.view.histogram is not None)
    assert page.modules.map.overlay.message == "" or page.modules.map._dirty


def test_a_finished_run_read_from_its_journal_looks_as_it_did_live(
    context: AppContext, qtbot: QtBot, tmp_path: Path
) -> None:
    script = scripted.Script(steps=80, scale=lambda _: 1024.0, skipped=lambda step: step == 50)
    events = scripted.numerics_events(script)
    folder = create_run(tmp_path, "r", "")
    folder.journal.write_text("\n".join(to_json(event) for event in events) + "\n", encoding="utf-8")
    live, read = (_page(context, qtbot, record) for record in (scripted_record(events), RunRecord.of_folder(folder)))
    for get in (
        lambda page: page.figures.headroom.figure.text,
        lambda page: page.histogram.view.accessibleDescription(),
        lambda page: page.modules.map.summary(),
        lambda page: page.history.history.summary(),
        lambda page: page.lane.summary(),
        lambda page: page.events.text(),
    ):
        assert get(live) == get(read)
    np.testing.assert_array_equal(live.modules.map.matrix.values, read.modules.map.matrix.values)


def test_nothing_is_drawn_while_the_page_is_hidden(
    page: NumericsPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.hide()
    drawn: list[str] = []
    charts = (page.scale.chart, page.lane, page.modules.map, page.history.history)
    for chart in charts:
        monkeypatch.setattr(chart, "draw", lambda name=chart.title: drawn.append(name))
    record = _record(page)
    record.apply(dataclasses.replace(record.samples[-1], step=261))
    page.refresh()
    qtbot.wait(0)
    assert drawn == []
    page.show()
    qtbot.waitUntil(lambda: len(drawn) >= len(charts))


def test_every_picture_is_described_in_words(page: NumericsPage, qtbot: QtBot) -> None:
    pictures = (page.scale.chart, page.lane, page.modules.map, page.history.history, page.histogram.view)
    for picture in (*pictures, page.figures.headroom.gauge, page.modules.bar):
        qtbot.waitUntil(lambda picture=picture: bool(picture.accessibleDescription()))  # type: ignore[misc]
        assert picture.accessibleName()


def test_the_keyboard_reaches_every_picture_and_switch(page: NumericsPage) -> None:
    pictures = (page.scale.chart, page.lane, page.modules.map, page.history.history, page.histogram.view)
    switches = (page.histogram.of.button("gradients"), page.histogram.format.button("bf16"), page.modules.statistic)
    for control in (*pictures, *switches, page.save.button, page.toolbar.fit, page.events.before):
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus
        assert control.accessibleName()


def _save(page: NumericsPage, monkeypatch: pytest.MonkeyPatch, title: str, path: Path) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    menu = page.save.button.menu()
    assert menu is not None
    next(action for action in menu.actions() if action.text().startswith(title)).trigger()


def _rows(
    page: NumericsPage, monkeypatch: pytest.MonkeyPatch, title: str, path: Path, context: AppContext
) -> list[dict[str, str]]:
    _save(page, monkeypatch, f"{title} (CSV)", path)
    assert context.join(10)
    context.tick()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_of_every_module_are_saved_as_they_were_recorded(
    page: NumericsPage, context: AppContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = _record(page)
    assert record.numerics is not None
    rows = _rows(page, monkeypatch, "Modules over steps", tmp_path / "m.csv", context)
    assert len(rows) == len(record.samples) * len(record.numerics.modules)
    sample, row = record.samples[2], rows[2 * len(record.numerics.modules) + 7]
    assert (int(row["step"]), row["module"]) == (sample.step, record.numerics.modules[7])
    assert float(row["gradient_largest"]) == pytest.approx(sample.gradient_largest[7], nan_ok=True, abs=0)
    assert rows[0]["gradient_largest"] == "nan"


def test_the_histograms_and_the_shares_at_every_scale_are_saved(
    page: NumericsPage, context: AppContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sample = _record(page).samples[-1]
    histogram = Histogram.from_dict(sample.parameters)
    rows = _rows(page, monkeypatch, "Exponents", tmp_path / "e.csv", context)
    mine = [row for row in rows if int(row["step"]) == sample.step and row["of"] == "parameters"]
    assert sum(int(row["count"]) for row in mine) == histogram.total
    rows = _rows(page, monkeypatch, "Shares at every scale", tmp_path / "s.csv", context)
    found = next(row for row in rows if (row["of"], row["format"], row["log2_scale"]) == ("parameters", "fp16", "16"))
    assert float(found["zero"]) == histogram.shares(65536.0).zero


def test_the_steps_are_saved_with_what_the_scale_did(
    page: NumericsPage, context: AppContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = _rows(page, monkeypatch, "Losses, norms, scales and skips", tmp_path / "steps.csv", context)
    assert [int(row["step"]) for row in rows if row["skipped"] == "1"] == _record(page).skips
    assert [int(row["step"]) for row in rows if row["growth"] == "1"] == list(page.lane.marks.growths)
    assert rows[_record(page).skips[0] - 1]["grad_norm"] == "inf"


def test_the_steps_are_saved_with_all_that_was_measured_of_them(
    context: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events = scripted.numerics_events(scripted.Script(steps=30, scale=lambda _: 1024.0))
    page = _page(context, qtbot, scripted_record(events))
    rows = _rows(page, monkeypatch, "Losses, norms, scales and skips", tmp_path / "steps.csv", context)
    steps = [event for event in events if isinstance(event, StepCompleted)]
    for key in ("step", "update", "tokens", "supervised_tokens"):
        assert [row[key] for row in rows] == [str(getattr(step, key)) for step in steps]
    for key in ("loss", "learning_rate", "grad_norm", "grad_norm_clipped", "grad_scale", "seconds"):
        assert [float(row[key]) for row in rows] == [getattr(step, key) for step in steps]


def test_the_verdicts_are_saved_with_their_evidence(
    page: NumericsPage, context: AppContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = _rows(page, monkeypatch, "Verdicts", tmp_path / "verdicts.csv", context)
    verdicts = _record(page).verdicts
    assert [int(row["step"]) for row in rows] == [verdict.step for verdict in verdicts]
    newest, row = verdicts[-1], rows[-1]
    assert (row["class"], row["harmful"], row["sentence"]) == (newest.verdict, "1", newest.sentence)
    assert (row["advice"], row["remedies"].split()) == (newest.advice, newest.remedies)
    assert json.loads(row["evidence"]) == newest.evidence


@pytest.mark.parametrize(
    ("typed", "kind", "written"),
    [("scale v1.2", "SVG (*.svg)", "scale v1.2.svg"), ("scale", "", "scale.png"), ("a.SVG", "PNG (*.png)", "a.SVG")],
)
def test_a_name_gets_the_ending_that_it_lacks(
    page: NumericsPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str, kind: str, written: str
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / typed), kind))
    page.save._save_picture("exponents", "Exponents", page.histogram.view)
    assert (tmp_path / written).stat().st_size > 100
    assert typed == written or not (tmp_path / typed).exists()


def test_the_ending_that_a_name_gets_overwrites_nothing(
    page: NumericsPage, context: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "v1.2.png").write_text("mine")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "v1.2"), ""))
    with qtbot.waitSignal(context.message) as message:
        page.save._save_picture("exponents", "Exponents", page.histogram.view)
    assert message.args[0].endswith("v1.2.png exists already. Choose another name.")
    assert (tmp_path / "v1.2.png").read_text() == "mine"


@pytest.mark.parametrize("title", ["Headroom", "Gradient scale", "Exponents", "Modules over steps", "Module history"])
def test_every_picture_is_saved_as_png_and_svg(
    page: NumericsPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, title: str
) -> None:
    for chart in (page.scale.chart, page.lane, page.modules.map, page.history.history):
        chart.draw()
    _save(page, monkeypatch, f"{title} (picture)", tmp_path / "p.png")
    image = QImage(str(tmp_path / "p.png"))
    colours = {image.pixel(x, y) for x in range(0, image.width(), 3) for y in range(0, image.height(), 3)}
    assert len(colours) > 5
    _save(page, monkeypatch, f"{title} (picture)", tmp_path / "p.svg")
    root = ET.parse(tmp_path / "p.svg").getroot()
    drawn = [
        node for node in root.iter() if node.tag.rpartition("}")[2] in ("path", "polyline", "polygon", "rect", "image")
    ]
    assert len(drawn) > 5
    assert any(node.tag.endswith("text") for node in root.iter())
    described = next(node.text for node in root.iter() if node.tag.endswith("desc"))
    for part in {"Gradient scale": (page.scale.chart, page.lane), "Modules over steps": (page.modules.map,)}.get(
        title, ()
    ):
        assert part.summary() in (described or "")
    assert described


def test_a_picture_that_cannot_be_written_is_said_in_one_sentence(
    page: NumericsPage, context: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with qtbot.waitSignal(context.message) as message:
        _save(page, monkeypatch, "Exponents (picture)", tmp_path / "missing" / "p.png")
    assert message.args[0].endswith("p.png cannot be written: No such file or directory. Choose another place.")


def test_a_table_that_cannot_be_written_is_said_in_one_sentence(
    page: NumericsPage, context: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with qtbot.waitSignal(context.message) as message:
        _save(page, monkeypatch, "Modules over steps (CSV)", tmp_path / "missing" / "m.csv")
    assert "m.csv cannot be written" in message.args[0]


def test_another_run_replaces_everything(page: NumericsPage) -> None:
    page.modules.map.chosen.emit(5, 121)
    page.histogram.view.explore(3)
    page.show_record(scripted_record())
    assert page.histogram.view.histogram is None
    assert page.histogram.view.explored is None
    assert page.history.heading.whole_text == "Module"
    assert not len(page.history.history.line.series)
    assert page.events.text().startswith("Search of the loss scale")
    page.show_record(None)
    assert page.empty.isVisible()


def test_every_piece_of_evidence_has_a_name_in_words() -> None:
    """The keys are those that the kinds of verdict write into a dictionary, one a line."""
    kinds = Path(verdicts.__file__).parent.glob("*.py")
    keys = {key for kind in kinds for key in re.findall(r'^ {8,12}"(\w+)":', kind.read_text(), re.MULTILINE)}
    assert len(keys) > 20
    assert keys - NAMES.keys() - SCALINGS.keys() == set()


def test_evidence_is_written_for_people() -> None:
    evidence = {
        "share": 0.24, "grad_scale": 65536.0, "steps": 1200, "finite": False, "direction": "backward",
        "rows": [{"source": "/d/a.jsonl", "number": 3, "tokens": 17}] * 6, "nothing": None, "learning_rate": 2e-4,
    }  # fmt: skip
    found = dict(evidence_rows(evidence))
    assert found["Share"] == "24 %"
    assert found["Loss scale"] == "65,536 (2¹⁶)"
    assert found["Steps"] == "1,200"
    assert found["Finite"] == "no"
    assert found["Direction"] == "backward pass"
    assert found["Rows"].replace("\u200b", "").splitlines() == [*["a.jsonl row 3 (17 tokens)"] * 4, "and 2 more"]
    assert found["Learning rate"] == "2e-4"
    assert "Nothing" not in found


def test_steps_that_come_faster_than_they_can_be_drawn_are_all_there_in_the_end(
    page: NumericsPage, qtbot: QtBot
) -> None:
    record = _record(page)
    last = StepCompleted(
        step=260, update=226, epoch=1.0, loss=1.0, learning_rate=1e-4, grad_norm=1.0, grad_scale=512.0, skipped=False,
        tokens=100, supervised_tokens=50, micro_batches=1, seconds=0.5,
    )  # fmt: skip
    for extra in range(1, 51):
        record.apply(dataclasses.replace(last, step=260 + extra, update=226 + extra))
        record.apply(dataclasses.replace(record.samples[-1], step=260 + extra))
        page.refresh()
    qtbot.waitUntil(lambda: page.scale.chart.curves[0].item.getData()[0][-1] >= 310)
    qtbot.waitUntil(lambda: len(page.modules.map.matrix) == len(record.samples))


@pytest.mark.parametrize("verdict", streams().values(), ids=lambda verdict: verdict.verdict)
def test_codes_in_the_evidence_are_shown_as_words(verdict: OverflowDiagnosed) -> None:
    codes = {key: verdict.evidence[key] for key in WORDS if key in verdict.evidence}
    assert codes
    assert all(code in WORDS[key] for key, code in codes.items())
