"""Python's collector of circles takes a seventh of an export's time, and finds nothing there that `release` leaves."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from studio.engine.export.merge import no_collections
from studio.engine.export.run import export_run
from studio.engine.export.verify import verify_export
from tests.engine.export.conftest import MakeRun


def test_the_collector_rests_during_an_export_and_its_second_check(make_run: MakeRun, tmp_path: Path) -> None:
    collecting: list[bool] = []

    def progress(stage: str, done: int, total: int) -> None:
        collecting.append(gc.isenabled())

    result = export_run(make_run("llama-tied"), "merged", out=tmp_path / "export", progress=progress)
    of_export = len(collecting)
    assert verify_export(result.path, progress).passed
    assert len(collecting) > of_export > 0
    assert not any(collecting)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off_and_one_that_was_on_is_on_after_an_error() -> None:
    with pytest.raises(KeyError), no_collections():
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with no_collections():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
