"""TF32 is as asked for during a run, and afterwards as it was before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.config import parse_config, write_config
from studio.engine.autocast import tf32
from studio.engine.control import Control
from studio.engine.training import run
from studio.events import ProgressReported, RunEvent
from studio.runs import create_run
from tests.tiny import save_model, save_rows

MATMUL = torch.backends.cuda.matmul


def _fail(allowed: bool) -> None:
    with tf32(allowed):
        assert MATMUL.allow_tf32 is allowed
        raise KeyError


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_as_asked_for_a_while_even_when_that_ends_badly(before: bool, allowed: bool) -> None:
    with tf32(before):
        with pytest.raises(KeyError):
            _fail(allowed)
        assert MATMUL.allow_tf32 is before


def test_a_run_allows_tf32_when_it_is_asked_to(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.jsonl")
    config = parse_config(
        {
            "model": {"path": str(save_model(tmp_path / "model"))},
            "data": {"sources": [{"path": str(tmp_path / "rows.jsonl")}]},
            "precision": {"name": "fp32", "tf32": True},
            "training": {"max_steps": 1, "device": "cpu"},
        }
    )
    seen: set[bool] = set()

    def look(_: RunEvent | ProgressReported) -> None:
        seen.add(MATMUL.allow_tf32)

    run.train(config, create_run(tmp_path / "runs", "test", write_config(config)), Control(), look)
    assert seen == {True}
    assert MATMUL.allow_tf32 is False
