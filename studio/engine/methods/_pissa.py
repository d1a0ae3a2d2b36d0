"""PiSSA: LoRA that starts at the principal components of the weights (Meng et al. 2024, arXiv 2404.02948).

W = U·S·Vᵀ is split into its r largest singular values, B₀·A₀ with A₀ = √S_r·V_rᵀ and B₀ = U_r·√S_r, and the rest,
which is frozen in place of W. What training changes is then s·(B·A − B₀·A₀), with s the scaling by alpha and rank; and
that is an ordinary LoRA of rank 2r for the base as it was:

    B' = (B, −B₀)    A' = (A; A₀)    s' = s

It is exact, whatever the singular vectors are, so a randomised decomposition serves. The saved adapter is this one: it
needs no change of the base, and merges like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.models.shapes import LinearShape
from studio.errors import ConfigError
from studio.i18n import tr

if TYPE_CHECKING:
    from torch import Tensor, nn

# Halko et al. 2011 with 16 rounds of subspace iteration, which the paper finds as good as the exact decomposition.
INIT = "pissa_niter_16"
# Buffers beside A and B, in fp32; they are no part of the state that peft saves.
_STARTS = {"lora_A": "studio_pissa_a", "lora_B": "studio_pissa_b"}
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def check_rank(rank: int, layers: Iterable[LinearShape]) -> None:
    """Raise `ConfigError` where a layer has fewer principal components than are asked for."""
    most = min((min(layer.inputs, layer.outputs) for layer in layers), default=rank)
    if rank > most:
        raise ConfigError(
            tr(
                "method.rank = {rank}: an adapted layer has {most} principal components; with method.init = pissa the "
                "rank can be {most} at most."
            ).format(rank=rank, most=most)
        )


def keep_start(trained: nn.Module) -> None:
    """Keep A₀ and B₀, which saving needs, beside every adapted layer."""
    for _, layer, name in _layers(trained):
        for place, buffer in _STARTS.items():
            start = getattr(layer, place)[name].weight.detach().clone()
            layer.register_buffer(buffer, start, persistent=False)


def is_started(trained: nn.Module) -> bool:
    """Return whether some layers began at their principal components."""
    return any(True for _ in _layers(trained, started=True))


def convert(trained: nn.Module, folder: Path) -> None:
    """Rewrite an adapter that peft has just saved for the base as it was; leave one that is not PiSSA as it is."""
    from safetensors.torch import load_file, save_file

    layers = list(_layers(trained, started=True))
    if not layers:
        return
    tensors = load_file(folder / _WEIGHTS)
    for path, layer, _ in layers:
        a, b = f"{path}.lora_A.weight", f"{path}.lora_B.weight"
        tensors[a] = _joined(tensors[a], layer.studio_pissa_a, 0)
        tensors[b] = _joined(tensors[b], -layer.studio_pissa_b, 1)
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    _declare(folder / _CONFIG)


def _joined(trained: Tensor, start: Tensor, dim: int) -> Tensor:
    import torch

    return torch.cat([trained.float(), start.to(trained.device, torch.float32)], dim).contiguous()


def _declare(path: Path) -> None:
    """Twice the rank at the same scaling; nothing is to be done to the base when it is loaded."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["r"] *= 2
    config["lora_alpha"] *= 2**0.5 if config["use_rslora"] else 2
    config["init_lora_weights"] = True
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _layers(trained: nn.Module, *, started: bool = False) -> Iterable[tuple[str, Any, str]]:
    """Yield name, LoRA layer and adapter name; with `started`, of those layers whose start was kept."""
    from studio.engine.methods._peft import import_peft

    lora_layer = import_peft().tuners.lora.LoraLayer
    for path, module in trained.named_modules():
        if isinstance(module, lora_layer) and (not started or hasattr(module, "studio_pissa_a")):
            (name,) = module.active_adapters
            yield path, module, name
