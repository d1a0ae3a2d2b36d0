"""The loss on held-out rows is that of the model as it will be used: without dropout, each token counted once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.engine.control import no_progress
from studio.engine.training.evaluate import evaluate
from tests.tiny import Row, bench, micro_batches, rows


class Held:
    """Rows with their lengths, as the data room holds them."""

    def __init__(self, chosen: list[Row]) -> None:
        self._rows = chosen
        self.lengths = np.array([len(row.input_ids) for row in chosen])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]


@pytest.mark.parametrize("token_budget", [1, 10_000])
def test_the_loss_is_that_without_dropout_and_training_goes_on_with_it(token_budget: int) -> None:
    tiny, chosen = bench({"name": "lora", "rank": 4, "dropout": 0.5}), rows(6)
    for adapter in tiny.parameters:  # so that what is dropped would matter
        torch.nn.init.normal_(adapter, generator=torch.Generator().manual_seed(0))
    tiny.trainer.token_budget = token_budget
    found = evaluate(tiny.trainer, Held(chosen), no_progress)  # type: ignore[arg-type]
    assert tiny.model.training
    (batch,) = micro_batches(chosen)
    tiny.model.eval()
    with torch.no_grad():
        expected = float(tiny.loss(batch)) / batch.supervised
    assert found.loss == pytest.approx(expected, rel=1e-6)
    assert (found.rows, found.supervised_tokens) == (6, batch.supervised)
