"""Ten updates, a checkpoint on the disk and ten more are twenty unbroken ones, bit for bit, in every method and format.

The updates here are made on a tiny model alone; `test_resume.py` has whole runs.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from studio.engine.precision import PRECISIONS
from studio.engine.training import checkpoint
from studio.engine.training.state import Position
from tests.tiny import Bench, bench, rows

METHODS: dict[str, dict[str, object]] = {
    "full": {"name": "full"},
    "lora": {"name": "lora", "rank": 4, "dropout": 0.2},
    "dora": {"name": "lora", "rank": 4, "dora": True},
    "bottleneck-adapter": {"name": "bottleneck-adapter", "bottleneck": 8},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 4},
    "p-tuning": {"name": "p-tuning", "virtual_tokens": 4, "hidden_size": 16},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 4},
    "ia3": {"name": "ia3"},
}
# The scale doubles after every third good update, so that ten of them end in the middle of a streak.
SETTINGS: dict[str, dict[str, object]] = {
    "fp16-mixed": {"initial_scale": 1024.0, "growth_interval": 3},
    "fp16-pure": {"initial_scale": 1024.0, "growth_interval": 3},
    "bf16-pure": {"stochastic_rounding": True},
}
HALF = 10


def _losses(tiny: Bench, first: int, last: int) -> list[float]:
    return [tiny.update(rows(4, seed=number, longest=12), rate=1e-3).loss for number in range(first, last)]


@pytest.mark.parametrize(("method", "precision"), list(itertools.product(METHODS, PRECISIONS.names())))
def test_losses_weights_and_states_go_on_bit_for_bit(method: str, precision: str, tmp_path: Path) -> None:
    options = METHODS[method], {"name": precision} | SETTINGS.get(precision, {})
    whole, resumed = bench(*options), bench(*options)
    _losses(whole, 0, HALF)
    checkpoint.write(checkpoint.take(whole.trainer, Position(HALF, HALF, HALF)), tmp_path / "step-000010")
    unbroken = _losses(whole, HALF, 2 * HALF)
    position = Position()
    checkpoint.put_back(checkpoint.read(tmp_path / "step-000010"), resumed.trainer, position)
    resumed.attempts = position.step
    assert _losses(resumed, HALF, 2 * HALF) == unbroken
    assert all(map(math.isfinite, unbroken))
    ours, theirs = (checkpoint.take(tiny.trainer, Position()) for tiny in (resumed, whole))
    assert ours.scaler == theirs.scaler
    for found, wanted in ((ours.trained, theirs.trained), (ours.optimizer, theirs.optimizer)):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
