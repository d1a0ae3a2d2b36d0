"""IA3: learn to scale what is inside the layers (Liu et al. 2022, arXiv 2205.05638), carried by peft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.engine.methods._peft import PeftMethod, import_peft, is_transposed
from studio.engine.methods._targets import (
    AUTO,
    LINEAR_LAYERS,
    Scaled,
    TargetModules,
    named,
    scaled_by_default,
    scaled_by_name,
    short_names,
)
from studio.engine.methods.base import CustomaryRates
from studio.engine.models.activations import ActivationBytes, BytesPerActivation
from studio.engine.models.shapes import LinearShape, ModelShapes
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


class Ia3Config(MethodConfig):
    """Which layers are scaled."""

    name: Literal["ia3"] = "ia3"
    target_modules: TargetModules = option(
        (AUTO,),
        "Where",
        "Automatic scales keys, values, and the inside of the MLPs, as in the paper.",
        labels={AUTO: gettext_noop("Automatic")},
        suggestions=LINEAR_LAYERS,
    )


class Ia3(PeftMethod[Ia3Config]):
    """Learnt vectors that scale keys, values and the inside of the MLPs."""

    name = "ia3"
    title = gettext_noop("IA3")
    explanation = gettext_noop(
        "Three learnt vectors a layer scale what is inside: keys, values, and what the MLP holds in the middle, each "
        "number by its own factor, l ⊙ x. They start at one. A tenth of the size of a small LoRA or less, merged into "
        "the weights at no cost, and it forgets little because it can only make louder or softer what is there; so it "
        "learns less than LoRA. Take it for a few hundred rows, at high rates."
    )
    order = 25
    config = Ia3Config
    mergeable = True
    cost_in_use = gettext_noop("Nothing once merged; unmerged, one product of numbers beside every scaled layer.")
    suggested_learning_rate = 3e-2
    customary_rates = CustomaryRates(
        low=1e-3,
        high=5e-2,
        source=gettext_noop(
            "The paper takes 3e-3 (Liu et al. 2022); with AdamW and short runs up to 3e-2 is customary."
        ),
    )

    def peft_config(self, model: PreTrainedModel, config: Ia3Config) -> Any:
        from studio.engine.models.structure import expert_weights, linear_layers, spared_layers

        layers = linear_layers(model)
        scaled = _scaled(config, layers, bool(expert_weights(model)))
        everything = [*layers, *spared_layers(model)]
        outputs, inputs = (short_names(named(layers, names), everything) for names in (scaled.outputs, scaled.inputs))
        return import_peft().IA3Config(
            target_modules=[*outputs, *inputs],
            feedforward_modules=list(inputs),
            fan_in_fan_out=is_transposed(model),
        )

    def attach(self, model: PreTrainedModel, config: Ia3Config) -> nn.Module:
        from peft.tuners.ia3 import IA3Layer

        trained = super().attach(model, config)
        for module in trained.modules():
            if isinstance(module, IA3Layer):
                module.register_forward_hook(_keep_dtype)
        return trained

    def trainable_parameters(self, shapes: ModelShapes, config: Ia3Config) -> int:
        """Σ outputs of the layers that make keys and values + Σ inputs of those that end the MLPs."""
        outputs, inputs = _scaled_layers(shapes, config)
        return sum(layer.outputs for layer in outputs) + sum(layer.inputs for layer in inputs)

    def saved_tensors(self, shapes: ModelShapes, config: Ia3Config) -> int:
        """A vector for every scaled layer."""
        return sum(map(len, _scaled_layers(shapes, config)))

    def activation_bytes(self, shapes: ModelShapes, config: Ia3Config, sizes: BytesPerActivation) -> ActivationBytes:
        """What is scaled: outputs in the dtype of the products, inputs in that of the vectors, which are fp32."""
        outputs, inputs = _scaled_layers(shapes, config)
        return ActivationBytes(
            sizes.compute * sum(layer.outputs for layer in outputs)
            + sizes.residual * sum(layer.inputs for layer in inputs)
        )


def _keep_dtype(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Forward hook that returns (…, outputs) in the dtype of a 16-bit input: peft leaves that of nf4 layers in fp32."""
    wanted = inputs[0].dtype
    return output.to(wanted) if wanted.itemsize < output.dtype.itemsize else output


def _scaled(config: Ia3Config, layers: Sequence[LinearShape], has_experts: bool) -> Scaled:
    """The layers to scale. Experts in one weight are no layers: there, keys and values have to do."""
    layers = [layer for layer in layers if layer.adaptable]
    if config.target_modules != (AUTO,):
        return scaled_by_name(layers, config.target_modules)
    scaled = scaled_by_default(layers)
    if scaled.outputs and (scaled.inputs or has_experts):
        return scaled
    raise ConfigError(
        tr(
            "method.target_modules = {value}: no name tells keys, values and MLPs of this model; name the layers."
        ).format(value=AUTO)
    )


def _scaled_layers(shapes: ModelShapes, config: Ia3Config) -> tuple[list[LinearShape], list[LinearShape]]:
    """The layers whose outputs are scaled, and those whose inputs are."""
    layers = shapes.linear_layers
    scaled = _scaled(config, layers, bool(shapes.experts))
    return named(layers, scaled.outputs), named(layers, scaled.inputs)


METHOD = Ia3()
