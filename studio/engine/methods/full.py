"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.engine.methods.base import BytesPerWeight, CustomaryRates, Method
from studio.engine.models.activations import (
    ActivationBytes,
    BytesPerActivation,
    input_bytes,
    model_bytes,
    trained_expert_bytes,
    trained_norm_bytes,
)
from studio.engine.models.shapes import ModelShapes, count_layers, is_embedding, is_word_embedding, layer_number
from studio.errors import ConfigError, ModelError
from studio.files import is_file
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class FullConfig(MethodConfig):
    """Which weights stay as they are."""

    name: Literal["full"] = "full"
    freeze_embeddings: bool = option(
        False,
        "Freeze embeddings",
        "Keep the word vectors as they are: less memory and less forgetting. An output layer that shares their "
        "weights stays as it is too; one with weights of its own is trained.",
    )
    freeze_layers: int = option(
        0,
        "Freeze first layers",
        "Keep this many layers, counted from the input, as they are.",
        unit=gettext_noop("layers"),
        ge=0,
        le=1000,
    )


class Full(Method[FullConfig]):
    """All weights are trained, but for those that are to stay as they are."""

    name = "full"
    title = gettext_noop("Full fine-tuning")
    explanation = gettext_noop(
        "Every weight is trained. It can learn the most and costs the most: weights, gradients and two optimizer "
        "states take about 16 bytes a parameter in fp32, before activations. It also forgets the most, because "
        "nothing holds the old knowledge in place; mix in general rows and take a small learning rate."
    )
    order = 20
    config = FullConfig
    form = "model"
    mergeable = True
    quantised_base = False
    cost_in_use = gettext_noop("Nothing: it is an ordinary model of the base's size and speed.")
    suggested_learning_rate = 2e-5
    customary_rates = CustomaryRates(
        low=1e-6,
        high=5e-5,
        source=gettext_noop(
            "BERT was fine-tuned with 2e-5 to 5e-5 (Devlin et al. 2019), language models of billions of parameters "
            "with 5e-6 to 2e-5."
        ),
    )

    def attach(self, model: PreTrainedModel, config: FullConfig) -> nn.Module:
        from studio.engine.models.structure import text_parameters

        text = text_parameters(model)
        _check_layers(config, text)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in text and self.trains(name, config))
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # the master copy is fp32, whatever format the files have
        return model

    def trains(self, name: str, config: FullConfig) -> bool:
        return not _is_frozen(name, config)

    def save(self, trained: nn.Module, folder: Path) -> None:
        from transformers import GenerationConfig

        from studio.engine.models.quiet import quiet_transformers

        # An unusual but published generation config would be refused, with the training lost; it is the base's anyway.
        model: Any = trained
        own, model.generation_config = model.generation_config, GenerationConfig()
        try:
            with quiet_transformers():
                model.save_pretrained(folder)
        finally:
            model.generation_config = own

    def load(self, base: PreTrainedModel, folder: Path) -> nn.Module:
        """The trained part is the whole model: its weights take the place of the base's.

        transformers reads them, because it writes those of some models under other names than they have (GPT-NeoX).
        """
        import torch

        from studio.engine.models.quiet import quiet_transformers
        from studio.engine.models.weights import read_weights

        read_weights(folder)
        if is_file(folder / "adapter_config.json"):  # transformers would fetch the base that it names
            raise ModelError(tr("{folder} holds an adapter, not a whole model.").format(folder=folder))
        for parameter in base.parameters():
            parameter.data = torch.zeros(1).expand(parameter.shape)  # one model in memory at a time
        with quiet_transformers():
            result: Any = type(base).from_pretrained(
                folder,
                config=base.config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        trained, report = result
        _refuse_unfit(folder, report)
        base.load_state_dict(trained.state_dict(keep_vars=True), assign=True)
        base.requires_grad_(False)
        base.eval()
        return base

    def merge(self, loaded: nn.Module) -> PreTrainedModel:
        return loaded.float()  # type: ignore[return-value]

    def trainable_parameters(self, shapes: ModelShapes, config: FullConfig) -> int:
        _check_layers(config, shapes.tensors)
        return sum(shapes.size(name) for name in shapes.tensors if not _is_frozen(name, config))

    def saved_tensors(self, shapes: ModelShapes, config: FullConfig) -> int:
        return len(shapes.tensors)

    def saved_bytes(self, shapes: ModelShapes, config: FullConfig, sizes: BytesPerWeight) -> float:
        """The whole model, what is frozen too, every weight as training stores it."""
        matrices = (name for name, shape in shapes.tensors.items() if len(shape) == 2 and not is_word_embedding(name))
        frozen = sum(shapes.size(name) for name in matrices if _is_frozen(name, config))
        return sizes.frozen * frozen + sizes.trained * (shapes.parameters - frozen)

    def activation_bytes(self, shapes: ModelShapes, config: FullConfig, sizes: BytesPerActivation) -> ActivationBytes:
        """The inputs of every layer that is trained; below the first one no gradient passes, so nothing is saved."""
        trained = [layer for layer in shapes.linear_layers if not _is_frozen(layer.name + ".weight", config)]
        share = len(trained) / max(1, len(shapes.linear_layers))
        others = trained_norm_bytes(shapes, sizes) + trained_expert_bytes(shapes, sizes)
        saved = input_bytes(shapes, trained, sizes, shared=False) + share * others
        spared = (1.0 - share) * model_bytes(shapes, sizes, 1) if config.freeze_embeddings else 0.0
        return ActivationBytes(saved - spared)


def _check_layers(config: FullConfig, names: Iterable[str]) -> None:
    """Refuse to freeze more layers than the model has."""
    if config.freeze_layers > (layers := count_layers(names)):
        raise ConfigError(
            tr("method.freeze_layers = {count}: this model has {layers} layers; freeze {layers} at most.").format(
                count=config.freeze_layers, layers=layers
            )
        )


def _is_frozen(name: str, config: FullConfig) -> bool:
    """Whether a parameter is kept as it is. An output layer that is tied to the embedding is no parameter by itself."""
    number = layer_number(name)
    return (config.freeze_embeddings and is_embedding(name)) or (number is not None and number < config.freeze_layers)


def _refuse_unfit(folder: Path, report: dict[str, Any]) -> None:
    """Raise `ModelError` where transformers would make up what is missing at random, or leave out what has no place."""
    if missing := sorted(report["missing_keys"]):
        names = tr(", ").join(missing[:3])
        raise ModelError(tr("The trained weights in {folder} lack {names}.").format(folder=folder, names=names))
    if strange := sorted([*report["unexpected_keys"], *(name for name, *_ in report["mismatched_keys"])]):
        names = tr(", ").join(strange[:3])
        raise ModelError(
            tr("The trained weights in {folder} do not fit the base: it has no {names} of that shape.").format(
                folder=folder, names=names
            )
        )


METHOD = Full()
