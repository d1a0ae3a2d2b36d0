"""What comparing outputs and rounding weights measure, against the definitions in torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.engine.control import no_progress
from studio.engine.export import compare as comparing
from studio.engine.export.certificate import Certificate
from studio.engine.export.compare import Outputs, compare, record, share_carried
from studio.engine.export.merge import round_weights


def drawn(seed: int, positions: int = 40, vocabulary: int = 11) -> torch.Tensor:
    return 3.0 * torch.randn(positions, vocabulary, generator=torch.Generator().manual_seed(seed))


def test_the_divergence_is_that_of_the_export_from_the_reference_in_nats_a_position() -> None:
    reference, other = drawn(0), drawn(1)
    found = compare(Outputs((reference,)), Outputs((other,))).kl_divergence
    log_p, log_q = F.log_softmax(reference.double(), -1), F.log_softmax(other.double(), -1)
    assert found == pytest.approx(float(F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")))
    assert found != pytest.approx(compare(Outputs((other,)), Outputs((reference,))).kl_divergence)


def test_a_constant_on_all_logits_of_a_position_is_no_effect() -> None:
    base, effect = drawn(2), drawn(3)
    shifted = Outputs((base + effect / 4 + 100.0 * torch.randn(len(base), 1),))
    found = share_carried(Outputs((base + 7.0,)), Outputs((base + effect,)), shifted)
    assert found == pytest.approx(0.25, rel=1e-4)


def test_the_first_tokens_alone_are_compared_at_the_positions_of_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long row, fewer positions are kept; a part of it must not be thinned otherwise."""

    class Positions(nn.Module):
        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
            return type("Output", (), {"logits": input_ids[..., None].expand(-1, -1, 4).float()})

    monkeypatch.setattr(comparing, "KEPT_BYTES", 5 * 4 * 4)  # five positions of a row
    rows = [tuple(range(6)), tuple(range(100, 118)), (7, 8)]
    whole = record(Positions(), rows, no_progress, "verifying")
    first = record(Positions(), rows, no_progress, "verifying", tokens=14)
    assert [row[:, 0].tolist() for row in whole.rows] == [[0, 2, 4], [100, 104, 108, 112, 116], [7, 8]]
    assert [row[:, 0].tolist() for row in first.rows] == [[0, 2, 4], [100, 104]]
    assert compare(whole.over(first), first).max_logit_difference == 0.0


def test_weights_that_rounding_takes_back_to_the_base_are_counted() -> None:
    model = nn.Linear(4, 1, bias=False)
    before = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    # Half a step of bf16 above 1 is 2^-8: the first two changes are rounded away, the third stays, the fourth is none.
    model.weight.data = before + torch.tensor([[2.0**-10, -(2.0**-11), 2.0**-6, 0.0]])
    lost = round_weights(model, {"weight": before.clone()}, {"weight": torch.bfloat16})
    assert lost.unchanged == pytest.approx(2 / 3)
    assert model.weight.tolist() == [[1.0, 1.0, 1.0 + 2.0**-6, 1.0]]
    gone = (2.0**-20 + 2.0**-22) ** 0.5
    assert lost.relative_error == pytest.approx(gone / (gone**2 + 2.0**-12) ** 0.5)


def test_without_a_check_nothing_is_certified() -> None:
    about = {"base": {}, "target": "merged", "dtype": "fp32", "prompts": (), "files": {}, "run": "r", "versions": {}}
    assert not Certificate(checks=(), **about).passed
