"""The heat map: no step and no module is lost at any zoom, and every cell can be reached and read."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from studio.events import NumericsSampled, NumericsStarted
from studio.runner.numerics import ModuleMatrix
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.plots.heatmap import colours
from studio.ui.plots.heatmap.axis import layer_of, short_name, title_of
from studio.ui.plots.heatmap.heatmap import HeatMap
from studio.ui.plots.heatmap.history import ModuleHistory
from studio.ui.plots.heatmap.image import exponent_levels, picture, reduced
from studio.ui.plots.timeline import Timeline
from tests.screenshots.scripted_numerics import module_names
from tests.ui.plots.conftest import Show, record_of, step_event

EMPTY = {"first": 0, "counts": [1], "zeros": 0, "non_finite": 0}


def sample_of(step: int, largest: list[float], *, because: str = "cadence", bad: int | None = None) -> NumericsSampled:
    """A sample of gradients; module `bad` was not finite."""
    known = [math.nan if math.isnan(value) else 0.0 for value in largest]
    non_finite = [0.5 if place == bad else share for place, share in enumerate(known)]
    return NumericsSampled(
        step=step, grad_scale=4.0, because=because, activation_largest=largest, activation_zeros=known,
        activation_subnormal=known, activation_non_finite=known, gradient_largest=largest, gradient_zeros=known,
        gradient_subnormal=known, gradient_non_finite=non_finite, parameters=EMPTY, gradients=EMPTY,
    )  # fmt: skip


def record_with(samples: list[NumericsSampled], names: list[str], steps: int) -> RunRecord:
    record = record_of([step_event(1), NumericsStarted(modules=names, compute="fp16", every=20), *samples])
    record.apply(step_event(steps))
    return record


@pytest.fixture(scope="module")
def random_matrix() -> ModuleMatrix:
    """400 samples of 60 modules, some regular and some of skips, with blanks and infinities."""
    chance = np.random.default_rng(3)
    steps = np.sort(chance.choice(np.arange(1, 3000), 400, replace=False))
    matrix = ModuleMatrix("gradient", "largest")
    samples = []
    for step in steps:
        largest = np.where(chance.random(60) < 0.1, np.nan, chance.random(60))
        because = "skip" if chance.random() < 0.3 else "cadence"
        samples.append(sample_of(int(step), list(largest), because=because, bad=int(chance.integers(0, 3000))))
    matrix.grow(samples)
    return matrix


@pytest.mark.parametrize(("first", "last"), [(-60.0, 3060.0), (500.0, 900.0), (1200.5, 1240.0), (-20.0, 5.0)])
@pytest.mark.parametrize(("columns", "rows"), [(37, 11), (300, 60), (500, 200)])
def test_every_cell_shows_the_largest_of_all_that_it_covers(
    random_matrix: ModuleMatrix, first: float, last: float, columns: int, rows: int
) -> None:
    cells = reduced(random_matrix, np.linspace(first, last, columns + 1), (0, 60), rows)
    assert cells.shape == (min(rows, 60), columns)
    edges = np.linspace(first, last, columns + 1)
    begins, of = np.array(random_matrix.begins), np.array(random_matrix.of)
    row_edges = [*np.linspace(0, 60, len(cells), endpoint=False).astype(int), 60]
    for column in range(columns):
        # All that begins within the column; where nothing does, what was there before.
        inside = np.flatnonzero((begins >= edges[column]) & (begins < edges[column + 1]))
        before = np.flatnonzero(begins < edges[column])
        held = inside if len(inside) or not len(before) else before[-1:]
        if column == 0:
            held = np.concatenate([before[-1:], inside])
        shown = [of[place] for place in held if of[place] >= 0]
        for row, (top, bottom) in enumerate(itertools.pairwise(row_edges)):
            values = random_matrix.values[shown, top:bottom]
            known = values[~np.isnan(values)]
            got = cells[row, column]
            assert got == known.max() if len(known) else np.isnan(got)


@pytest.mark.parametrize("width", [102_000, 30_000, 1_000, 100, 4])
def test_one_overflow_of_one_module_among_millions_of_cells_is_seen_at_every_zoom(
    show: Show, timeline: Timeline, width: float
) -> None:
    names = module_names()
    plain = sample_of(1, [1.0] * len(names))
    samples = [dataclasses.replace(plain, step=step) for step in range(1, 100_000, 500)]
    samples.insert(10, sample_of(5000, [1.0] * len(names), because="skip", bad=217))
    heat = show(HeatMap, record_with(samples, names, 100_000))
    timeline.zoom(width / timeline.width, at=5000)
    heat.draw()
    alarm = QColor.fromRgba(int(colours.exponent_colours()[colours.ALARM])).rgb()
    image = heat.overlay.image  # type: ignore[attr-defined]
    found = [x for x in range(image.width()) for y in range(image.height()) if image.pixel(x, y) == alarm]
    assert found
    ratio = image.width() / heat.view.width()
    assert min(found) / ratio <= float(heat.view.pixel_of(5001)) + 1
    assert max(found) / ratio >= float(heat.view.pixel_of(5000)) - 1


@pytest.fixture
def small(show: Show) -> HeatMap:
    """Three modules, samples at steps 1 and 21 and a skip at 27, of a run of 40 steps."""
    samples = [
        sample_of(1, [1.0, 2.0, math.nan]),
        sample_of(21, [0.0, 4.0, math.nan]),
        sample_of(27, [8.0, 16.0, math.nan], because="skip", bad=1),
    ]
    heat = show(HeatMap, record_with(samples, ["embed", "layers.0.up_proj", "layers.1.up_proj"], 40))
    assert isinstance(heat, HeatMap)
    return heat


def _pixel(heat: HeatMap, step: float, module: int) -> int:
    image = heat.overlay.image
    x = int(float(heat.view.pixel_of(step)) * image.width() / heat.view.width())
    return int(image.pixel(x, module))


def _colour(value: float) -> int:
    return picture(exponent_levels(np.array([[value]])), colours.exponent_colours()).pixel(0, 0)


def test_colours_stand_for_gradients_times_the_scale(small: HeatMap) -> None:
    assert _pixel(small, 10, 0) == _colour(4.0)
    assert _pixel(small, 10, 1) == _colour(8.0)
    assert _pixel(small, 24, 0) == _colour(0.0) == int(colours.exponent_colours()[0])
    assert _pixel(small, 27.5, 1) == int(colours.exponent_colours()[colours.ALARM])
    assert _pixel(small, 30, 1) == _colour(16.0), "after a skip the regular sample holds again"


def test_what_was_not_recorded_is_blank(small: HeatMap) -> None:
    assert QColor.fromRgba(_pixel(small, 10, 2)).alpha() == 0
    assert QColor.fromRgba(_pixel(small, 0.2, 0)).alpha() == 0


def test_a_sample_paints_its_own_step_before_that_step_is_over(show: Show, timeline: Timeline) -> None:
    record = record_of([NumericsStarted(modules=["m.0"], compute="fp16", every=20), sample_of(1, [2.0])])
    heat = show(HeatMap, record)
    assert isinstance(heat, HeatMap)
    assert timeline.newest == 0
    assert _pixel(heat, 1.5, 0) == _colour(8.0)


def _middle(heat: HeatMap, step: float, module: int) -> QPoint:
    x = float(heat.view.pixel_of(step))
    y = heat.overlay.height_of(-module - 0.5)
    return heat.mapFromScene(heat.view.mapToScene(x, y))


def test_a_click_chooses_the_cell_under_the_mouse(small: HeatMap, qtbot: QtBot) -> None:
    with qtbot.waitSignal(small.chosen) as chosen:
        qtbot.mouseClick(small.viewport(), Qt.MouseButton.LeftButton, pos=_middle(small, 24, 1))
    assert chosen.args == [1, 21]
    assert small.choice == (1, 21)


def test_the_cell_under_the_mouse_is_read_in_numbers(small: HeatMap, qtbot: QtBot) -> None:
    qtbot.mouseMove(small.viewport(), _middle(small, 10, 1))
    text = small._text_at_cursor()
    assert "step 1" in text
    assert "layers.0.up_proj" in text
    assert "2.00, times the scale 8.00 (≈ 2³)" in text
    assert "zero 0 %" in text


def test_arrows_go_from_cell_to_cell_and_enter_chooses(small: HeatMap, qtbot: QtBot) -> None:
    qtbot.keyClick(small, Qt.Key.Key_Up)
    assert (small.timeline.cursor, small.module) == (27, 1), "the newest sample, the module that was not finite"
    qtbot.keyClick(small, Qt.Key.Key_Left)
    qtbot.keyClick(small, Qt.Key.Key_Up)
    assert (small.timeline.cursor, small.module) == (21, 0)
    for _ in range(5):
        qtbot.keyClick(small, Qt.Key.Key_Left)
        qtbot.keyClick(small, Qt.Key.Key_Up)
    assert (small.timeline.cursor, small.module) == (1, 0)
    with qtbot.waitSignal(small.chosen) as chosen:
        qtbot.keyClick(small, Qt.Key.Key_Return)
    assert chosen.args == [0, 1]


def test_the_map_is_described_in_words(small: HeatMap) -> None:
    assert small.summary() == ("3 samples of 3 modules. Step 27: not finite in 1 module, layers.0.up_proj.")


def test_a_run_that_records_nothing_says_so(show: Show) -> None:
    heat = show(HeatMap, record_of([step_event(1)]))
    assert "does not look inside" in heat.overlay.message


def test_a_run_that_has_not_looked_yet_waits(show: Show) -> None:
    heat = show(HeatMap, record_with([], ["a"], 2))
    assert "Waiting for the first look" in heat.overlay.message


def test_rows_are_named_by_layers_and_thinned_to_what_fits(show: Show) -> None:
    names = module_names()
    heat = show(HeatMap, record_with([sample_of(1, [1.0] * len(names))], names, 40))
    assert isinstance(heat, HeatMap)
    low, high = heat.view.viewRange()[1]
    (_, places), *_ = heat.rows.tickValues(low, high, heat.view.height())
    assert 3 <= len(places) * heat.rows.style["tickTextHeight"] <= heat.view.height()
    assert heat.rows.tickStrings(places, 1.0, 1.0)[0] in ("layer 0", "layer 2", "layer 4", "layer 5")


@pytest.mark.parametrize(
    ("name", "layer", "short", "title"),
    [
        ("model.layers.12.mlp.down_proj", 12, "12 down_proj", "Layer 12 down_proj"),
        ("model.layers.3", 3, "layer 3", "Layer 3"),
        ("lm_head", None, "lm_head", "lm_head"),
    ],
)
def test_a_module_is_named_without_what_all_share(name: str, layer: int | None, short: str, title: str) -> None:
    assert (layer_of(name), short_name(name), title_of(name)) == (layer, short, title)


def _luminance(packed: np.ndarray) -> np.ndarray:
    parts = np.stack([(packed >> shift & 0xFF) / 255 for shift in (16, 8, 0)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return np.array([0.2126, 0.7152, 0.0722]) @ linear


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_larger_is_darker_on_white_and_lighter_on_black_all_the_way_to_overflow(shade: theme.Choice) -> None:
    theme.choose(shade)
    ramp = _luminance(colours.exponent_colours()[: colours.LEVELS].astype(np.int64))
    finite = ramp[: round((colours.OVERFLOW - colours.LOW) / (colours.HIGH - colours.LOW) * colours.LEVELS) - 1]
    theme.choose("light")
    change = np.diff(finite)
    assert (change <= 1e-3).all() if shade == "light" else (change >= -1e-3).all()
    assert abs(finite[-1] - finite[0]) > 0.6


def _as_dichromats_see(packed: np.ndarray) -> list[np.ndarray]:
    """Colours as seen without green cones and without red ones (Viénot, Brettel, Mollon 1999), in linear RGB."""
    parts = np.stack([(packed >> shift & 0xFF) / 255 for shift in (16, 8, 0)]) ** 2.2
    deutan = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    protan = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    return [(kind @ parts).clip(0, 1) ** (1 / 2.2) for kind in (np.eye(3), deutan, protan)]


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_what_is_not_finite_looks_like_nothing_else_whatever_the_eyes(shade: theme.Choice) -> None:
    theme.choose(shade)
    packed = colours.exponent_colours().astype(np.int64)
    theme.choose("light")
    for seen in _as_dichromats_see(packed):
        finite, alarm = seen[:, : round(colours.LEVELS * 0.955)], seen[:, [colours.ALARM]]
        assert np.sqrt(((finite - alarm) ** 2).sum(axis=0)).min() > 0.2


def test_a_history_shows_every_sample_and_marks_what_was_not_finite(show: Show) -> None:
    samples = [sample_of(1, [1.0, 2.0]), sample_of(5, [1.0, 2.0], because="skip", bad=1), sample_of(21, [1.0, 3.0])]
    record = record_with(samples, ["a", "b"], 40)
    history = show(ModuleHistory, record)
    assert isinstance(history, ModuleHistory)
    matrix = ModuleMatrix("gradient", "largest")
    matrix.grow(record.samples)
    history.show_module("b", 1, matrix)
    history.draw()
    x, y = history.line.item.getData()
    assert list(zip(x, y, strict=True)) == [(1, 3.0), (21, pytest.approx(math.log2(12.0)))]
    assert list(history.overlay.marks[0].not_finite) == [5]
    assert "b" in history.summary()
    assert "1 value is not finite, at step 5" in history.summary()
    assert history.reading(5) == "∞"
    assert history.reading(9) == "8.00 (≈ 2³)", "a skip says nothing about the steps after it"


def test_one_sample_is_one_sample_in_words(show: Show) -> None:
    heat = show(HeatMap, record_with([sample_of(1, [2.0, 3.0])], ["m.0", "m.1"], 2))
    assert heat.summary().startswith("1 sample of 2 modules.")


def test_a_sample_that_came_since_the_map_was_drawn_is_described(show: Show) -> None:
    record = record_of([step_event(1)])
    heat = show(HeatMap, record)
    record.apply(NumericsStarted(modules=["a", "b"], compute="fp16", every=20))
    record.apply(sample_of(20, [1.0, 2.0]))
    assert heat.summary().startswith("1 sample of 2 modules.")


def test_samples_that_do_not_fit_their_modules_are_left_out(show: Show) -> None:
    record = record_with([sample_of(5, [1.0, 2.0]), sample_of(6, [1.0]), sample_of(7, [3.0, 4.0])], ["a", "b"], 10)
    assert [sample.step for sample in record.samples] == [5, 7]
    heat = show(HeatMap, record)
    record.apply(NumericsStarted(modules=["c"], compute="fp16", every=20))
    record.apply(sample_of(9, [1.0]))
    heat.refresh()
    heat.draw()
    assert heat.summary().startswith("1 sample of 1 module")
