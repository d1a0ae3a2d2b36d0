"""What happens when the loss on held-out rows is not a number, and nothing else is wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from tests.engine.numerics.scenario import Scenario
from tests.engine.training.trained import Answering
from tests.scenarios.kind_05_validation import (
    BEYOND_FP16,
    MARK,
    RELU_GPT2,
    ROWS,
    SHARE,
    SLOW,
    UNTIED_OPT,
    mark,
    marked_row,
)
from tests.scenarios.models import llama


class Validated(Scenario):
    """A run with held-out rows, one of which has the marked token; the rows are those of `Scenario` otherwise."""

    def __init__(self, folder: Path, model: PreTrainedModel, *, everywhere: bool = False, **sections: Any) -> None:
        data = {"validation_fraction": SHARE}
        super().__init__(folder, model, rows=ROWS, data=data, **sections)
        for number, row in enumerate(self._rows, start=1):
            if everywhere or number == marked_row():
                row["prompt"] = f"{MARK} {row['prompt']}"


def test_one_row_a_batch_is_named_too(tmp_path: Path) -> None:
    model = mark(RELU_GPT2, BEYOND_FP16)
    done = Validated(tmp_path, model, precision={"initial_scale": 16.0}, training=SLOW).train(token_budget=1)
    assert done.verdicts == ["validation_overflow"]
    assert done.diagnosed[0].evidence["module"] == "transformer.h.0.mlp.c_fc"
    assert [row["number"] for row in done.diagnosed[0].evidence["rows"]] == [marked_row()]


@pytest.mark.parametrize("make", [llama, UNTIED_OPT])
def test_what_overflows_in_training_too_is_told_once(tmp_path: Path, make: Any) -> None:
    done = Validated(tmp_path, mark(make, BEYOND_FP16), everywhere=True).train()
    assert done.verdicts == ["forward_overflow"]


def test_a_scale_search_before_the_verdict_does_not_hide_it(tmp_path: Path) -> None:
    precision = {"initial_scale": 2.0**30}
    done = Validated(tmp_path, mark(llama, BEYOND_FP16), precision=precision, training=SLOW).train()
    assert done.verdicts.count("validation_overflow") == 1
    assert set(done.verdicts) == {"validation_overflow", "scale_search"}


def test_without_the_rows_to_blame_the_loss_is_a_number_again_and_the_best_is_one(tmp_path: Path) -> None:
    done = Validated(
        tmp_path,
        mark(llama, BEYOND_FP16),
        precision={"initial_scale": 16.0},
        training=SLOW,
        numerics={"pause_after": 2},
    ).train(control=Answering("skip_rows"))
    losses = [event.loss for event in done.validated]
    assert math.isnan(losses[0])
    assert math.isfinite(losses[-1])
    finite = [loss for loss in losses if math.isfinite(loss)]
    noted = done.folder.read_state()["validation_loss"]
    assert noted == {"first": finite[0], "last": losses[-1], "best": min(finite)}
    assert done.verdicts == ["validation_overflow"]
