"""The optimizer: AdamW of torch for fp32 master weights, and its step with one rounding for 16-bit weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from studio.config import PrecisionConfig, RunConfig, TrainingConfig
from studio.engine.precision import Precision
from studio.engine.seed import step_seed

_LOST_BITS = 16  # bits of detail that fp32 has and bf16 has not; the exponents are the same


def make_optimizer(
    parameters: Sequence[nn.Parameter], training: TrainingConfig, precision: Precision, config: PrecisionConfig
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for weights of this precision, without a rate yet."""
    groups = decay_groups(parameters, training.weight_decay)
    if precision.pure:
        return PureAdamW(groups, stochastic_seed=training.seed if config.stochastic_rounding else None)
    return torch.optim.AdamW(groups, fused=_can_fuse(parameters[0]))


def decay_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameter groups of an optimizer: matrices decay, and vectors (norm gains, biases) do not.

    Decay keeps the products of many terms small. A gain is a scale around 1 and a bias an offset: pulling them to zero
    changes what a layer computes instead. Embeddings are matrices and decay, as in GPT-2's training and in the
    Trainer of transformers; a tied one is the output layer, too. IA3 stores its gains as (n, 1): a vector in any shape.
    """
    if not weight_decay:
        return [{"params": list(parameters), "weight_decay": 0.0}]
    matrices = [parameter for parameter in parameters if max(parameter.shape, default=1) < parameter.numel()]
    known = set(matrices)
    vectors = [parameter for parameter in parameters if parameter not in known]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class PureAdamW(torch.optim.Optimizer):
    """AdamW for 16-bit weights without a master copy: every step is computed in fp32, and rounded once into the weight.

    Both averages stay fp32. In fp16 the squares of small gradients and ε = 1e-8 would be zero, and their quotient
    infinite. In bf16 the second average, which changes by a thousandth per step, would never change. A weight whose
    next value its format cannot hold keeps its last value.

    Attributes:
        updates: applied so far; the random numbers of an update follow from it.

    Args:
        parameters: parameters, or groups of them.
        stochastic_seed: round stochastically (bf16 only), with numbers that follow from this seed and the count of
            updates; None rounds to the nearest.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        stochastic_seed: int | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.updates = 0
        self._seed = stochastic_seed

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update from the gradients, which must be finite."""
        self.updates += 1
        generator = None
        if self._seed is not None:
            # Seeded by the seed and the count alone, so that a resumed run rounds as one that was never stopped.
            generator = torch.Generator(self.param_groups[0]["params"][0].device)
            generator.manual_seed(step_seed(self._seed, -self.updates))
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group, generator)

    def _update(self, parameter: Tensor, group: dict[str, Any], generator: torch.Generator | None) -> None:
        """Update one weight of any shape in place: widen to fp32, take AdamW's step there, round once."""
        state = self.state[parameter]
        if not state:
            zeros = torch.zeros_like(parameter, dtype=torch.float32)
            step = torch.zeros((), device=parameter.device)
            state.update(step=step, exp_avg=zeros, exp_avg_sq=zeros.clone())
        beta1, beta2 = group["betas"]
        wide = parameter.float()
        # torch's own function: the result is that of torch.optim.AdamW on fp32 weights, bit for bit, before rounding.
        adamw(
            [wide],
            [parameter.grad.float()],  # type: ignore[union-attr]
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            foreach=False,
            fused=_can_fuse(parameter),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        rounded = round_stochastically(wide, generator) if generator else wide.to(parameter.dtype)
        # fp16 ends at 65504: a larger value would be stored as infinity and never come back.
        parameter.copy_(torch.where(wide.isfinite() & rounded.isfinite(), rounded, parameter))


def _can_fuse(parameter: Tensor) -> bool:
    # One kernel for the whole step; torch has none for Apple GPUs.
    return parameter.device.type != "mps"


def round_stochastically(wide: Tensor, generator: torch.Generator) -> Tensor:
    """Return finite fp32 numbers of any shape as bf16, rounded up in magnitude with the probability of the remainder.

    The mean of many roundings is then the number itself. Rounding to the nearest loses every update below half the step
    between two bf16 numbers, each time anew; this loses none on average (Gupta et al. 2015, arXiv 1502.02551,
    section 3).

    A bf16 number is the upper half of an fp32 number's bits. The lower half, as an integer below 2^16, is the
    remainder: the share of the way to the next bf16 number.
    """
    # Added to the bits, the noise carries into the kept ones as often as the remainder asks for.
    noise = torch.randint(1 << _LOST_BITS, wide.shape, dtype=torch.int32, device=wide.device, generator=generator)
    bits = (wide.view(torch.int32) + noise) & -(1 << _LOST_BITS)
    return bits.view(torch.float32).bfloat16()


def learning_rate(config: TrainingConfig, update: int, total: int) -> float:
    """Return the rate of the update that follows `update` applied ones, of `total` planned.

    Linear warm-up over the first `warmup_ratio` of the updates, then constant, or a line or half a cosine to zero.
    """
    warmup = math.ceil(config.warmup_ratio * total)
    if update < warmup:
        return config.learning_rate * (update + 1) / (warmup + 1)
    passed = min(1.0, (update - warmup) / max(1, total - warmup))
    shape = {"constant": 1.0, "linear": 1.0 - passed, "cosine": 0.5 * (1.0 + math.cos(math.pi * passed))}
    return config.learning_rate * shape[config.schedule]


def updates_per_epoch(config: RunConfig, rows: int) -> int:
    """Return the number of updates in which every row is seen once; the last one may be smaller."""
    return math.ceil(rows / config.training.batch_size)


def planned_updates(config: RunConfig, rows: int) -> int:
    """Return the number of updates that a run will apply."""
    return config.training.max_steps or math.ceil(config.training.epochs * updates_per_epoch(config, rows))
