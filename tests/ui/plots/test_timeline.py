"""All charts of a page look at the same steps, and what follows the run keeps on following it."""

from __future__ import annotations

import pytest

from studio.ui.plots.timeline import MARGIN, SHORTEST, Timeline


@pytest.fixture
def long(timeline: Timeline) -> Timeline:
    timeline.restart(1000)
    return timeline


def test_a_new_run_is_shown_whole(long: Timeline) -> None:
    assert long.whole
    assert long.first < 0
    assert long.last > 1000


def test_the_whole_view_grows_with_the_run(long: Timeline) -> None:
    long.grow(4000)
    assert long.last > 4000


def test_a_zoomed_view_that_holds_the_newest_step_keeps_its_width_and_holds_it(long: Timeline) -> None:
    long.zoom(0.1, at=long.newest)
    width = long.width
    long.grow(1500)
    assert long.following
    assert long.first < 1500 <= long.last
    assert long.width == pytest.approx(width)


def test_a_view_that_looks_back_stays_where_it_is(long: Timeline) -> None:
    long.zoom(0.1, at=200)
    before = (long.first, long.last)
    long.grow(5000)
    assert (long.first, long.last) == before


def test_zooming_keeps_the_step_under_the_pointer_in_place(long: Timeline) -> None:
    place = (300 - long.first) / long.width
    long.zoom(0.5, at=300)
    assert (300 - long.first) / long.width == pytest.approx(place)


def test_panning_never_leaves_the_run(long: Timeline) -> None:
    long.zoom(0.2, at=500)
    for _ in range(50):
        long.pan(1.0)
    assert long.last == pytest.approx(long.bounds[1])
    for _ in range(50):
        long.pan(-1.0)
    assert long.first == pytest.approx(long.bounds[0])


def test_zooming_out_far_enough_shows_everything_and_follows_again(long: Timeline) -> None:
    long.zoom(0.1, at=200)
    long.zoom(100.0, at=200)
    assert long.whole
    assert long.following


def test_zooming_in_stops_at_a_few_steps(long: Timeline) -> None:
    for _ in range(100):
        long.zoom(0.5, at=500)
    assert 1 <= long.width <= 10


def test_the_cursor_stays_within_the_run(long: Timeline) -> None:
    long.set_cursor(5000)
    assert long.cursor == 1000
    long.set_cursor(-3)
    assert long.cursor == 0


def test_a_cursor_moved_by_keyboard_brings_the_view_along(long: Timeline) -> None:
    long.zoom(0.05, at=100)
    long.move_cursor(900)
    assert long.first <= 900 <= long.last


def test_a_short_run_has_no_room_beyond_its_plan() -> None:
    timeline = Timeline()
    timeline.restart(0, planned=8)
    assert timeline.last == pytest.approx(8 * (1 + MARGIN))
    timeline.grow(11, 8)  # three steps were skipped
    assert timeline.last == pytest.approx(11 * (1 + MARGIN))
    timeline.restart(0, planned=1000)
    assert timeline.last == pytest.approx(SHORTEST * (1 + MARGIN))


def test_the_plan_becomes_known_while_nothing_else_has_changed() -> None:
    timeline = Timeline()
    timeline.restart()
    timeline.grow(0, 6)
    assert timeline.last < 7
