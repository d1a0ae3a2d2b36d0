"""The optimizer, and its step: AdamW, AdamW with 8-bit states or Adafactor for fp32 master weights, and an AdamW with
one rounding for 16-bit weights.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from studio.config import PrecisionConfig, TrainingConfig
from studio.engine.device import is_out_of_memory
from studio.engine.fit import PORTION
from studio.engine.models.quiet import import_bitsandbytes
from studio.engine.precision import Precision
from studio.engine.seed import step_seed
from studio.engine.sharding import spread
from studio.errors import ConfigError, TrainingError
from studio.i18n import tr

# The tables of what 8 bits stand for, which all 8-bit states share.
SHARED_STATES = ("qmap1", "qmap2")


def check_optimizer(name: str, precision: Precision, device: torch.device) -> None:
    """Refuse an optimizer that cannot be had. Raises `ConfigError`."""
    if precision.pure and name != "adamw":
        raise ConfigError(
            tr("training.optimizer = {name} needs an fp32 master copy, and {precision} has none; take adamw.").format(
                name=name, precision=precision.name
            )
        )
    if name != "adamw-8bit":
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            tr(
                "training.optimizer = adamw-8bit needs the package bitsandbytes; "
                "install it with: pip install 'finetune-studio[gpu]'"
            )
        )
    if device.type == "mps":
        raise ConfigError(tr("training.optimizer = adamw-8bit is not to be had on Apple GPUs; take adafactor."))


_LOST_BITS = 16  # bits of detail that fp32 has and bf16 has not; the exponents are the same


def make_optimizer(
    parameters: Sequence[nn.Parameter], training: TrainingConfig, precision: Precision, config: PrecisionConfig
) -> torch.optim.Optimizer:
    """Return the optimizer for weights of this precision, without a rate yet.

    AdamW: Loshchilov & Hutter 2019 (arXiv 1711.05101). With 8-bit states: Dettmers et al. 2022 (arXiv 2110.02861).
    Adafactor: Shazeer & Stern 2018 (arXiv 1804.04235).
    """
    groups = decay_groups(parameters, training.weight_decay)
    if precision.pure:
        return PureAdamW(groups, stochastic_seed=training.seed if config.stochastic_rounding else None)
    if training.optimizer == "adamw-8bit":
        eight_bit: torch.optim.Optimizer = import_bitsandbytes().optim.AdamW8bit(groups)
        return eight_bit
    if training.optimizer == "adafactor":
        # The paper's steps are shares of a weight's own size, and LoRA's B, which begins at zero, would not move. Taken
        # as shares of at least 1, steps are as long as the learning rate says, as those of AdamW are.
        return torch.optim.Adafactor(groups, eps=(None, 1.0))
    return torch.optim.AdamW(groups, fused=_can_fuse(parameters[0]))


def apply_step(optimizer: torch.optim.Optimizer, make_room: Callable[[], None]) -> None:
    """Apply one update from the gradients, once, even where memory runs out on the way.

    Memory may run out when some weights have moved and others have not. So weights are taken a portion at a time. The
    weights and states of a portion are copied, and put back where its step fails. The portion is then tried again in
    halves, while the portions before it stay as they are. No weight takes the step twice.

    Raises:
        TrainingError: there is not even memory for a single weight matrix.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = {parameter: parameter.grad for parameter in trained if parameter.grad is not None}
    waiting = _portions(list(gradients))
    updates = optimizer.updates if isinstance(optimizer, PureAdamW) else 0
    tried_alone: Tensor | None = None
    for parameter in gradients:
        parameter.grad = None
    try:
        while waiting:
            portion = waiting.pop(0)
            for parameter in portion:
                parameter.grad = gradients[parameter]
            if isinstance(optimizer, PureAdamW):
                optimizer.updates = updates  # all portions are one update
            applied = _step_or_put_back(optimizer, portion)
            for parameter in portion:
                parameter.grad = None
            if not applied:
                if tried_alone is portion[0]:
                    raise TrainingError(tr("There is not enough memory for the optimizer; take adafactor, or lora."))
                make_room()
                tried_alone = portion[0] if len(portion) == 1 else None
                half = (len(portion) + 1) // 2
                waiting = [part for part in (portion[:half], portion[half:], *waiting) if part]
    finally:
        for parameter, gradient in gradients.items():
            parameter.grad = gradient


def _portions(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Split parameters into runs of at most `PORTION` numbers; a larger one stands alone."""
    portions: list[list[nn.Parameter]] = []
    room = 0
    for parameter in parameters:
        if parameter.numel() > room:
            portions.append([])
            room = PORTION
        portions[-1].append(parameter)
        room -= parameter.numel()
    return portions


def _step_or_put_back(optimizer: torch.optim.Optimizer, portion: Sequence[nn.Parameter]) -> bool:
    """Step, and return True; where memory runs out, leave weights and states as they were, and return False."""
    put_back: Callable[[], None] | None = None
    try:
        put_back = _copied_state(optimizer, portion)
        optimizer.step()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    if put_back:
        put_back()
    return False


def _copied_state(optimizer: torch.optim.Optimizer, portion: Sequence[nn.Parameter]) -> Callable[[], None]:
    """Copy weights and states, and return the function that puts them back."""
    states = {parameter: dict(optimizer.state.get(parameter, {})) for parameter in portion}
    inside = [value for state in states.values() for value in state.values() if isinstance(value, Tensor)]
    pairs: list[tuple[Tensor, Tensor]] = []
    # One kernel for all tensors of a kind; hundreds of copies would take longer to start than to run.
    by_kind: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in (*(parameter.detach() for parameter in portion), *inside):
        by_kind.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    for tensors in by_kind.values():
        pairs += zip(tensors, torch._foreach_mul(tensors, 1), strict=True)

    def put_back() -> None:
        for tensor, copy in pairs:
            tensor.copy_(copy)
        for parameter, state in states.items():
            optimizer.state[parameter] = state
            if not state:
                del optimizer.state[parameter]

    return put_back


def restore_state(optimizer: Any, parameter: nn.Parameter, name: str, value: Tensor) -> None:
    """Put one entry of a parameter's state back; `value` is any format on any device."""
    state = optimizer.state[parameter]
    if name == "step" and not value.is_floating_point():
        state[name] = int(value)  # bitsandbytes counts in Python
        optimizer.fill_qmap()
        state |= {"qmap1": optimizer.name2qmap["dynamic"].to(parameter.device)}
        state |= {"qmap2": optimizer.name2qmap["udynamic"].to(parameter.device)}
    else:
        # Adafactor of torch counts on the processor.
        place = "cpu" if name == "step" and isinstance(optimizer, torch.optim.Adafactor) else parameter.device
        state[name] = spread(value, parameter) if value.dim() else value.to(place, copy=True)


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
