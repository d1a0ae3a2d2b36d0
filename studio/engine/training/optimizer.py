"""The optimizer: torch's AdamW where there is an fp32 master copy; where there is none, its step and one rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from studio.config import PrecisionConfig, TrainingConfig
from studio.engine.precision import Precision
from studio.engine.precision.rounding import round_stochastically
from studio.engine.seed import step_seed


def make_optimizer(
    parameters: Sequence[nn.Parameter], training: TrainingConfig, precision: Precision, config: PrecisionConfig
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for weights of this precision, without a rate yet."""
    if precision.pure:
        seed = training.seed if config.stochastic_rounding else None
        return PureAdamW(parameters, weight_decay=training.weight_decay, stochastic_seed=seed)
    return torch.optim.AdamW(parameters, weight_decay=training.weight_decay, fused=_can_fuse(parameters[0]))


class PureAdamW(torch.optim.Optimizer):
    """AdamW for 16-bit weights without a master copy: every step is computed in fp32, and rounded once into the weight.

    Both averages are fp32: in fp16 the squares of small gradients and ε = 1e-8 would be zero and the quotient
    infinite; in bf16 an average that forgets a thousandth a step would stand still. So what fails here fails for
    want of a master copy alone. A weight that its format cannot hold any more keeps its last value.

    Args:
        stochastic_seed: round stochastically (bf16 only), with numbers that follow from this seed and the count of
            updates; None rounds to the nearest.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        stochastic_seed: int | None = None,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "updates": 0}
        super().__init__(parameters, defaults)
        self._seed = stochastic_seed

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Apply one update from the gradients, which must be finite."""
        loss = closure() if closure else None
        for group in self.param_groups:
            group["updates"] += 1
            generator = self._generator(group)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group, generator)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any], generator: torch.Generator | None) -> None:
        state = self.state[parameter] or self._start(parameter)
        beta1, beta2 = group["betas"]
        wide = parameter.float()
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
        parameter.copy_(torch.where(wide.isfinite() & rounded.isfinite(), rounded, parameter))

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        zeros = torch.zeros_like(parameter, dtype=torch.float32)
        step = torch.zeros((), device=parameter.device)
        self.state[parameter] = {"step": step, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
        state: dict[str, Tensor] = self.state[parameter]
        return state

    def _generator(self, group: dict[str, Any]) -> torch.Generator | None:
        """Drawing from the seed and the count alone, so that a resumed run rounds as one that was never stopped."""
        if self._seed is None:
            return None
        generator = torch.Generator(group["params"][0].device)
        return generator.manual_seed(step_seed(self._seed, -group["updates"]))


def _can_fuse(parameter: Tensor) -> bool:
    return parameter.device.type != "mps"
