"""The layers of a frozen base on several GPUs of one computer, in one process, where one GPU is too small.

Each block, and what is trained in it, stays on one card. Everything outside of the blocks, the loss too, is on the main
card. Activations move to the next card between two blocks, and their gradients move back. One card computes at a time:
this is the layer-wise model parallelism of Huang et al. 2019 (GPipe, arXiv 1811.06965) without its pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from studio.engine.models.structure import text_part
from studio.engine.recompute import blocks_of
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Placement:
    """Which block of a model is on which card.

    Attributes:
        main: the card of everything outside of the blocks.
    """

    def __init__(self, base: PreTrainedModel, main: torch.device, cards: Sequence[int] = ()) -> None:
        """`cards`: the number of the card of each block; empty where all are on `main`.

        Raises:
            ModelError: the model is not made of so many blocks.
        """
        self.main = main
        blocks = list(blocks_of(text_part(base))) if cards else []
        if len(blocks) != len(cards):
            raise cannot_spread()
        self._cards = {block: torch.device(main.type, card) for block, card in zip(blocks, cards, strict=True)}
        self._moves = [block for block, card in zip(blocks, cards, strict=True) if card != cards[0]]

    def of_parameters(self, base: nn.Module) -> dict[str, torch.device]:
        """Return the card of each parameter that lies in a block, by its name in the model."""
        return {
            f"{name}.{leaf}": self._cards[module]
            for name, module in base.named_modules()
            if module in self._cards
            for leaf, _ in module.named_parameters()
        }

    def settle(self, module: nn.Module) -> nn.Module:
        """Move a module to where its parts belong, and return it."""
        if module in self._cards:
            return module.to(self._cards[module])
        if not any(part in self._cards for part in module.modules()):
            return module.to(self.main)
        for child in module.children():
            self.settle(child)
        module._apply(lambda tensor: tensor.to(self.main), recurse=False)
        return module

    def connect(self) -> None:
        """Let what enters a block come to its card, and what leaves the last block to the main card."""
        moves = {card: _Moves(card) for card in {self._cards[block] for block in self._moves}}
        for block in self._moves:
            block.register_forward_pre_hook(moves[self._cards[block]].enter, with_kwargs=True)
        if self._moves:
            self._moves[-1].register_forward_hook(_Moves(self.main).leave)


class _Moves:
    """Moves what blocks read to their card. What they share, such as masks and rotary tables, moves only once."""

    def __init__(self, card: torch.device) -> None:
        self._card = card
        self._here = WeakTensorKeyDictionary()

    def enter(self, block: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return self._move(args), self._move(kwargs)

    def leave(self, block: nn.Module, args: Any, output: Any) -> Any:
        return self._move(output)

    def _move(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._move_tensor(value)
        if isinstance(value, dict):
            return {key: self._move(one) for key, one in value.items()}
        if type(value) in (tuple, list):
            return type(value)(self._move(one) for one in value)
        return value

    def _move_tensor(self, tensor: Tensor) -> Tensor:
        if is_on(tensor, self._card):
            return tensor
        if tensor.requires_grad:  # its copy would keep it alive
            return transfer(tensor, self._card)
        found: Tensor | None = self._here.get(tensor)
        if found is None:
            self._here[tensor] = found = transfer(tensor, self._card)
        return found


def cannot_spread() -> ModelError:
    """Return the error for a model whose layers share more than what they are given."""
    return ModelError(
        tr("The layers of this model cannot be spread over several GPUs; store it in nf4, or take a smaller one.")
    )


def is_on(tensor: Tensor, card: torch.device) -> bool:
    """Return whether a tensor is on a card."""
    return tensor.device == card


def transfer(tensor: Tensor, card: torch.device) -> Tensor:
    """Copy a tensor to a card. Gradients go back the same way."""
    return tensor.to(card)
