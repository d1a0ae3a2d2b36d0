"""Dropout as a GPU computes it, tried on a processor: its share, its seed, and numbers of every kind."""

from __future__ import annotations

import pytest
import torch

from studio.engine.kernels.lora import _drop_likewise_on_gpu_, _drop_on_gpu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_dropped_is_marked_and_nothing_else(dtype: torch.dtype) -> None:
    values = torch.tensor([1.5, -2.0, 0.0, -0.0, torch.inf, -torch.inf, torch.nan, -3.0], dtype=dtype).repeat(500)
    torch.manual_seed(5)
    dropped = _drop_on_gpu(values, 0.25)
    torch.manual_seed(5)
    assert torch.equal(dropped.nan_to_num(7.0), _drop_on_gpu(values, 0.25).nan_to_num(7.0))
    gone = (dropped == 0) & dropped.signbit()
    assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(dropped[~gone], values[~gone], rtol=0, atol=0, equal_nan=True)
    again = _drop_likewise_on_gpu_(values.clone(), dropped)
    assert bool((again[gone] == 0).all())
    torch.testing.assert_close(again[~gone], values[~gone], rtol=0, atol=0, equal_nan=True)
