"""What a fine-tuning method is: facts that the window lists, and functions that the engine calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

from typing_extensions import TypeVar

from studio.config.method import MethodConfig
from studio.engine.models.activations import ActivationBytes, BytesPerActivation
from studio.engine.models.shapes import ModelShapes
from studio.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from studio.engine.models.info import ModelInfo


# Name, dtype, shape and offsets of a tensor in a safetensors file: 111 to 132 bytes, measured on SmolLM2-135M.
_HEADER_LINE = 120

C = TypeVar("C", bound=MethodConfig, default=Any)


@dataclass(frozen=True, kw_only=True)
class BytesPerWeight:
    """Bytes of one number, as a run stores its weights.

    Attributes:
        trained: in what is trained, and in a frozen word embedding, norm or bias.
        frozen: in every other frozen matrix.
    """

    trained: float
    frozen: float


@dataclass(frozen=True, kw_only=True)
class CustomaryRates:
    """The learning rates from `low` to `high` that a method is commonly trained with; `source` says by whom."""

    low: float
    high: float
    source: str


class Method(ABC, Generic[C]):
    """One way to fine-tune, with options of class `C`. A file of this package ends with `METHOD = …`, its one instance.

    Attributes:
        name: what `method.name` says in a configuration.
        title, explanation: what the window shows.
        order: methods are offered by ascending order.
        config: the class of the `[method]` table.
        form: what the trained part is saved as: "peft" (a PEFT adapter), "bottleneck" (this app's serial adapter) or
            "model" (all weights of the model, because all are trained).
        mergeable: whether the trained part can be folded into the base weights, at no latency.
        bakeable: whether the trained part is vectors in front of the input, which can become tokens of the vocabulary.
        quantised_base: whether the base stays frozen, so that it can be stored in int8 or nf4.
        cost_in_use: what the trained part costs when the model answers, in one sentence.
        suggested_learning_rate: what the form offers when the method is chosen.
        customary_rates: the learning rates beyond which the form warns.
    """

    name: str
    title: str
    explanation: str
    order: int = 100
    config: type[C]
    form: Literal["peft", "bottleneck", "model"]
    mergeable: bool = False
    bakeable: bool = False
    quantised_base: bool = True
    cost_in_use: str
    suggested_learning_rate: float
    customary_rates: CustomaryRates

    @abstractmethod
    def attach(self, model: PreTrainedModel, config: C) -> nn.Module:
        """Freeze the base, add what is trained, and return the model to train.

        Trainable parameters are fp32. A base that was quantised before keeps its quantised layers.
        """

    def trains(self, name: str, config: C) -> bool:
        """Return whether a matrix of the base, by the name of its parameter, is trained itself."""
        return False

    def check(self, info: ModelInfo, config: C) -> None:
        """Raise `ConfigError` where the method with its options cannot be used on a model, before that is loaded."""
        self.trainable_parameters(info.shapes, config)
        if info.skeleton is not None and (reason := self.refuse(info.skeleton, config)):
            raise ConfigError(reason)

    def refuse(self, skeleton: PreTrainedModel, config: C) -> str:
        """Return why a model, here without its weights, has no place for what is trained, in one sentence, or ""."""
        return ""

    def switched_off(self, trained: nn.Module) -> AbstractContextManager[object]:
        """Return a context in which the model computes as the base does, as far as its weights are the base's still.

        What trains weights of the base itself cannot be switched off: there it is the base before the first step alone.
        """
        return nullcontext()

    @abstractmethod
    def save(self, trained: nn.Module, folder: Path) -> None:
        """Write the trained part as safetensors into an existing folder."""

    @abstractmethod
    def load(self, base: PreTrainedModel, folder: Path) -> nn.Module:
        """Return the base with the trained part from `folder`, frozen, for inference."""

    def merge(self, loaded: nn.Module) -> PreTrainedModel:
        """Return a plain fp32 transformers model with the trained part folded in; `mergeable` methods only."""
        raise NotImplementedError(f"{self.name} cannot be merged")

    def input_vectors(self, loaded: nn.Module) -> Tensor:
        """Return the vectors in front of the input, (virtual tokens, hidden size), fp32; `bakeable` methods only."""
        raise NotImplementedError(f"{self.name} has no input vectors")

    def virtual_tokens(self, config: C) -> int:
        """Return how many positions the method puts in front of every row, in the model's output too."""
        return 0

    def positions(self, config: C) -> int:
        """Return how many of the model's positions the method takes away from every row.

        More than `virtual_tokens` where they are in the key-value cache only.
        """
        return self.virtual_tokens(config)

    @abstractmethod
    def trainable_parameters(self, shapes: ModelShapes, config: C) -> int:
        """Return the number of trained parameters by its closed form, from the shapes in the weight files alone."""

    def saved_tensors(self, shapes: ModelShapes, config: C) -> int:
        """Return how many tensors the saved part consists of."""
        return 1

    def saved_bytes(self, shapes: ModelShapes, config: C, sizes: BytesPerWeight) -> float:
        """Return the bytes of the numbers in the saved part: by default the trained ones, as training stores them."""
        return sizes.trained * self.trainable_parameters(shapes, config)

    def patch_bytes(self, shapes: ModelShapes, config: C, sizes: BytesPerWeight) -> int:
        """Return the size of the saved file: the numbers, and a line of the header for every tensor."""
        numbers = self.saved_bytes(shapes, config, sizes)
        return int(numbers) + _HEADER_LINE * self.saved_tensors(shapes, config)

    def activation_bytes(self, shapes: ModelShapes, config: C, sizes: BytesPerActivation) -> ActivationBytes:
        """Return what autograd saves for the backward pass beyond what it saves of a frozen model."""
        return ActivationBytes()
