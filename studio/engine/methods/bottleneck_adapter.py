"""Serial bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751; Pfeiffer et al. 2020, arXiv 2005.00247)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.engine.methods.base import BytesPerWeight, CustomaryRates, Method
from studio.engine.models.activations import ActivationBytes, BytesPerActivation, trained_norm_bytes
from studio.engine.models.shapes import ModelShapes
from studio.errors import ModelError
from studio.i18n import gettext_noop

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class BottleneckAdapterConfig(MethodConfig):
    """y = x + W_up·f(W_down·x + b_down) + b_up, with an inner size m."""

    name: Literal["bottleneck-adapter"] = "bottleneck-adapter"
    placement: Literal["houlsby", "pfeiffer"] = option(
        "houlsby",
        "Placement",
        "Houlsby puts an adapter behind attention and one behind the MLP of every layer. Pfeiffer puts one behind "
        "the MLP alone: half the size and half the latency, and often as good.",
        labels={
            "houlsby": gettext_noop("Houlsby: after attention and MLP"),
            "pfeiffer": gettext_noop("Pfeiffer: after the MLP only"),
        },
    )
    reduction_factor: int = option(
        16,
        "Reduction factor",
        "The bottleneck is the hidden size divided by this. 2 to 64 are customary; smaller can learn more.",
        ge=1,
        le=4096,
        when=("bottleneck", None),
    )
    bottleneck: int | None = option(
        None,
        "Bottleneck",
        "m, the inner size of the adapter, in place of a reduction factor. Not set: by the factor.",
        ge=1,
        le=65536,
    )
    activation: Literal["relu", "gelu", "silu"] = option(
        "gelu",
        "Activation",
        "f, the non-linearity in the bottleneck. It matters little; it is why the adapter cannot be merged.",
        labels={"relu": "ReLU", "gelu": "GELU", "silu": "SiLU"},
        advanced=True,
    )
    train_layer_norms: bool = option(
        False,
        "Train layer norms",
        "Also train the gains of the model's layer norms, as Houlsby et al. did: few numbers, saved along.",
        advanced=True,
    )

    def inner_size(self, hidden_size: int) -> int:
        """Return m for a hidden size."""
        return self.bottleneck or max(1, hidden_size // self.reduction_factor)


class Bottleneck(Method[BottleneckAdapterConfig]):
    """Small networks behind attention and MLP, by this app's own modules (`engine.adapters`)."""

    name = "bottleneck-adapter"
    title = gettext_noop("Serial bottleneck adapter")
    explanation = gettext_noop(
        "The base stays frozen; what attention and MLP put out passes through a small network of its own, "
        "y = x + W_up·f(W_down·x + b_down) + b_up, which is trained. It starts as the identity, and learns what a "
        "low-rank change of the weights cannot. Because of the non-linearity f it cannot be merged into the base; "
        "the export is a bundle with a loader of a few lines. Take it for a patch that stays a module of its own."
    )
    order = 30
    config = BottleneckAdapterConfig
    form = "bottleneck"
    cost_in_use = gettext_noop(
        "Two small products, one after the other, behind attention and MLP of every layer: a few percent of the "
        "arithmetic, and about 8 % of the time for a token, measured on SmolLM2-135M on a processor."
    )
    suggested_learning_rate = 3e-4  # the middle of the range that the paper searches
    customary_rates = CustomaryRates(
        low=3e-5,
        high=3e-3,
        source=gettext_noop("The paper searches 3e-5 to 3e-3 (Houlsby et al. 2019)."),
    )

    def attach(self, model: PreTrainedModel, config: BottleneckAdapterConfig) -> nn.Module:
        from studio.engine.adapters.files import AdapterInfo, attach_bottleneck_adapter
        from studio.engine.adapters.places import find_places, hidden_size

        size = hidden_size(model)
        info = AdapterInfo(
            placement=config.placement,
            places=find_places(model, config.placement),
            hidden_size=size,
            bottleneck=config.inner_size(size),
            activation=config.activation,
            train_layer_norms=config.train_layer_norms,
            model_type=model.config.model_type,
        )
        attach_bottleneck_adapter(model, info)
        return model

    def refuse(self, skeleton: PreTrainedModel, config: BottleneckAdapterConfig) -> str:
        from studio.engine.adapters.places import find_places

        try:
            find_places(skeleton, config.placement)
        except ModelError as error:
            return str(error)
        return ""

    def switched_off(self, trained: nn.Module) -> AbstractContextManager[object]:
        from studio.engine.adapters.bottleneck import switched_off

        return switched_off(trained)

    def save(self, trained: nn.Module, folder: Path) -> None:
        from studio.engine.adapters.files import save_bottleneck_adapter

        save_bottleneck_adapter(trained, folder)

    def load(self, base: PreTrainedModel, folder: Path) -> nn.Module:
        from studio.engine.adapters.files import load_bottleneck_adapter

        return load_bottleneck_adapter(base, folder)

    def trainable_parameters(self, shapes: ModelShapes, config: BottleneckAdapterConfig) -> int:
        """(2·m·d + d + m) for each adapter, and the norms where they are trained."""
        d = shapes.hidden_size
        m = config.inner_size(d)
        return _adapters(shapes, config) * (2 * m * d + d + m) + sum(map(shapes.size, _norms(shapes, config)))

    def saved_tensors(self, shapes: ModelShapes, config: BottleneckAdapterConfig) -> int:
        """Two weights and two biases for each adapter, and the norms where they are trained."""
        return 4 * _adapters(shapes, config) + len(_norms(shapes, config))

    def saved_bytes(self, shapes: ModelShapes, config: BottleneckAdapterConfig, sizes: BytesPerWeight) -> float:
        """Format 1 of the file is fp32, whatever is trained."""
        return 4 * self.trainable_parameters(shapes, config)

    def activation_bytes(
        self, shapes: ModelShapes, config: BottleneckAdapterConfig, sizes: BytesPerActivation
    ) -> ActivationBytes:
        """Of each adapter its input, W_down·x and f of it."""
        d = shapes.hidden_size
        adapters = sizes.compute * _adapters(shapes, config) * (d + 2 * config.inner_size(d))
        return ActivationBytes(adapters + (trained_norm_bytes(shapes, sizes) if config.train_layer_norms else 0.0))


def _adapters(shapes: ModelShapes, config: BottleneckAdapterConfig) -> int:
    return shapes.layers * (2 if config.placement == "houlsby" else 1)


def _norms(shapes: ModelShapes, config: BottleneckAdapterConfig) -> list[str]:
    """The norms that are trained: a weight of one dimension belongs to one, and so does the bias beside it."""
    if not config.train_layer_norms:
        return []
    weights = [name for name, shape in shapes.tensors.items() if name.endswith(".weight") and len(shape) == 1]
    biases = [name.removesuffix("weight") + "bias" for name in weights]
    return [name for name in (*weights, *biases) if name in shapes.tensors]


METHOD = Bottleneck()
