"""What the methods that peft carries have in common: attach, save, load, merge."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.methods.base import C, Method
from studio.engine.methods.peft_files import load_adapter

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def import_peft() -> Any:
    """Return the library; bitsandbytes comes first, so that it fetches no program code (quantise.py)."""
    from studio.engine.models.quiet import import_bitsandbytes

    import_bitsandbytes()
    import peft

    return peft


class PeftMethod(Method[C]):
    """A method that peft carries: a subclass says in `peft_config` what peft is to put in."""

    form = "peft"

    @abstractmethod
    def peft_config(self, model: PreTrainedModel, config: C) -> Any:
        """Return peft's own configuration of the method for this model; its task is set by `attach`."""

    def attach(self, model: PreTrainedModel, config: C) -> nn.Module:
        peft, chosen = import_peft(), self.peft_config(model, config)
        chosen.task_type = "CAUSAL_LM"
        with _drawn_in_fp32():
            trained: nn.Module = peft.get_peft_model(model, chosen)
        return trained

    def switched_off(self, trained: nn.Module) -> AbstractContextManager[object]:
        context: AbstractContextManager[object] = trained.disable_adapter()  # type: ignore[operator]
        return context

    def save(self, trained: nn.Module, folder: Path) -> None:
        """Write adapter_model.safetensors and adapter_config.json, which plain peft loads."""
        # Embeddings are never trained here; peft's automatic look for changed ones would ask the hub.
        trained.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)  # type: ignore[operator]

    def load(self, base: PreTrainedModel, folder: Path) -> nn.Module:
        return load_adapter(base, folder)

    def merge(self, loaded: nn.Module) -> PreTrainedModel:
        merged: PreTrainedModel = loaded.float().merge_and_unload()  # type: ignore[operator]
        return merged


@contextmanager
def _drawn_in_fp32() -> Iterator[None]:
    """Keep peft from rounding the weights that it draws to the 16 bits of the frozen ones beside them."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    original: Any = BaseTunerLayer._get_base_layer_device_and_dtype

    def of_the_device_alone(layer: Any, base_layer: Any) -> tuple[Any, Any]:
        device, dtype = original(layer, base_layer)
        return device, None if dtype is base_layer.weight.dtype else dtype

    BaseTunerLayer._get_base_layer_device_and_dtype = of_the_device_alone  # type: ignore[method-assign]
    try:
        yield
    finally:
        BaseTunerLayer._get_base_layer_device_and_dtype = original  # type: ignore[method-assign]


def is_transposed(model: PreTrainedModel) -> bool:
    """GPT-2 keeps its weights as (inputs, outputs); a quantised layer remembers that it was such a one."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) or getattr(module, "fan_in_fan_out", False) for module in model.modules())


def encoder_of(trained: nn.Module) -> Any:
    """Return the module of a peft model that gives the vectors of its virtual tokens."""
    return trained.prompt_encoder[trained.active_adapter]  # type: ignore[index]
