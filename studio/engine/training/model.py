"""The model under training: the base model with the method attached, every weight in its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from studio.config import RunConfig
from studio.engine.control import Progress
from studio.engine.dtypes import torch_dtype
from studio.engine.kernels.attention import widen_attention
from studio.engine.kernels.head import keep_head_converted
from studio.engine.methods import METHODS
from studio.engine.models.load import load_model
from studio.engine.models.quantise import count_parameters
from studio.engine.precision import Precision
from studio.engine.seed import seed_step
from studio.engine.training.loss import SupervisedLoss
from studio.engine.training.storage import attach_stored
from studio.errors import TrainingError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TrainableModel:
    """What is trained, and what computes its loss.

    Attributes:
        model: what is trained; the method may have wrapped it.
        base: the transformers model inside it.
        loss: computes the loss of a micro-batch.
        parameters: the trained ones, in the order of `model.parameters()`.
        total_parameters: count of all parameters; a quantised one counts once.
    """

    model: nn.Module
    base: PreTrainedModel
    loss: SupervisedLoss
    parameters: list[nn.Parameter]
    total_parameters: int

    @property
    def trainable_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def finite(self) -> bool:
        """Whether every trained weight is a finite number."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters)


def load_trainable(
    path: Path, config: RunConfig, precision: Precision, device: torch.device, progress: Progress
) -> TrainableModel:
    """Load the base model and attach the method to it, on `device`.

    Raises:
        ModelError, ConfigError: the model or the method cannot be used.
        TrainingError: nothing would be trained.
    """
    base = load_model(path, "fp32", progress)
    # Step 0 is the initialisation: the method's random weights follow from the seed, not from what was drawn before.
    seed_step(config.training.seed, 0)
    return make_trainable(base, config, precision, device)


def make_trainable(
    base: PreTrainedModel, config: RunConfig, precision: Precision, device: torch.device
) -> TrainableModel:
    """Attach the method to an fp32 base model, which changes in place; random weights come from torch's generator.

    Raises:
        ConfigError: the method cannot be used with this model.
        TrainingError: nothing would be trained.
    """
    model = attach_stored(base, config.method, precision, config.precision, device).train()
    if precision.autocast:
        # The output layer is converted once, not in every pass; on a processor, attention runs faster in fp32.
        keep_head_converted(base, torch_dtype(precision.autocast))
        if device.type == "cpu":
            widen_attention(base)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise TrainingError(tr("Nothing is left to train; freeze less."))
    loss = SupervisedLoss(model, base, METHODS.get(config.method.name).virtual_tokens(config.method))
    return TrainableModel(model, base, loss, parameters, count_parameters(model))
