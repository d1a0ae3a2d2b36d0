"""The shapes of a model's weights as its files declare them: enough for counts and estimates, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShapes:
    """Shapes by parameter name, read from the safetensors headers.

    Attributes:
        tensors: name to shape, such as `model.layers.0.self_attn.q_proj.weight` to `(576, 576)`.
        dtypes: name to the format it is stored in, such as `F32` or `BF16`.
        tied_embeddings: whether the output layer shares the embedding's weights.
        config: config.json as it stands in the folder.
    """

    tensors: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    tied_embeddings: bool
    config: dict[str, object]

    @property
    def parameters(self) -> int:
        """Number of parameters of the model, shared ones counted once."""
        return sum(_size(shape) for shape in self.tensors.values())


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
