"""Weights that are spread over the processes of a run, so that a model is trained that fits none of their GPUs.

Each process holds a part of every weight, of its gradient and of the optimizer's states. The weights of a block are
gathered when the block computes, and dropped after it; its gradients are summed, and each process keeps the sum of its
part (ZeRO stage 3: Rajbhandari et al. 2020, arXiv 1910.02054; FSDP: Zhao et al. 2023, arXiv 2304.11277). `fully_shard`
of torch does this; a tensor that is spread is a `DTensor`.

Every process must go through the model as often as the others, and gather what the others gather: otherwise they wait
for each other for ever.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from studio.engine.recompute import blocks_of


def mesh_of(device: torch.device) -> DeviceMesh:
    """Return all processes that were joined, each with its device of this type. All of them call it together."""
    return init_device_mesh(device.type, (distributed.get_world_size(),))


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Keep this process's part of a model, which may be in the memory of the processor.

    One block after the other goes to the device, where its part stays. So the whole model is never there. Nothing is
    sent: every process has the same model at first, and not all need have it at the same time.
    """
    # What a model returns may be a view. It would have to be changed in place to be harmed, and nobody does that.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    blocks = list(blocks_of(model))
    for block in blocks:
        block.register_forward_hook(_drop_conversions)
    for module in (*blocks, model):
        part = fully_shard(module, mesh=mesh)
        # A sum, and no mean: each process has divided its losses by the tokens of the whole update.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # gloo knows no other kind


def _drop_conversions(*_: object) -> None:
    """Let go of the block's weights in the format of products, which autocast would keep until the pass has ended."""
    torch.clear_autocast_cache()


def is_sharded(model: nn.Module) -> bool:
    """Return whether a model is spread over the processes."""
    return isinstance(model, FSDPModule)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters by name. Those of a model that is spread are its parts."""
    _drop_gathered(model)
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with the parts of all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds; all of one that is not spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def spread(value: Tensor, like: Tensor) -> Tensor:
    """Return a copy of a whole tensor of any device on that of `like`, and spread as it is.

    What process 0 holds counts. The others may give a tensor on the meta device.
    """
    if not isinstance(like, DTensor):
        return value.to(like.device, copy=True)
    given = torch.empty_like(value, device=like.device) if value.is_meta else value.to(like.device)
    return distribute_tensor(given, like.device_mesh, like.placements)


def total_norm(gradients: list[Tensor]) -> Tensor:
    """Return the L2 norm of all gradients together, a scalar."""
    return whole(torch.nn.utils.get_total_norm(gradients))


@contextmanager
def gathered(model: nn.Module, *, main: bool) -> Iterator[None]:
    """Let the parameters of a model be whole, in the memory of the processor, for a while.

    They are so in the `main` process. The others only give their parts.
    """
    if not is_sharded(model):
        yield
        return
    _drop_gathered(model)
    places = [
        (owner, name, part) for owner in model.modules() for name, part in owner._parameters.items() if part is not None
    ]
    parameters: dict[nn.Parameter, nn.Parameter] = {}
    for _, _, part in places:
        if part not in parameters:
            value = whole(part.detach())
            parameters[part] = nn.Parameter(value.cpu(), requires_grad=part.requires_grad) if main else part
            del value
    try:
        for owner, name, part in places:
            owner._parameters[name] = parameters[part]
        yield
    finally:
        for owner, name, part in places:
            owner._parameters[name] = part


def _drop_gathered(model: nn.Module) -> None:
    """Let go of the weights outside of the blocks, which stay gathered after a pass that has no backward pass."""
    if isinstance(model, FSDPModule):
        model.reshard()
