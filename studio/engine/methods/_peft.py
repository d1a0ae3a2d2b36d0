"""What the methods that peft carries have in common: attach, save, load, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.models.shapes import LinearShape
from studio.errors import ConfigError
from studio.i18n import tr

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from studio.engine.models.shapes import ModelShapes

CAUSAL_LM = "CAUSAL_LM"


def import_peft() -> Any:
    """Return the library; bitsandbytes comes first, so that it fetches no program code (quantise.py)."""
    from studio.engine.models.quantise import import_bitsandbytes

    import_bitsandbytes()
    import peft

    return peft


def attach(model: PreTrainedModel, peft_config: Any) -> nn.Module:
    """Freeze the model, put what is trained into it or in front of it, and return peft's model."""
    trained: nn.Module = import_peft().get_peft_model(model, peft_config)
    return trained


def save(trained: nn.Module, folder: Path) -> None:
    """Write adapter_model.safetensors and adapter_config.json, which plain peft loads."""
    # Embeddings are never trained here; peft's automatic look for changed ones would ask the hub.
    trained.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)  # type: ignore[operator]


def load(base: PreTrainedModel, folder: Path) -> nn.Module:
    """Return the base with the saved adapter, frozen."""
    loaded: nn.Module = import_peft().PeftModel.from_pretrained(base, str(folder)).eval()
    return loaded


def merge(loaded: nn.Module) -> PreTrainedModel:
    """Fold the adapter into the weights, in fp32."""
    merged: PreTrainedModel = loaded.float().merge_and_unload(safe_merge=True)  # type: ignore[operator]
    return merged


def linear_layers(model: PreTrainedModel) -> list[LinearShape]:
    """Return the linear layers of a model but its output, quantised ones too: what `ModelShapes.linear` finds."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not model.get_output_embeddings():
            found.append(LinearShape(name, module.in_features, module.out_features))
        elif isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            found.append(LinearShape(name, inputs, outputs))
    return found


def is_transposed(model: PreTrainedModel) -> bool:
    """GPT-2 keeps its weights as (inputs, outputs); a quantised layer remembers that it was such a one."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) or getattr(module, "fan_in_fan_out", False) for module in model.modules())


def vector_size(model: PreTrainedModel) -> int:
    """Return d, the size of a word vector; in a few models (OPT-350m) the hidden size is another."""
    embedding: Any = model.get_input_embeddings()
    return int(embedding.weight.shape[1])


def vector_size_of(shapes: ModelShapes) -> int:
    """Return the same, from the shapes in the weight files."""
    if shapes.embedding is None:
        raise ConfigError(tr("The model has no word embedding, in front of which virtual tokens could be put."))
    return shapes.embedding[1]


def encoder_of(trained: nn.Module) -> Any:
    """Return the module of a peft model that gives the vectors of its virtual tokens."""
    return trained.prompt_encoder[trained.active_adapter]  # type: ignore[index]


def input_vectors(loaded: nn.Module) -> Tensor:
    """Return the vectors that a loaded adapter puts in front of the input, (virtual tokens, d), fp32."""
    vectors: Tensor = encoder_of(loaded).embedding.weight.detach().float()
    return vectors
