"""In which format each weight of a base model is stored in training, and how many bytes that takes; without torch.

Autocast would convert every frozen matrix to 16 bits in every forward pass. Stored in 16 bits, it gives the same
products, bit for bit. Embeddings and output layer keep the 16 bits of their file and are widened where they are used
(`kernels.widen`), so the sums between the layers stay fp32. Everything that is trained is fp32, the master copy,
unless the precision is pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from studio.engine.dtypes import BYTES
from studio.engine.models.shapes import ModelShapes, is_embedding, is_output


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The formats of the weights of a base model.

    Attributes:
        frozen: of the weights of frozen linear layers: fp32, fp16, bf16, int8 or nf4.
        products: of all other frozen matrices, which cannot be quantised: the format that products compute in.
        rest: of what is trained, and of vectors such as norms and biases: fp32, or the format of a pure precision.
        trained: whether a parameter of this name is trained.
    """

    frozen: str
    products: str
    rest: str
    trained: Callable[[str], bool]

    def format(self, name: str, shape: tuple[int, ...], stored: str, *, linear: bool, vocabulary: bool) -> str:
        """Return the format of one parameter.

        Args:
            stored: the format of its file.
            linear: whether it is the weight of a linear layer other than the output.
            vocabulary: whether it is that of an embedding or the output layer.
        """
        if len(shape) < 2 or self.trained(name):
            return self.rest
        if vocabulary:
            return stored if BYTES.get(stored, 8) < BYTES[self.rest] else self.rest
        return self.frozen if linear else self.products

    def looked_up(self, shapes: ModelShapes) -> list[str]:
        """Return the frozen embeddings of which nothing but a few rows is ever read: they may stay in host memory."""
        return [name for name in shapes.looked_up if not self.trained(name)]

    def bytes(self, shapes: ModelShapes, names: Iterable[str] | None = None) -> int:
        """Return the bytes that these weights of a model take, or all of them, without what a method adds."""
        linear = {f"{layer.name}.weight" for layer in shapes.linear_layers}
        taken = 0.0
        tensors = {**shapes.tensors, **shapes.other}
        for name in tensors if names is None else names:
            shape = tensors[name]
            vocabulary = is_embedding(name) or is_output(name)
            stored = shapes.vocabulary_format
            kept = self.format(name, shape, stored, linear=name in linear, vocabulary=vocabulary)
            taken += math.prod(shape) * BYTES[kept]
        return int(taken)

    def expert_bytes(self, shapes: ModelShapes) -> int:
        """Return the bytes of the weights in which experts lie stacked: no quantised layer holds them."""
        taken = 0.0
        for expert in shapes.experts:
            shape = shapes.tensors[expert.name]
            taken += math.prod(shape) * BYTES[self.format(expert.name, shape, "", linear=False, vocabulary=False)]
        return int(taken)
