"""The layers of a frozen base on two cards, imagined on a processor: an operation on tensors of both is an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary
from transformers import LlamaConfig, LlamaForCausalLM

from studio.engine.data.batching import MicroBatch
from studio.engine.estimate.plan import Place
from studio.engine.models import placement
from studio.engine.models.placement import Placement
from studio.engine.training import run
from studio.errors import ModelError
from studio.events import EvaluationCompleted, MemoryMeasured
from tests.engine.training.trained import Trained
from tests.tiny import CPU, llama, save_rows, tokenizer

LAYERS = 5
ROOM = 300 << 20  # bytes of a card: less than a process takes on a processor, and enough for the tensors
# torch sorts the tensors of these by their device itself.
_SORTED = ("_foreach", "_fused", "stack")


class Cards(TorchDispatchMode):
    """Knows on which card each tensor lies. What is made of no other tensor may be on any."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[tuple[int, int]] = []
        self._cards = WeakIdKeyDictionary()  # by the storage

    def of(self, tensor: Tensor) -> int | None:
        card: int | None = self._cards.get(tensor.untyped_storage())
        return card

    def put(self, tensor: Tensor, card: int | None) -> None:
        if card is not None:
            self._cards[tensor.untyped_storage()] = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        cards = {card for tensor in inputs if (card := self.of(tensor)) is not None}
        output = func(*args, **(kwargs or {}))
        if func._schema.name.partition("::")[2].startswith(_SORTED):
            return output
        assert len(cards) < 2, f"{func} takes tensors of cards {cards}"
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self.put(tensor, next(iter(cards), None))
        return output


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, card: int, cards: Cards) -> Tensor:
        ctx.cards, ctx.way = cards, (cards.of(tensor) or 0, card)
        return _arrived(tensor, cards, ctx.way)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _arrived(gradient, ctx.cards, ctx.way[::-1]), None, None


def _arrived(tensor: Tensor, cards: Cards, way: tuple[int, int]) -> Tensor:
    copy = tensor.clone()
    cards.put(copy, way[1])
    cards.moves.append(way)
    return copy


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """Let this computer have two cards, of which one is too small."""
    found, settle, to = Cards(), Placement.settle, MicroBatch.to

    def settled(self: Placement, module: nn.Module) -> nn.Module:
        moved = settle(self, module)
        for block in moved.modules():
            card = (self._cards[block].index or 0) if block in self._cards else 0
            for tensor in (*block.parameters(), *block.buffers()):
                if card or found.of(tensor) is None:
                    found.put(tensor, card)
        return moved

    def on_main(self: MicroBatch, device: torch.device) -> MicroBatch:
        batch = to(self, device)
        for tensor in vars(batch).values():
            if isinstance(tensor, Tensor):
                found.put(tensor, 0)
        return batch

    def transfer(tensor: Tensor, card: torch.device) -> Tensor:
        return _Move.apply(tensor, card.index or 0, found)  # type: ignore[no-any-return,no-untyped-call]

    monkeypatch.setattr(Placement, "settle", settled)
    monkeypatch.setattr(MicroBatch, "to", on_main)
    monkeypatch.setattr(placement, "transfer", transfer)
    monkeypatch.setattr(placement, "is_on", lambda tensor, card: found.of(tensor) in (None, card.index or 0))
    place = Place(kind="cpu", total=ROOM, available=ROOM, device=CPU, cards=(ROOM, ROOM))
    monkeypatch.setattr(run, "place_of", lambda config, processes: place)
    with found:
        yield found


def _trained(folder: Path, **tables: Any) -> Trained:
    folder.mkdir(exist_ok=True)
    if not (folder / "model").exists():
        torch.manual_seed(0)
        config = LlamaConfig(**{**llama().config.to_dict(), "num_hidden_layers": LAYERS, "eos_token_id": 2})
        LlamaForCausalLM(config).save_pretrained(folder / "model")
        tokenizer().save_pretrained(folder / "model")
        save_rows(folder / "rows.jsonl")
    return Trained(folder, {"numerics": {"record": False}, "retention": {"measure": False}, **tables}).go()


def test_layers_on_two_cards_give_the_losses_of_one(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tables: dict[str, Any] = {
        "method": {"name": "lora", "rank": 4, "dropout": 0.1},
        "precision": {"name": "bf16-mixed"},
        "training": {"recompute": "on", "max_grad_norm": 0.1, "max_steps": 3},
    }
    alone = _trained(tmp_path, **tables)
    cards: Cards = request.getfixturevalue("cards")
    spread = _trained(tmp_path, **tables)
    assert [step.loss for step in spread.steps] == [step.loss for step in alone.steps]
    assert [step.grad_norm for step in spread.steps] == [step.grad_norm for step in alone.steps]
    assert [one.loss for one in spread.of(EvaluationCompleted)] == [one.loss for one in alone.of(EvaluationCompleted)]
    assert spread.weights.keys() == alone.weights.keys()
    assert all(torch.equal(spread.weights[name], weight) for name, weight in alone.weights.items())
    assert [one.gpus for one in (*alone.of(MemoryMeasured), *spread.of(MemoryMeasured))] == [1, 2]
    assert set(cards.moves) == {(0, 1), (1, 0)}


def test_a_model_of_other_layers_than_the_plan_counted_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be spread"):
        Placement(llama(), CPU, (0, 1, 1))
