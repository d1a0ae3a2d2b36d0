"""IA3: learn to scale what is inside the layers (Liu et al. 2022, arXiv 2205.05638), carried by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.engine.methods import _peft
from studio.engine.methods._targets import (
    AUTO,
    LINEAR_LAYERS,
    Scaled,
    TargetModules,
    named,
    scaled_by_default,
    scaled_by_name,
)
from studio.engine.methods.base import Method
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from studio.engine.models.activations import Formats, Kept
    from studio.engine.models.shapes import LinearShape, ModelShapes


class Ia3Config(MethodConfig):
    """Which layers are scaled."""

    name: Literal["ia3"] = "ia3"
    target_modules: TargetModules = option(
        (AUTO,),
        title=gettext_noop("Where"),
        help=gettext_noop("Automatic scales keys, values, and the inside of the MLPs, as in the paper."),
        labels={AUTO: gettext_noop("Automatic")},
        suggestions=LINEAR_LAYERS,
    )


def _attach(model: PreTrainedModel, config: Ia3Config) -> nn.Module:
    scaled = _scaled(config, _peft.linear_layers(model))
    peft_config = _peft.import_peft().IA3Config(
        target_modules=[*scaled.outputs, *scaled.inputs],
        feedforward_modules=list(scaled.inputs),
        fan_in_fan_out=_peft.is_transposed(model),
        task_type=_peft.CAUSAL_LM,
    )
    trained = _peft.attach(model, peft_config)
    _keep_format(trained)
    return trained


def _keep_format(trained: nn.Module) -> None:
    """Return what a layer gives in the format of its 16-bit input: peft leaves what nf4 layers give in fp32."""
    from peft.tuners.ia3 import IA3Layer

    def cast(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        wanted = inputs[0].dtype
        return output.to(wanted) if wanted.itemsize < output.dtype.itemsize else output

    for module in trained.modules():
        if isinstance(module, IA3Layer):
            module.register_forward_hook(cast)


def _scaled(config: Ia3Config, layers: Sequence[LinearShape]) -> Scaled:
    if config.target_modules != (AUTO,):
        return scaled_by_name(layers, config.target_modules)
    scaled = scaled_by_default(layers)
    if scaled.outputs and scaled.inputs:
        return scaled
    raise ConfigError(
        tr(
            "method.target_modules = {value}: no name tells keys, values and MLPs of this model; name the layers."
        ).format(value=AUTO)
    )


def _trainable_parameters(shapes: ModelShapes, config: Ia3Config) -> int:
    """Σ outputs of the layers that make keys and values + Σ inputs of those that end the MLPs."""
    layers = shapes.linear()
    scaled = _scaled(config, layers)
    outputs = sum(layer.outputs for layer in named(layers, scaled.outputs))
    return outputs + sum(layer.inputs for layer in named(layers, scaled.inputs))


def _saved_tensors(shapes: ModelShapes, config: Ia3Config) -> int:
    """A vector for every scaled layer."""
    layers = shapes.linear()
    scaled = _scaled(config, layers)
    return len(named(layers, (*scaled.outputs, *scaled.inputs)))


def _kept(shapes: ModelShapes, config: Ia3Config, formats: Formats) -> Kept:
    """What is scaled: outputs in the format of the products, inputs in that of the vectors, which are fp32."""
    from studio.engine.models.activations import Kept

    layers = shapes.linear()
    scaled = _scaled(config, layers)
    outputs = sum(layer.outputs for layer in named(layers, scaled.outputs))
    inputs = sum(layer.inputs for layer in named(layers, scaled.inputs))
    return Kept(formats.compute * outputs + formats.stream * inputs)


METHOD = Method(
    name="ia3",
    title=gettext_noop("IA3"),
    explanation=gettext_noop(
        "Three learnt vectors a layer scale what is inside: keys, values, and what the MLP holds in the middle, each "
        "number by its own factor, l ⊙ x. They start at one. A tenth of the size of a small LoRA or less, merged into "
        "the weights at no cost, and it forgets little because it can only make louder or softer what is there; so it "
        "learns less than LoRA. Take it for a few hundred rows, at high rates."
    ),
    order=25,
    config=Ia3Config,
    form="peft",
    mergeable=True,
    quantised_base=True,
    cost_in_use=gettext_noop("Nothing once merged; unmerged, one product of numbers beside every scaled layer."),
    suggested_learning_rate=3e-2,
    attach=_attach,
    save=_peft.save,
    load=_peft.load,
    merge=_peft.merge,
    trainable_parameters=_trainable_parameters,
    saved_tensors=_saved_tensors,
    kept=_kept,
)
