"""The learning rate over a run."""

from __future__ import annotations

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from studio.config import TrainingConfig
from studio.engine.training.optimizer import learning_rate


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_it_rises_to_the_asked_rate_and_never_exceeds_it(schedule: str) -> None:
    config = TrainingConfig.model_validate({"schedule": schedule, "learning_rate": 1e-3, "warmup_ratio": 0.1})
    rates = [learning_rate(config, update, 100) for update in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(1e-3)
    assert all(rate > 0 for rate in rates)


def test_the_cosine_after_warm_up_is_that_of_transformers() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_ratio=0.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = get_cosine_schedule_with_warmup(optimizer, 0, 50)
    for update in range(50):
        assert learning_rate(config, update, 50) == pytest.approx(oracle.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        oracle.step()


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_warm_up_is_a_line_that_the_first_update_begins_above_zero(schedule: str) -> None:
    config = TrainingConfig.model_validate({"schedule": schedule, "learning_rate": 6.0, "warmup_ratio": 0.1})
    assert [learning_rate(config, update, 50) for update in range(6)] == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def test_the_line_after_warm_up_ends_one_update_above_zero() -> None:
    config = TrainingConfig(schedule="linear", learning_rate=1.0, warmup_ratio=0.2)
    assert [learning_rate(config, update, 10) for update in (2, 3, 6, 9)] == pytest.approx([1.0, 7 / 8, 0.5, 1 / 8])
