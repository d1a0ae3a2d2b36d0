"""Background work ends in exactly one signal, in the window's thread; what was replaced or dropped emits nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from studio.engine.control import Progress
from studio.errors import DataError
from studio.ui.bridge import AppContext
from studio.ui.job import Job

LATEST_SECONDS = 20


class Heard:
    """What a job has emitted, in order; every signal must come in the main thread."""

    def __init__(self, job: Job) -> None:
        self.signals: list[tuple[Any, ...]] = []
        for name in ("finished", "failed", "cancelled", "progressed"):
            getattr(job, name).connect(self._slot(name))

    def _slot(self, name: str) -> Callable[..., None]:
        def hear(*values: Any) -> None:
            assert threading.current_thread() is threading.main_thread()
            self.signals.append((name, *values))

        return hear

    def ends(self) -> list[tuple[Any, ...]]:
        return [signal for signal in self.signals if signal[0] != "progressed"]


class Held:
    """An action that has begun and goes on until it is released; `report` says whether it can be cancelled."""

    def __init__(self, value: object = None, *, report: bool = False) -> None:
        self.value, self.report = value, report
        self.begun, self.release, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, progress: Progress) -> object:
        self.begun.set()
        try:
            while not self.release.wait(0.001 if self.report else LATEST_SECONDS):
                progress("reading_data", 0, 0)
            return self.value
        finally:
            self.ended.set()


@pytest.fixture
def job(context: AppContext) -> Job:
    return Job(context, context, "Reading")


@pytest.fixture
def heard(job: Job) -> Heard:
    return Heard(job)


def _settle(context: AppContext) -> None:
    """Let every thread end, and look at the jobs more often than is needed."""
    assert context.join(LATEST_SECONDS)
    for _ in range(3):
        context.tick()


def test_a_value_finishes_the_job_after_its_progress(job: Job, heard: Heard, context: AppContext) -> None:
    def action(progress: Progress) -> dict[str, int]:
        progress("downloading", 5 << 30, 6 << 30)  # more than Qt's 32 bits hold
        return {"rows": 3}

    job.start(action)
    assert job.running
    _settle(context)
    assert heard.signals == [("progressed", "downloading", 5 << 30, 6 << 30), ("finished", {"rows": 3})]
    assert not job.running


def test_nobody_has_to_poll(job: Job, qtbot: QtBot) -> None:
    with qtbot.waitSignal(job.finished):
        job.start(lambda _: 1)


def test_an_error_of_ours_fails_the_job_with_its_sentence(job: Job, heard: Heard, context: AppContext) -> None:
    def action(_: Progress) -> None:
        raise DataError("Line 3 is not JSON.")

    job.start(action)
    _settle(context)
    assert heard.signals == [("failed", "Line 3 is not JSON.")]
    assert not job.running


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(0)])
def test_a_defect_is_one_sentence_and_a_traceback_in_the_log(
    job: Job, heard: Heard, context: AppContext, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def action(_: Progress) -> None:
        raise error

    with caplog.at_level(logging.ERROR):
        job.start(action)
        _settle(context)
    kind = type(error).__name__
    assert heard.signals == [("failed", f"Reading failed unexpectedly ({kind}); the log has the details.")]
    assert "Traceback" in caplog.text


def test_cancelled_midway_it_says_so_once_it_has_ended(job: Job, heard: Heard, context: AppContext) -> None:
    action = Held(report=True)
    job.start(action)
    action.begun.wait(LATEST_SECONDS)
    job.cancel()
    _settle(context)
    assert action.ended.is_set()
    assert heard.ends() == [("cancelled",)]
    assert not job.running


def test_until_a_cancelled_action_has_ended_the_job_runs_and_tells_no_progress(
    job: Job, heard: Heard, context: AppContext
) -> None:
    reported, action = threading.Event(), Held()

    def report_then_wait(progress: Progress) -> object:
        progress("saving", 1, 2)
        reported.set()
        action(progress)
        progress("saving", 2, 2)

    job.start(report_then_wait)
    reported.wait(LATEST_SECONDS)
    job.cancel()
    context.tick()
    assert job.running
    assert heard.signals == []
    action.release.set()
    _settle(context)
    assert heard.signals == [("cancelled",)]


def test_cancelled_before_it_has_begun_it_never_begins(job: Job, heard: Heard, context: AppContext) -> None:
    before, after = Held(), Held()
    job.start(before)
    job.start(after)  # waits for the one before
    job.cancel()
    assert heard.signals == [("cancelled",)]
    assert not job.running
    before.release.set()
    _settle(context)
    assert heard.signals == [("cancelled",)]
    assert not after.begun.is_set()


def test_cancelled_while_the_user_still_types_it_never_begins(job: Job, heard: Heard, qtbot: QtBot) -> None:
    action = Held()
    job.start_soon(action)
    job.cancel()
    qtbot.waitUntil(lambda: not job.running)
    assert heard.signals == [("cancelled",)]
    assert not action.begun.is_set()


def test_cancelled_after_its_end_it_keeps_its_end(job: Job, heard: Heard, context: AppContext) -> None:
    job.start(lambda _: 7)
    assert context.join(LATEST_SECONDS)
    job.cancel()
    _settle(context)
    job.cancel()
    _settle(context)
    assert heard.signals == [("finished", 7)]


def test_what_came_to_its_end_in_spite_of_a_cancel_is_finished(job: Job, heard: Heard, context: AppContext) -> None:
    action = Held("written")
    job.start(action)
    job.cancel()
    action.release.set()
    _settle(context)
    assert heard.signals == [("finished", "written")]


def test_a_newer_action_cancels_the_one_at_work_and_begins_after_it(
    job: Job, heard: Heard, context: AppContext, qtbot: QtBot
) -> None:
    old = Held("old", report=True)
    job.start(old)
    old.begun.wait(LATEST_SECONDS)
    overlapped = []
    job.start(lambda _: overlapped.append(not old.ended.is_set()) or "new")
    qtbot.waitUntil(lambda: heard.ends() != [])
    _settle(context)
    assert heard.ends() == [("finished", "new")]
    assert overlapped == [False]


def test_a_newer_action_takes_the_place_of_one_that_has_ended_untold(
    job: Job, heard: Heard, context: AppContext, qtbot: QtBot
) -> None:
    job.start(lambda _: "old")
    assert context.join(LATEST_SECONDS)
    job.start(lambda _: "new")
    qtbot.waitUntil(lambda: not job.running)
    _settle(context)
    assert heard.signals == [("finished", "new")]


def test_of_many_questions_while_typing_only_the_last_is_answered(job: Job, heard: Heard, qtbot: QtBot) -> None:
    asked: list[int] = []
    for number in range(5):
        job.start_soon(lambda _, number=number: asked.append(number) or number)
    qtbot.waitUntil(lambda: not job.running)
    assert asked == [4]
    assert heard.signals == [("finished", 4)]


def test_dropped_it_emits_nothing_and_can_be_started_again(
    job: Job, heard: Heard, context: AppContext, qtbot: QtBot
) -> None:
    action = Held("late")
    job.start(action)
    job.drop()
    assert not job.running
    action.release.set()
    _settle(context)
    assert heard.signals == []
    job.start(lambda _: "again")
    qtbot.waitUntil(lambda: not job.running)
    assert heard.signals == [("finished", "again")]


def test_a_slot_may_start_the_job_anew(job: Job, context: AppContext, qtbot: QtBot) -> None:
    values: list[int] = []

    def go_on(value: int) -> None:
        values.append(value)
        assert not job.running
        if value < 3:
            job.start(lambda _: value + 1)

    job.finished.connect(go_on)
    job.start(lambda _: 1)
    qtbot.waitUntil(lambda: values == [1, 2, 3])


def test_a_job_whose_owner_is_gone_is_cancelled_and_emits_nothing(context: AppContext, qtbot: QtBot) -> None:
    page = QObject()
    job = Job(page, context, "Reading")
    heard, action = Heard(job), Held("late", report=True)
    job.start(action)
    action.begun.wait(LATEST_SECONDS)
    with qtbot.waitSignal(page.destroyed):
        page.deleteLater()
    assert action.ended.wait(LATEST_SECONDS)
    _settle(context)
    assert heard.signals == []


def test_a_window_that_closes_starts_nothing_more(job: Job, heard: Heard, context: AppContext) -> None:
    first, second = Held(report=True), Held()
    job.start(first)
    first.begun.wait(LATEST_SECONDS)
    context.cancel_all()
    _settle(context)
    job.start(second)
    _settle(context)
    assert heard.ends() == [("cancelled",), ("cancelled",)]
    assert not second.begun.is_set()
