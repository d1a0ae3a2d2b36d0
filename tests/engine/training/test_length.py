"""How many updates a run has, and how much of its time validation takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.config import RunConfig, parse_config
from studio.config.run import override_config
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.engine.training.length import plan_validation, planned_updates, trained_rows
from studio.engine.training.model import check_positions
from studio.errors import ConfigError
from studio.events import EvaluationCompleted, from_json
from tests.engine.training.trained import Trained
from tests.tiny import gpt2, save_model, tokenizer


def config_of(**training: Any) -> RunConfig:
    return parse_config({"model": {"path": "-"}, "data": {"sources": [{"path": "-"}]}, "training": training})


@pytest.mark.parametrize(
    ("training", "rows", "updates", "seen"),
    [
        ({"epochs": 1.0}, 20, 3, 20),
        ({"epochs": 2.5}, 20, 8, 56),  # 2 epochs of 20 rows, and 2 updates of 8
        ({"max_steps": 7}, 20, 7, 48),
        ({"epochs": 3.0, "batch_size": 100}, 20, 3, 60),
    ],
)
def test_updates_and_rows_of_a_run(training: dict[str, Any], rows: int, updates: int, seen: int) -> None:
    config = config_of(**training)
    assert planned_updates(config, rows) == updates
    assert trained_rows(config, rows) == seen


@pytest.mark.parametrize("rows", [100, 380, 5_000, 1_000_000])
@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("epochs", [1, 3])
def test_validation_takes_a_tenth_of_any_run_at_most(rows: int, fraction: float, epochs: int) -> None:
    held_out = max(1, round(rows * fraction))
    trained = (rows - held_out) * epochs
    plan = plan_validation(config_of(), -(-trained // 8), 100.0 * trained, held_out, 100.0 * held_out)
    assert plan.share == plan.passes * plan.rows / (plan.passes * plan.rows + 2 * trained)
    assert plan.share <= 0.1 or plan.rows * plan.passes == 8 * 2
    assert 2 <= plan.passes <= 11
    assert plan.rows <= held_out


def test_a_long_run_measures_all_rows_ten_times() -> None:
    plan = plan_validation(config_of(), 1000, 800_000.0, 50, 5_000.0)
    assert (plan.every, plan.passes, plan.rows) == (100, 11, 50)
    assert plan.share == pytest.approx(11 * 2_500 / (11 * 2_500 + 800_000))


def test_a_short_run_measures_less_often_before_it_measures_fewer_rows() -> None:
    """An epoch of 380 rows allows 84 rows in all: 380 · 0.1 / 0.9 / 0.5."""
    plan = plan_validation(config_of(), 48, 38_000.0, 20, 2_000.0)
    assert (plan.every, plan.passes, plan.rows) == (16, 4, 20)


def test_of_many_held_out_rows_a_sample_is_measured() -> None:
    plan = plan_validation(config_of(), 5938, 4_750_000.0, 2500, 250_000.0)
    assert (plan.passes, plan.rows) == (11, 959)  # 47,500 · 0.1 / 0.9 / 0.5 / 11
    assert plan.share == pytest.approx(0.1, abs=1e-4)


def test_what_the_user_sets_is_obeyed() -> None:
    every = plan_validation(config_of(evaluate_every=2), 48, 38_000.0, 20, 2_000.0)
    assert (every.every, every.passes, every.rows) == (2, 25, 8)
    whole = plan_validation(config_of(evaluation_share=1.0), 48, 38_000.0, 200, 20_000.0)
    assert (whole.every, whole.passes, whole.rows) == (5, 11, 200)


def test_without_held_out_rows_there_are_still_ten_looks_at_what_is_kept() -> None:
    plan = plan_validation(config_of(), 48, 38_000.0, 0, 0.0)
    assert (plan.every, plan.passes, plan.rows, plan.share) == (5, 0, 0, 0.0)


def test_a_bound_on_retention_is_watched_ten_times_even_in_a_short_run() -> None:
    bounded = override_config(config_of(), {"retention.stop_below": 0.8})
    plan = plan_validation(bounded, 48, 38_000.0, 20, 2_000.0)
    assert (plan.every, plan.passes, plan.rows) == (5, 11, 8)


def test_a_run_measures_the_planned_sample_and_says_of_how_many_rows_it_is(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"data": {"validation_fraction": 0.5}, "training": {"max_steps": 6}}).go()
    measured = done.of(EvaluationCompleted)
    assert {(event.rows, event.held_out) for event in measured} == {(8, 10)}
    assert len({event.supervised_tokens for event in measured}) == 1  # the same rows every time
    assert [event.update for event in measured] == [0, 6]


def test_a_journal_of_the_version_before_is_read() -> None:
    line = (
        '{"type": "evaluation_completed", "time": 1.0, "step": 0, "update": 0, "loss": 2.0, "rows": 4, '
        '"supervised_tokens": 40, "seconds": 0.5}'
    )
    event = from_json(line)
    assert isinstance(event, EvaluationCompleted)
    assert (event.rows, event.held_out) == (4, 0)


def test_rows_longer_than_learnt_positions_are_refused_with_the_length_that_fits(tmp_path: Path) -> None:
    gpt2(seed=0).save_pretrained(tmp_path / "learnt")  # it has 128 positions
    tokenizer().save_pretrained(tmp_path / "learnt")
    learnt, rotary = inspect_model(tmp_path / "learnt"), inspect_model(save_model(tmp_path / "rotary"))

    def check(info: ModelInfo, longest: int, method: dict[str, Any]) -> None:
        data = {"sources": [{"path": "-"}], "max_length": longest}
        config = parse_config({"model": {"path": "-"}, "data": data, "method": method})
        check_positions(config, info, SimpleNamespace(longest=longest))  # type: ignore[arg-type]

    prompt = {"name": "prompt-tuning", "virtual_tokens": 8}
    check(learnt, 129, {"name": "lora"})  # the last token is never read
    check(rotary, 10_000, {"name": "lora"})  # they have no end
    with pytest.raises(
        ConfigError, match=r"data\.max_length = 130: the model has 128 positions.* set it to 129 or less"
    ):
        check(learnt, 130, {"name": "lora"})
    with pytest.raises(ConfigError, match=r"of which virtual tokens take 8; set it to 121 or less"):
        check(learnt, 129, prompt)
    with pytest.raises(ConfigError, match=r"virtual_tokens = 128: the model has 128 positions in all"):
        check(learnt, 20, prompt | {"virtual_tokens": 128})
