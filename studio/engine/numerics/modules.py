"""The rows of the heat map: which modules of a model are looked at, under which names, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn


def visible_modules(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield `module` under `name`, and the modules inside of it under names that begin with that.

    What peft puts round a layer stands for that layer, and what it adds inside is not listed.
    """
    yield name, module
    if not _is_peft(module):
        for child, inner in module.named_children():
            yield from visible_modules(inner, f"{name}.{child}" if name else child)


def watched_modules(base: nn.Module) -> dict[str, nn.Module]:
    """Return what a person looks for: embeddings, norms, linear layers, and the blocks (the residual stream).

    Everything follows from the kinds of the modules; blocks are the members of the outermost lists of modules.
    """
    names: dict[str, nn.Module] = {}
    lists: list[str] = []
    for name, module in visible_modules(base):
        parent = name.rpartition(".")[0]
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{outer}.") for outer in lists):
            lists.append(name)
        elif parent in lists or _is_peft(module) or _is_layer(module):
            names[name] = module
    return names


def in_forward_order(modules: dict[str, nn.Module], forward: Callable[[], object]) -> dict[str, nn.Module]:
    """Run `forward` once and return the modules that took part, in the order in which they finished."""
    order: dict[str, nn.Module] = {}

    def finished(name: str, module: nn.Module, *_: object) -> None:
        order.setdefault(name, module)

    handles = [module.register_forward_hook(partial(finished, name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return order


def own_name(parameter: str) -> str:
    """Return a parameter's name as the base model has it, without what peft puts round it."""
    for added in ("base_layer.", "original_module.", "modules_to_save.default.", "default."):
        parameter = parameter.replace(f".{added}", ".")
    return parameter.removeprefix("base_model.model.")


def _is_peft(module: nn.Module) -> bool:
    return type(module).__module__.startswith("peft.")


def _is_layer(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer, transposed

    if isinstance(module, nn.Linear | nn.Embedding | Conv1D):
        return True
    return "norm" in type(module).__name__.lower() and not any(True for _ in module.children())
