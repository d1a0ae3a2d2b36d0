"""What the cards say before Start is what the run then does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig, parse_config
from studio.engine.training.forecast import CountedRows, Forecast, forecast
from studio.events import DataPrepared, EvaluationCompleted
from studio.runner import actions
from tests.engine.training.trained import Trained


def config(*sources: dict[str, Any], training: dict[str, Any] | None = None, **data: Any) -> RunConfig:
    listed = [{"path": str(number), **source} for number, source in enumerate(sources)]
    return parse_config({"model": {"path": "-"}, "data": {"sources": listed, **data}, "training": training or {}})


def expect(of: RunConfig, *counted: tuple[int, float]) -> Forecast:
    found = forecast(of, [CountedRows(rows=rows, tokens=tokens) for rows, tokens in counted])
    assert found is not None
    return found


GENERAL = {"role": "general"}


def test_an_epoch_in_rows_and_tokens_by_source() -> None:
    of = config({}, {"weight": 2.0}, GENERAL, replay_ratio=0.25, validation_fraction=0.1)
    found = expect(of, (100, 1000), (50, 5000), (300, 9000))
    assert found.held_out == 15
    assert [(one.rows, one.tokens, one.available) for one in found.sources] == [
        (90, 900.0, 90),
        (90, 9000.0, 45),
        (60, 1800.0, 300),
    ]
    assert [one.repeats for one in found.sources] == [1.0, 2.0, 0.2]
    assert (found.domain_rows, found.general_rows, found.rows) == (180, 60, 240)
    assert (found.domain_tokens, found.general_tokens, found.tokens) == (9900.0, 1800.0, 11700.0)
    assert (found.updates, found.updates_per_epoch) == (30, 30)


def test_general_sources_of_unequal_size_and_weight_divide_the_share() -> None:
    of = config({}, GENERAL, GENERAL | {"weight": 9.0}, replay_ratio=0.5, validation_fraction=0.0)
    found = expect(of, (90, 0), (900, 0), (100, 0))
    assert [one.rows for one in found.sources] == pytest.approx([90, 45, 45])
    assert found.general_available == 1000


def test_blocks_are_told_in_rows() -> None:
    of = config({}, GENERAL, replay_ratio=0.2, mixing="blocks", block_rows=64, validation_fraction=0.0)
    assert expect(of, (400, 0), (50, 0)).block == (64, 16.0)
    assert expect(of, (40, 0), (50, 0)).block == (40, 10.0)


def test_sources_that_are_left_out_give_nothing() -> None:
    of = config({}, {"weight": 0.0}, GENERAL, validation_fraction=0.0)
    found = expect(of, (10, 100), (1000, 9999), (30, 300))
    assert [one.rows for one in found.sources] == [10, 0, 0]
    assert (found.rows, found.tokens) == (10, 100.0)


def test_without_anything_to_learn_there_is_nothing_to_tell() -> None:
    assert forecast(config({}, GENERAL), [CountedRows(rows=0), CountedRows(rows=9)]) is None
    assert forecast(config({"weight": 0.0}), [CountedRows(rows=9)]) is None


def test_a_single_row_is_not_held_out() -> None:
    found = expect(config({}), (1, 30))
    assert (found.held_out, found.domain_rows, found.validation.passes) == (0, 1, 0)


def test_without_a_model_rows_tell_what_validation_takes() -> None:
    known, unknown = expect(config({}), (1000, 5000)), expect(config({}), (1000, 0))
    assert unknown.validation == known.validation
    assert unknown.tokens == 0


def test_the_cards_tell_what_the_run_does(tmp_path: Path) -> None:
    """On files as they are: counted by the inspection, told by the forecast, done by the run."""
    sections = {"data": {"validation_fraction": 0.2}, "training": {"max_steps": 3}}
    run = Trained(tmp_path, sections)
    info = actions.open_model(str(run.model))
    inspections = [actions.open_data(source, info, run.config.data) for source in run.config.data.sources]
    found = actions.forecast(run.config, inspections)
    assert found is not None
    run.go()
    prepared = run.of(DataPrepared)[0]
    assert (found.updates, found.held_out) == (prepared.planned_updates, prepared.validation_rows)
    assert found.rows == prepared.train_rows
    measured = run.of(EvaluationCompleted)
    assert (found.validation.passes, found.validation.rows) == (len(measured), measured[0].rows)
    assert found.domain_tokens == pytest.approx(prepared.tokens, rel=0.2)  # those of the held-out rows are not known
    assert inspections[0].tokens > prepared.tokens
