"""From a configuration and a base model to something that trains: model, optimizer, scaler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from studio.config import RunConfig
from studio.engine.autocast import DTYPES
from studio.engine.control import Progress
from studio.engine.kernels.attention import widen_attention
from studio.engine.kernels.head import keep_head_converted
from studio.engine.methods import METHODS
from studio.engine.models.load import load_model
from studio.engine.models.quantise import count_parameters
from studio.engine.precision import Precision
from studio.engine.precision.scaling import LossScaler, make_scaler
from studio.engine.seed import seed_step
from studio.engine.training import checkpoint
from studio.engine.training.loop import Position
from studio.engine.training.loss import SupervisedLoss
from studio.engine.training.optimizer import make_optimizer
from studio.engine.training.storage import attach_stored
from studio.engine.training.update import Updater
from studio.errors import TrainingError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Trained:
    """The model under training: `model` is what is trained, `base` the transformers model inside it."""

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


def attach(path: Path, config: RunConfig, precision: Precision, device: torch.device, progress: Progress) -> Trained:
    """Load the base model and attach the method to it, on `device`.

    Raises:
        ModelError, ConfigError: the model or the method cannot be used.
        TrainingError: nothing would be trained.
    """
    base = load_model(path, "fp32", progress)
    seed_step(config.training.seed, 0)
    model = attach_stored(base, config.method, precision, config.precision, device).train()
    if precision.autocast:
        keep_head_converted(base, DTYPES[precision.autocast])
        if device.type == "cpu":
            widen_attention(base)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise TrainingError(tr("Nothing is left to train; freeze less."))
    virtual_tokens = METHODS.get(config.method.name).virtual_tokens(config.method)
    loss = SupervisedLoss(model, base, virtual_tokens)
    return Trained(model, base, loss, parameters, count_parameters(model))


@dataclass(frozen=True)
class Machinery:
    """What turns gradients into updates."""

    updater: Updater
    optimizer: torch.optim.Optimizer
    scaler: LossScaler | None

    def snapshot(self, trained: Trained, position: Position, *, copy: bool = True) -> checkpoint.Snapshot:
        """Return the state of the run; without `copy` it goes on changing with the run."""
        return checkpoint.take(trained.model, self.optimizer, self.scaler, position, copy=copy)

    def put_back(self, snapshot: checkpoint.Snapshot, trained: Trained, position: Position) -> None:
        """Bring the run to the state of a snapshot."""
        checkpoint.put_back(snapshot, trained.model, self.optimizer, self.scaler, position)


def assemble(config: RunConfig, trained: Trained, precision: Precision) -> Machinery:
    """Make optimizer, scaler and updater anew."""
    scaler = make_scaler(precision, config.precision)
    optimizer = make_optimizer(trained.parameters, config.training, precision, config.precision)
    updater = Updater(trained.loss, trained.parameters, optimizer, precision, scaler, config.training.max_grad_norm)
    return Machinery(updater, optimizer, scaler)
