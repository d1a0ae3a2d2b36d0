"""The verdict on underflow against a direct count: tiny models in fp16 and in fp32, from the same start."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from studio.engine.data.batching import MicroBatch
from studio.engine.numerics.diagnosis import Diagnosis
from studio.engine.numerics.facts import StepFacts
from studio.engine.precision import PRECISIONS
from studio.engine.training.loss import SupervisedLoss
from tests import tiny
from tests.engine.numerics.diagnosis_streams import completed, counted, run_config, sampled

METHODS = {"full": {"name": "full"}, "lora": {"name": "lora", "rank": 4, "alpha": 32, "dropout": 0.0}}
BASES = {"llama": tiny.llama, "gpt2": tiny.gpt2}


class Shrunk:
    """A loss made small, as in the miniature of the loss-scaling paper."""

    def __init__(self, loss: SupervisedLoss, factor: float) -> None:
        self._loss, self._factor = loss, factor
        self.virtual_tokens = loss.virtual_tokens

    def __call__(self, batch: MicroBatch, weight: float) -> Tensor:
        return self._loss(batch, weight * self._factor) * self._factor


@dataclass
class Look:
    """Gradients of the parameters, and of the outputs of all linear layers but the last; unscaled."""

    parameters: Tensor
    flowing: Tensor


def look(base: str, method: str, precision: dict[str, object], scale: float, factor: float) -> Look:
    bench = tiny.bench(METHODS[method], precision, base=BASES[base]())
    for _ in range(3):  # LoRA's B leaves zero
        bench.update(tiny.rows())
    flowing: list[Tensor] = []
    layers = [module for name, module in bench.base.named_modules() if name.endswith(("proj", "c_fc", "c_attn"))]
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: output.register_hook(flowing.append) and None)
        for layer in layers
    ]
    shrunk = dataclasses.replace(bench.trainer.model, loss=Shrunk(bench.loss, factor))  # type: ignore[arg-type]
    bench.trainer.model = shrunk
    bench.update(tiny.rows())
    for handle in handles:
        handle.remove()
    gradients = [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in bench.parameters]
    return Look(torch.cat(gradients).double(), torch.cat([g.double().flatten() for g in flowing]) / scale)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [1.0, 1e-5, 1e-6])
@pytest.mark.parametrize("scale", [1.0, 16.0, 65536.0])
def test_underflow_is_said_when_a_direct_count_finds_it(scale: float, factor: float, method: str, base: str) -> None:
    scaling = {"loss_scaling": "static", "initial_scale": scale}
    fp16 = look(base, method, {"name": "fp16-mixed", **scaling}, scale, factor)
    fp32 = look(base, method, {"name": "fp32"}, 1.0, factor)
    lost = ((fp16.parameters == 0) & (fp32.parameters != 0)).sum() / (fp32.parameters != 0).sum()
    diagnosis = Diagnosis(PRECISIONS.get("fp16-mixed"), run_config(**scaling), has_bf16=True)
    verdicts = []
    for step in (1, 21):
        verdicts += diagnosis.observe(
            StepFacts(
                done=completed(
                    step=step,
                    update=step,
                    loss=2.0 * factor,
                    grad_norm=float(fp16.parameters.norm()),
                    grad_scale=scale,
                ),
                sample=sampled(step, scale, counted(fp16.parameters.numpy()), counted(fp16.flowing.numpy())),
            )
        )
    assert {verdict.verdict for verdict in verdicts} <= {"underflow"}
    assert len(verdicts) == (lost >= 0.2) or 0.1 < lost < 0.3
