"""The adapter itself, and how it gets into a model and out of it.

y = x + W_up · f(W_down · x + b_down) + b_up, with W_down (m, d) and W_up (d, m): 2·m·d + d + m numbers each.

W_up and b_up start at zero, so that the model starts as the base, bit for bit; the paper starts both matrices near
zero. The adapter is a child of the module whose output it takes, and works through a forward hook of it: the base's
own modules and the names of its weights stay as they are, quantised or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Activation: TypeAlias = Literal["relu", "gelu", "silu"]
FUNCTIONS: dict[str, Any] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
CHILD = "adapter"


class BottleneckAdapter(nn.Module):
    """Down-projection, non-linearity, up-projection, residual; fp32 as it is made."""

    def __init__(self, hidden_size: int, bottleneck: int, activation: Activation) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, bottleneck)
        self.up = nn.Linear(bottleneck, hidden_size)
        self.activation = activation
        nn.init.normal_(self.down.weight, std=hidden_size**-0.5)  # the bottleneck is as large as what it reads
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt hidden states (…, d).

        Under autocast the products are in 16 bits and, unless the adapter itself is, their sum with x is in fp32, as
        all sums between the layers are: in bf16 a change below 0.2 % of x would be lost. Otherwise the result has the
        format of x.
        """
        own = self.down.weight.dtype
        if torch.is_autocast_enabled(x.device.type):
            return x.to(torch.promote_types(x.dtype, own)) + self._change(x)
        return x + self._change(x.to(own)).to(x.dtype)

    def _change(self, x: Tensor) -> Tensor:
        change: Tensor = self.up(FUNCTIONS[self.activation](self.down(x)))
        return change

    def extra_repr(self) -> str:
        """Show the activation, which is no module."""
        return f"activation={self.activation}"


def shapes(hidden_size: int, bottleneck: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of one adapter's weights by name."""
    return {
        "down.weight": (bottleneck, hidden_size),
        "down.bias": (bottleneck,),
        "up.weight": (hidden_size, bottleneck),
        "up.bias": (hidden_size,),
    }


def insert(
    model: PreTrainedModel, places: Iterable[str], hidden_size: int, bottleneck: int, activation: Activation
) -> None:
    """Put a new adapter behind each place, on its device; `model` must have none yet."""
    for place in places:
        module = model.get_submodule(place)
        adapter = BottleneckAdapter(hidden_size, bottleneck, activation)
        module.add_module(CHILD, adapter.to(next(module.parameters()).device))
        module.register_forward_hook(_adapt)


def remove(model: nn.Module) -> None:
    """Take all adapters out of a model again."""
    for module in list(model.modules()):
        kept = {key: hook for key, hook in module._forward_hooks.items() if hook is not _adapt}
        if len(kept) < len(module._forward_hooks):
            module._forward_hooks.clear()
            module._forward_hooks.update(kept)
            delattr(module, CHILD)


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """Let a model compute without its adapters for a while. Norms that were trained with them stay as they are."""
    adapted = [(module, dict(module._forward_hooks)) for module in model.modules() if hasattr(module, CHILD)]
    for module, hooks in adapted:
        module._forward_hooks.clear()
        module._forward_hooks.update({key: hook for key, hook in hooks.items() if hook is not _adapt})
    try:
        yield
    finally:
        for module, hooks in adapted:
            module._forward_hooks.clear()
            module._forward_hooks.update(hooks)


def adapters_of(model: nn.Module) -> dict[str, BottleneckAdapter]:
    """Return the adapters in a model by the place whose output they take."""
    named = model.named_modules()
    return {name.removesuffix(f".{CHILD}"): module for name, module in named if isinstance(module, BottleneckAdapter)}


def norms_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return weights and biases of all layer norms by name; a weight of one dimension belongs to nothing else."""
    found: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.dim() == 1:
            found |= {f"{name}.{key}": value for key, value in module._parameters.items() if value is not None}
    return found


def _adapt(module: Any, inputs: Any, output: Any) -> Any:
    """The forward hook. It finds the adapter through the module, so that a copy of a model has its own."""
    if isinstance(output, tuple):  # some mixtures of experts return their router's scores as well
        return (module.adapter(output[0]), *output[1:])
    return module.adapter(output)
