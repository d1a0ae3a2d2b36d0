"""Work in a process of its own: its reports, its result, each way in which it can end, and that it leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.engine.child import Child, ChildFailed, run_in_child
from studio.engine.control import Progress
from studio.engine.hub.watched import download_in_child
from studio.errors import Cancelled, DataError
from studio.i18n import language, set_language

PACKAGE = Path(__file__).parents[2]


def answer(job: Any, progress: Progress) -> Any:
    print("a library that prints on the output")
    os.write(1, b"and one in C\n")
    progress("training", 1, 5 << 30)
    return {"job": job, "process": os.getpid(), "language": language()}


def refuse(job: Any, _: Progress) -> None:
    raise DataError(job)


def fail(job: Any, _: Progress) -> None:
    raise KeyError(job)


def leave(job: int, _: Progress) -> None:
    os._exit(job)


def die(job: int, _: Progress) -> None:
    os.kill(os.getpid(), job)


def wait(job: Any, progress: Progress) -> None:
    progress("waiting", os.getpid(), 0)
    threading.Event().wait()


def wait_without_a_report(job: Any, progress: Progress) -> None:
    threading.Event().wait()


def start_slowly(_: Any, progress: Progress) -> str:
    threading.Event().wait(1)
    progress("started", 0, 0)
    return "done"


def swell(size: int, _: Progress) -> int:
    kept = b"x" * size
    threading.Event().wait()
    return len(kept)


def count_jobs(number: int, _: Progress, seen: list[int] = []) -> int:  # noqa: B006  it remembers on purpose
    if number < 0:
        raise DataError("negative")
    seen.append(number)
    return sum(seen)


def grow(file: str, progress: Progress) -> str:
    with Path(file).open("wb", 0) as growing:
        while True:
            growing.write(bytes(10))
            threading.Event().wait(0.005)


def test_a_child_reports_and_answers_whatever_is_printed_meanwhile() -> None:
    set_language("zh_CN")
    reports: list[tuple[str, int, int]] = []
    job = {"path": 'a "b" 模型\n', "long": "x" * 1_000_000}  # more than a pipe holds
    found = run_in_child(answer, job, lambda *report: reports.append(report))
    assert found["job"] == job
    assert found["process"] != os.getpid()
    assert found["language"] == "zh_CN"
    assert reports[0] == ("starting", 0, 0)
    assert reports[-1] == ("training", 1, 5 << 30)


def test_a_refusal_is_raised_here_as_it_was_there() -> None:
    with pytest.raises(DataError, match=r"^Line 3 is not JSON\.$"):
        run_in_child(refuse, "Line 3 is not JSON.")


def test_a_defect_gives_the_end_of_its_errors() -> None:
    with pytest.raises(ChildFailed, match="KeyError: 'lost'") as failure:
        run_in_child(fail, "lost")
    assert failure.value.code == 1


@pytest.mark.parametrize(("work", "job", "code"), [(leave, 7, 7), (die, signal.SIGKILL, -9), (leave, 0, 0)])
def test_an_end_without_a_word_is_a_failure_with_its_status(work: Any, job: int, code: int) -> None:
    with pytest.raises(ChildFailed) as failure:
        run_in_child(work, job)
    assert failure.value.code == code


def test_a_cancelled_child_is_killed() -> None:
    seen: list[int] = []

    def progress(stage: str, done: int, _: int) -> None:
        if stage == "waiting":
            seen.append(done)
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        run_in_child(wait, None, progress)
    assert not psutil.pid_exists(seen[0])


def test_a_child_that_reports_nothing_can_be_cancelled() -> None:
    calls: list[int] = []
    before = psutil.Process().children()

    def progress(*_: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        run_in_child(wait_without_a_report, None, progress)
    assert psutil.Process().children() == before


def test_a_child_that_takes_too_long_is_killed() -> None:
    seen: list[int] = []
    with Child(wait) as child, pytest.raises(TimeoutError):
        child.ask(None, lambda _stage, done, _total: seen.append(done), seconds=0.05)
    assert not psutil.pid_exists(seen[-1])


def test_the_time_before_the_first_report_does_not_count() -> None:
    with Child(start_slowly) as child:
        assert child.ask(None, seconds=0.4) == "done"


def test_a_child_that_takes_too_much_memory_is_stopped() -> None:
    with Child(swell) as child, pytest.raises(MemoryError):
        child.ask(200_000_000, memory=150_000_000)


def test_one_child_does_one_job_after_another_also_after_a_refusal() -> None:
    with Child(count_jobs) as child:
        assert [child.ask(n) for n in (1, 2)] == [1, 3]
        with pytest.raises(DataError, match="negative"):
            child.ask(-1)
        assert child.ask(4) == 7


def test_a_child_ends_when_its_parent_is_killed() -> None:
    code = (
        "import sys\n"
        "from studio.engine.child import run_in_child\n"
        "from tests.engine.test_child import wait\n"
        "run_in_child(wait, None, lambda stage, done, total: print(done, flush=True) if done else None)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=PACKAGE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(20)
    assert not child.is_running()


def test_the_progress_of_a_download_is_the_growth_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(bytes(5))
    children = psutil.Process().children()
    seen = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))
        if done >= 100:
            raise Cancelled

    with pytest.raises(Cancelled):
        download_in_child(grow, str(tmp_path / "new"), tmp_path, 10_000, progress)
    assert {(stage, total) for stage, _, total in seen} == {("downloading", 10_000)}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[0][1] == 0
    assert psutil.Process().children() == children
