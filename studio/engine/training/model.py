"""The model under training: the base model with the method attached, every weight in its format (`models.storage`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from studio.config import MethodConfig, PrecisionConfig, RunConfig
from studio.engine.autocast import autocast
from studio.engine.control import Progress
from studio.engine.data.prepare import PreparedData
from studio.engine.device import is_out_of_memory
from studio.engine.distributed import Ranks
from studio.engine.dtypes import torch_dtype
from studio.engine.estimate.formula import storage_for
from studio.engine.fit import Fit
from studio.engine.kernels.attention import widen_attention
from studio.engine.kernels.head import keep_head_converted
from studio.engine.kernels.widen import widen_at_use
from studio.engine.methods import METHODS
from studio.engine.models.load import load_model
from studio.engine.models.placement import Placement, cannot_spread
from studio.engine.models.quantise import count_parameters, is_quantised, quantise_base
from studio.engine.precision import Precision
from studio.engine.precision.choose import QUANTISED, choose_storage
from studio.engine.recompute import Recomputation
from studio.engine.seed import seed_step
from studio.engine.sharding import is_sharded, mesh_of, shard, trained_parameters
from studio.engine.training.loss import SupervisedLoss
from studio.errors import ConfigError, TrainingError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from studio.engine.models.info import ModelInfo


_CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainableModel:
    """What is trained, and what computes its loss.

    Attributes:
        model: what is trained; the method may have wrapped it.
        base: the transformers model inside it.
        loss: computes the loss of a micro-batch.
        parameters: the trained ones, in the order of `model.parameters()`.
        total_parameters: count of all parameters; a quantised one counts once.
        recomputation: whether the blocks compute their activations again in the backward pass.
        cards: how many GPUs the blocks are spread over.
    """

    model: nn.Module
    base: PreTrainedModel
    loss: SupervisedLoss
    parameters: list[nn.Parameter]
    total_parameters: int
    recomputation: Recomputation
    cards: int = 1

    @property
    def trainable_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def finite(self) -> bool:
        """Whether every trained weight is a finite number."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in trained_parameters(self.model).values())


def load_trainable(
    path: Path,
    config: RunConfig,
    precision: Precision,
    device: torch.device,
    fit: Fit,
    progress: Progress,
    *,
    shared_by: Ranks | None = None,
) -> TrainableModel:
    """Load the base model and attach the method to it, on `device`.

    `shared_by`: the processes that the weights are spread over, all of which call this. They load one after the other,
    because the memory of the processor holds the whole model until its parts are on their devices.

    Raises:
        ModelError, ConfigError: the model or the method cannot be used.
        TrainingError: nothing would be trained.
    """
    storage = storage_for(config, precision)
    place = _CPU if shared_by else device
    mesh = mesh_of(device) if shared_by else None
    with shared_by.in_turn() if shared_by else nullcontext():
        base = load_model(
            path, progress=progress, storage=storage, device=place, words_on_host=fit.words_on_host, cards=fit.cards
        )
        # Step 0 is the initialisation: the method's random weights follow from the seed, not from what was drawn
        # before.
        seed_step(config.training.seed, 0)
        model = attach_stored(base, config.method, precision, config.precision, place, fit.cards)
        if mesh:
            shard(model, mesh)
    try:
        trainable = _trainable(model, base, config, precision, device, recompute=fit.recompute, on_host=fit.on_host)
    except RuntimeError as error:  # a layer reads what lies on another GPU
        if not fit.cards or is_out_of_memory(error):
            raise
        raise cannot_spread() from error
    return replace(trainable, cards=max(1, len(set(fit.cards))))


def make_trainable(
    base: PreTrainedModel,
    config: RunConfig,
    precision: Precision,
    device: torch.device,
    *,
    recompute: bool = False,
    on_host: bool = False,
) -> TrainableModel:
    """Attach the method to a base model, which changes in place; random weights come from torch's generator.

    `recompute`: whether the backward pass computes activations again; `on_host`: whether what it begins with waits in
    the memory of the processor. Neither changes a result.

    Raises:
        ConfigError: the method cannot be used with this model.
        TrainingError: nothing would be trained.
    """
    model = attach_stored(base, config.method, precision, config.precision, device)
    return _trainable(model, base, config, precision, device, recompute=recompute, on_host=on_host)


def _trainable(
    model: nn.Module,
    base: PreTrainedModel,
    config: RunConfig,
    precision: Precision,
    device: torch.device,
    *,
    recompute: bool,
    on_host: bool,
) -> TrainableModel:
    """Return what is trained, ready to be: its weights are in their formats, where they stay."""
    model.train()
    if precision.autocast:
        # The output layer is converted once, not in every pass; on a processor, attention runs faster in fp32.
        if not is_sharded(model):
            keep_head_converted(base, torch_dtype(precision.autocast))
        if device.type == "cpu":
            widen_attention(base)
    parameters = list(trained_parameters(model).values())
    if not parameters:
        raise TrainingError(tr("Nothing is left to train; freeze less."))
    with autocast(precision, device):
        loss = SupervisedLoss(model, base, METHODS.get(config.method.name).virtual_tokens(config.method))
    recomputation = Recomputation(base, on=recompute, on_host=on_host)
    return TrainableModel(model, base, loss, parameters, count_parameters(model), recomputation)


def attach_stored(
    base: PreTrainedModel,
    method: MethodConfig,
    precision: Precision,
    config: PrecisionConfig,
    device: torch.device,
    cards: Sequence[int] = (),
) -> nn.Module:
    """Return the model to train, on `device`, or with its layers on `cards`, with every weight in its format.

    Changes `base`, which was loaded as `storage_for` says, or whose weights are all fp32 still.
    """
    placement = Placement(base, device, cards)
    stored = choose_storage(config, precision)
    if stored in QUANTISED and not is_quantised(base):
        quantise_base(base, stored, torch_dtype(precision.autocast or "fp32"), device)
    if not precision.pure:
        widen_at_use(base)
    trained = METHODS.get(method.name).attach(base, method)
    if precision.pure:
        for parameter in trained.parameters():
            # Buffers stay as they are: rotary frequencies in 16 bits would be other positions.
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(torch_dtype(precision.parameters))
            # Gradients are summed in fp32 all the same. A 16-bit sum of micro-batches would lose the small ones, and
            # fp16 gradients divided by the loss scale would flush to zero.
            if parameter.requires_grad:
                parameter.grad_dtype = torch.float32
    if stored not in QUANTISED:
        # Embeddings, and what shares their storage, keep the format of the files.
        vocabulary = (base.get_input_embeddings(), base.get_output_embeddings())
        kept = {id(module.weight) for module in vocabulary if module is not None}
        for parameter in trained.parameters():
            if not parameter.requires_grad and parameter.dim() == 2 and id(parameter) not in kept:
                parameter.data = parameter.data.to(torch_dtype(stored))
    return placement.settle(trained)


def check_positions(config: RunConfig, info: ModelInfo, data: PreparedData) -> None:
    """Refuse rows that do not fit into the model's positions, with what the method puts in front of them.

    A table of learnt positions ends where it ends. Rotary positions go on, and a row that is longer than the model was
    made for is the user's choice; but virtual tokens, which nobody counts, should not be what makes it so.

    Raises:
        ConfigError: with the length that fits.
    """
    taken = METHODS.get(config.method.name).positions(config.method)
    most = info.context_length
    if most is None or not (taken or info.shapes.learnt_positions):
        return
    # The last token of a row is predicted, and never read.
    longest = data.longest - 1
    if longest + taken <= most:
        return
    if taken >= most:
        raise ConfigError(
            tr("method.virtual_tokens = {taken}: the model has {most} positions in all; take fewer.").format(
                taken=taken, most=most
            )
        )
    raise ConfigError(
        tr(
            "data.max_length = {length}: the model has {most} positions, of which virtual tokens take {taken}; "
            "set it to {fits} or less."
        ).format(length=config.data.max_length, most=most, taken=taken, fits=most - taken + 1)
    )
