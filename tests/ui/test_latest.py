from __future__ import annotations

import threading

from pytestqt.qtbot import QtBot

from studio.engine.control import Progress
from studio.errors import DataError
from studio.ui.bridge import AppContext
from studio.ui.latest import Latest


def test_only_the_last_question_is_answered(context: AppContext, qtbot: QtBot) -> None:
    answers: list[int] = []
    latest: Latest[int] = Latest(context, context, "test", answers.append, lambda _: None)
    for number in range(5):
        latest.ask(lambda _, number=number: number, pause=0)
    qtbot.waitUntil(lambda: not latest.pending)
    assert answers == [4]


def test_a_newer_question_cancels_the_one_under_way(context: AppContext, qtbot: QtBot) -> None:
    answers: list[str] = []
    latest: Latest[str] = Latest(context, context, "test", answers.append, answers.append)
    begun, ended = threading.Event(), threading.Event()

    def endless(progress: Progress) -> str:
        begun.set()
        try:
            while True:
                progress("reading_data", 0, 0)
        finally:
            ended.set()

    latest.ask(endless, pause=0)
    qtbot.waitUntil(begun.is_set)
    latest.ask(lambda _: "second", pause=0)
    qtbot.waitUntil(lambda: answers == ["second"])
    assert ended.is_set()


def test_a_question_that_is_dropped_is_not_answered(context: AppContext, qtbot: QtBot) -> None:
    answers: list[str] = []
    latest: Latest[str] = Latest(context, context, "test", answers.append, answers.append)
    go = threading.Event()

    def slow(_: Progress) -> str:
        go.wait(5)
        return "late"

    latest.ask(slow, pause=0)
    qtbot.waitUntil(lambda: context.busy)
    latest.drop()
    assert not latest.pending
    go.set()
    qtbot.waitUntil(lambda: not context.busy)
    context.tick()
    assert answers == []


def test_an_error_is_told_in_its_sentence_and_a_defect_without_a_traceback(context: AppContext, qtbot: QtBot) -> None:
    told: list[str] = []

    def fail(error: Exception) -> None:
        latest: Latest[None] = Latest(context, context, "Reading", lambda _: None, told.append)

        def action(_: Progress) -> None:
            raise error

        latest.ask(action, pause=0)
        qtbot.waitUntil(lambda: not latest.pending)

    fail(DataError("Line 3 is not JSON."))
    fail(KeyError("x"))
    assert told == ["Line 3 is not JSON.", "Reading failed unexpectedly (KeyError); the log has the details."]
