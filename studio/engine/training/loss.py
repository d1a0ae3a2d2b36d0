"""The loss: cross-entropy summed over the supervised tokens. Logits are computed only where there is a label."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from studio.engine.kernels.cross_entropy import cross_entropy_each, cross_entropy_sum

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from studio.engine.data.batching import MicroBatch

log = logging.getLogger(__name__)

# How far apart two ways to the same numbers may be, as a share of the largest: by two kernels in 16 bits, and by one.
_TWO_KERNELS, _ONE_KERNEL = 0.02, 1e-3
# Numbers of a configuration that logits are multiplied by, divided by or capped at.
_LOGIT_NUMBERS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


class SupervisedLoss:
    """Computes the loss of micro-batches through the model's public forward.

    The output layer is by far the widest: one logit for each word. So the model runs without it, and
    `cross_entropy_sum` applies it to a few supervised positions at a time.

    Attributes:
        virtual_tokens: number of positions that the method puts in front of every row, in the output too.
        vocabulary: number of logits of a position.
    """

    def __init__(self, model: nn.Module, base: PreTrainedModel, virtual_tokens: int = 0) -> None:
        """Run `model` over a few tokens, without gradients, to learn what it does beside its layers.

        `virtual_tokens` is the number of positions that the method puts in front of every row, in the output too.
        """
        self.virtual_tokens = virtual_tokens
        self._model = model
        self._base = base
        self._head: nn.Module | None = None
        self._learn()

    def __call__(self, batch: MicroBatch, weight: float = 1.0) -> Tensor:
        """Return the summed cross-entropy, fp32, scalar, in nats.

        `weight` is what the caller multiplies the sum by before it goes backward.
        """
        return cross_entropy_sum(
            self.read(batch, self.virtual_tokens),
            batch.targets.flatten()[batch.learnt],
            self.logits,
            list(self.trained_head.values()),
            weight,
            vocabulary=self.vocabulary,
        )

    def of_rows(self, batch: MicroBatch) -> Tensor:
        """Return the summed cross-entropy of each row, fp32, (rows,), in nats, without gradients."""
        each = cross_entropy_each(
            self.read(batch, self.virtual_tokens),
            batch.targets.flatten()[batch.learnt],
            self.logits,
            vocabulary=self.vocabulary,
        )
        count, length = batch.input_ids.shape
        return torch.zeros(count, device=each.device).index_add_(0, batch.learnt // length, each)

    def read(self, batch: MicroBatch, virtual_tokens: int) -> Tensor:
        """Return what the output layer reads at the supervised positions, (supervised, d).

        `virtual_tokens` are in front of every row: those of the method, or none while it is switched off.
        """
        hidden = self._hidden(batch.input_ids, batch.attention_mask if self._needs_mask else None)
        return hidden[:, virtual_tokens:].flatten(0, 1).index_select(0, batch.learnt)

    @property
    def needs_all_logits(self) -> bool:
        """Whether the output layer cannot be left out, so that `read` returns logits."""
        return self._head is None

    @property
    def trained_head(self) -> dict[str, nn.Parameter]:
        """The trained parameters of the output layer, by their names in it."""
        parameters = self._head.named_parameters() if self._head else ()
        return {name: parameter for name, parameter in parameters if parameter.requires_grad}

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Switch the model to evaluation for a while."""
        self._model.eval()
        try:
            yield
        finally:
            self._model.train()

    def logits(self, hidden: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the logits (positions, vocabulary) of what `read` returned for these positions.

        `weights` take the place of parameters of the output layer, by their names in it.
        """
        if self._head is None or self._after_head is None:
            return hidden
        output: Tensor = functional_call(self._head, dict(weights), (hidden,)) if weights else self._head(hidden)
        return self._after_head(output)

    def _hidden(self, input_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return what the output layer reads, (rows, positions, d); the logits where the layer cannot be left out."""
        if self._head is None:
            return self._run(input_ids, mask)
        stand_in = _StandIn(self._head)
        self._base.set_output_embeddings(stand_in)
        try:
            self._run(input_ids, mask)
        finally:
            self._base.set_output_embeddings(self._head)
        return stand_in.hidden

    def _run(self, input_ids: Tensor, mask: Tensor | None) -> Tensor:
        with _one_text_a_row():
            logits: Tensor = self._model(input_ids=input_ids, attention_mask=mask, use_cache=False).logits
        return logits

    @torch.no_grad()
    def _learn(self) -> None:
        """Find out what the model does to the logits behind its output layer, and whether it needs a mask.

        Padding stands on the right. Where each token sees those before it alone, no token sees the padding, and
        attention is faster without a mask. Both are measured, because models of every making are loaded.
        """
        device = next(parameter for parameter in self._model.parameters() if parameter.requires_grad).device
        ids = torch.tensor([[0, 1, 2, 3], [0, 1, 5, 4]], device=device)
        mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], device=device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), self.without_dropout():
            head = self._base.get_output_embeddings()
            outputs: list[Tensor] = []
            handle = head.register_forward_hook(lambda module, inputs, output: outputs.append(output))
            try:
                logits = self._run(ids, mask)
            finally:
                handle.remove()
            self.vocabulary = logits.shape[-1]
            self._after_head = _after_head(outputs[0], logits, self._base.config)
            if self._after_head is None:
                log.warning("%s does something to its logits that is not known here", type(self._base).__name__)
            else:
                self._head = head
            masked, free = (self._hidden(ids, given)[:, self.virtual_tokens :] for given in (mask, None))
        largest, real = masked.abs().max(), mask.bool()
        blind = (free[0, :2] - free[1, :2]).abs().max() <= _ONE_KERNEL * largest
        self._needs_mask = not bool(blind & ((masked - free)[real].abs().max() <= _TWO_KERNELS * largest))


@contextmanager
def _one_text_a_row() -> Iterator[None]:
    """Keep transformers from looking whether rows hold several texts, for which it waits for the device every time."""
    from transformers import masking_utils

    before = masking_utils.find_packed_sequence_indices
    masking_utils.find_packed_sequence_indices = lambda position_ids: None
    try:
        yield
    finally:
        masking_utils.find_packed_sequence_indices = before


class _StandIn(nn.Module):
    """Stands where the output layer was, and keeps what that would read."""

    hidden: Tensor

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        # Mamba asks for the format of these weights. They stay the head's: no parameter of this module.
        self.__dict__["weight"] = head.weight

    def forward(self, hidden: Tensor) -> Tensor:
        self.hidden = hidden
        return hidden


def _after_head(output: Tensor, logits: Tensor, config: PretrainedConfig) -> Callable[[Tensor], Tensor] | None:
    """Return the function that makes the model's logits of the output of its last layer, None if it is not found."""
    ways: list[Callable[[Tensor], Tensor]] = [lambda x: x]
    for name in _LOGIT_NUMBERS:
        if number := getattr(config.get_text_config(), name, None):
            ways += [functools.partial(way, number) for way in (_multiplied, _divided, _capped)]
    return next((way for way in ways if torch.equal(way(output).to(logits.dtype), logits)), None)


def _multiplied(number: float, logits: Tensor) -> Tensor:
    return logits * number


def _divided(number: float, logits: Tensor) -> Tensor:
    return logits / number


def _capped(number: float, logits: Tensor) -> Tensor:
    return (logits / number).tanh() * number
