"""Follow one micro-batch through the modules, forward and backward, up to the first non-finite value."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from studio.engine.kernels.lora import layers_apart
from studio.engine.numerics.facts import Direction
from studio.engine.numerics.modules import visible_modules
from studio.engine.recompute import recomputing


@dataclass(frozen=True)
class Place:
    """A module by its name (None: outside all of them), a direction, and the largest finite magnitude before."""

    module: str | None
    direction: Direction
    largest: float


class FiniteCheck(NamedTuple):
    """`largest`: the largest finite magnitude in a tensor. `finite`: whether all its numbers are finite."""

    largest: float
    finite: bool


def check_finite(values: Tensor) -> FiniteCheck:
    """Check a tensor of any shape and floating-point format. This waits for the device."""
    values = values.detach()  # otherwise autograd would keep what is computed here
    finite = torch.isfinite(values)
    largest = torch.where(finite, values, 0).abs().float().max() if values.numel() else torch.zeros(())
    found = torch.stack([largest, finite.all().to(largest)]).tolist()
    return FiniteCheck(found[0], bool(found[1]))


class Trace:
    """Watches what enters and what leaves every module, in both directions, for what is not finite.

    Whatever is not finite first was made between the innermost module that was entered by finite numbers and there.
    So the module to blame is found by going outwards from what was seen: from a module itself when it was something
    that left it, from the one round it when it was something that was about to enter it.

    An infinity does no harm where the next operation makes a number of it, as a ReLU does of -inf and a soft cap
    (tanh) of both. It is dropped when the module that it was made in, or one round it, returns finite numbers alone.

    Attributes:
        infinity: the first place of the forward pass that is not finite, whether it was dropped or not.
    """

    def __init__(self, base: nn.Module, scale: float, beside: Mapping[nn.Parameter, str] | None = None) -> None:
        """Watch `base`; `scale` is the gradient that the backward pass starts with.

        `beside`: what is trained outside `base`, as virtual tokens are, with the names of its modules.
        """
        self.infinity: Place | None = None
        self._places: dict[Direction, Place | None] = {"forward": None, "loss": None, "backward": None}
        self._modules = dict(visible_modules(base))
        self._beside = beside or {}
        self._entered: dict[Direction, dict[str, float]] = {"forward": {}, "backward": {}}
        self._output = math.nan
        self._scale = scale

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook the modules for a while. Hooks that were there before stay inside ours."""
        handles: list[Any] = []
        for name, module in self._modules.items():
            before = functools.partial(self._before, name)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(functools.partial(self._after, name)))
        # The last module with a weight counts as its owner: a tied one belongs to the output layer, which alone
        # computes its gradient in 16 bits.
        owners = {parameter: name for name, module in self._modules.items() for parameter in own_parameters(module)}
        for parameter, name in owners.items():
            if parameter.requires_grad:
                handles.append(parameter.register_hook(functools.partial(self._leave, "backward", name)))
        for parameter, name in self._beside.items():
            handles.append(parameter.register_hook(functools.partial(self._reach, name)))
        try:
            with layers_apart():
                yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def first(self) -> Place | None:
        """Where the failure begins: on the way to a loss that is not finite, or else in the backward pass."""
        if self._places["loss"] is not None:
            return self._places["forward"] or self._places["loss"]
        return self._places["backward"]

    def see_loss(self, loss: Tensor) -> None:
        """Look at the loss, between the two passes."""
        if not check_finite(loss).finite:
            self._places["loss"] = Place(None, "loss", self._output)

    def _before(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if recomputing():
            return None
        # The first tensor is what is computed with; masks come after it and may hold infinities on purpose.
        inputs = tensors((*args, *kwargs.values()))
        if inputs:
            self._enter("forward", name, inputs[0])
        else:
            self._entered["forward"][name] = math.nan
        leave = functools.partial(self._leave, "backward", name)
        return _tapped(args, leave), {key: _tapped(value, leave) for key, value in kwargs.items()}

    def _after(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if recomputing():
            return None
        place = self._places["forward"]
        # Whether the infinity was made in this module, or in one inside of it; the whole model's name is empty.
        if place is not None and place.module is not None and f"{place.module}.".startswith(f"{name}." if name else ""):
            if all(check_finite(tensor).finite for tensor in tensors(output)):
                self._places["forward"] = None
        else:
            for tensor in tensors(output):
                self._leave("forward", name, tensor)
        return _tapped(output, functools.partial(self._enter, "backward", name))

    def _enter(self, direction: Direction, name: str, values: Tensor) -> None:
        if self._is_settled(direction):
            return
        seen = check_finite(values)
        if seen.finite:
            self._entered[direction][name] = seen.largest
        else:
            self._blame(direction, _outer(name))

    def _leave(self, direction: Direction, name: str, values: Tensor) -> None:
        if self._is_settled(direction):
            return
        seen = check_finite(values)
        if not seen.finite:
            self._blame(direction, name)
        elif direction == "forward":
            self._output = seen.largest

    def _reach(self, name: str, gradient: Tensor) -> None:
        """A gradient came out of the modules on a way of its own, as that of a prefix does out of the attention."""
        if not self._is_settled("backward") and not (seen := check_finite(gradient)).finite:
            self._places["backward"] = Place(name, "backward", seen.largest)

    def _is_settled(self, direction: Direction) -> bool:
        return self._places[direction] is not None or self._places["loss"] is not None

    def _blame(self, direction: Direction, name: str | None) -> None:
        entered = self._entered[direction]
        while name is not None and name not in entered:
            name = _outer(name)
        outside = self._scale if direction == "backward" else math.nan
        place = Place(name, direction, outside if name is None else entered[name])
        self._places[direction] = place
        if direction == "forward":
            self.infinity = self.infinity or place


def _tapped(value: Any, observe: Any) -> Any:
    """Return `value` with views in place of its tensors: `observe` sees the gradient of what uses this view only.

    A hook on the tensor itself would see the sum over all its users, as of a residual stream that several modules read.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        view = value.view_as(value)
        view.register_hook(observe)
        return view
    if type(value) in (tuple, list):
        return type(value)(_tapped(inner, observe) for inner in value)
    if isinstance(value, dict):  # the outputs of transformers models
        for key, inner in list(value.items()):
            value[key] = _tapped(inner, observe)
    return value


def tensors(value: Any) -> list[Tensor]:
    """The floating-point tensors in what a module takes or returns."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else (value,)
    return [inner for inner in inside if isinstance(inner, Tensor) and inner.is_floating_point()]


def own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module that no module inside it owns; what peft puts round a layer counts as one."""
    is_whole = type(module).__module__.startswith("peft.")
    return list(module.parameters(recurse=is_whole))


def _outer(name: str) -> str | None:
    return name.rpartition(".")[0] if name else None
