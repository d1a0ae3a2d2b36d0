"""Python's collector of circles takes a seventh of an export's time, and finds nothing there that `release` leaves."""

from __future__ import annotations

import gc

import pytest

from studio.engine.export import memory
from studio.engine.export.merge import no_collections
from studio.engine.export.run import export_run
from studio.engine.export.verify import verify_export
from tests.engine.export.conftest import MakeRun


@pytest.mark.parametrize("parts", [False, True])
def test_the_collector_rests_while_models_are_exported_and_checked_again(
    parts: bool, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    collecting: dict[str, set[bool]] = {"merging": set(), "writing": set(), "verifying": set()}

    def progress(stage: str, done: int, total: int) -> None:
        collecting.setdefault(stage, set()).add(gc.isenabled())

    monkeypatch.setattr(memory, "needs_parts", lambda source, target: parts)
    result = export_run(make_run("llama-tied"), "merged", progress=progress)
    assert result.passed
    assert collecting["merging"] == collecting["writing"] == collecting["verifying"] == {False}

    collecting.clear()
    assert verify_export(result.path, progress).passed
    assert collecting["merging"] == {False}
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
