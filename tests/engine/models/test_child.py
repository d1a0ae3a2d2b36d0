from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from studio.engine.models.child import ChildFailed, download_with
from studio.errors import Cancelled

GROW = "import sys, time; f = open(sys.argv[1], 'wb', 0)\nfor i in range(1000): f.write(bytes(10)); time.sleep(0.02)"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_a_cancelled_child_is_killed_and_progress_is_the_growth_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(bytes(5))
    seen = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))
        if done >= 100:
            raise Cancelled

    with pytest.raises(Cancelled):
        download_with(python(GROW, str(tmp_path / "new")), tmp_path, 10_000, progress)
    assert {(stage, total) for stage, _, total in seen} == {("downloading", 10_000)}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[0][1] < 100
    assert psutil.Process().children() == []


def test_a_child_gives_what_it_prints(tmp_path: Path) -> None:
    code = "import os; print(os.environ['OWN_VALUE'])"
    assert download_with(python(code), tmp_path, 0, lambda *_: None, {"OWN_VALUE": "here"}).strip() == "here"


def test_a_child_that_fails_gives_the_end_of_its_errors(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="no such thing"):
        download_with(python("raise SystemExit('no such thing')"), tmp_path, 0, lambda *_: None)
