"""A model whose weights are in memory only while the part that they belong to computes.

A part is a decoder block, or another module that has weights of its own, such as the embedding. A forward pass reads
each part from the files when it reaches it, in fp32, and drops it afterwards. Its result is that of the whole model.
All rows pass together, padded on the right, so that each part is read once: under a causal mask no token sees the
padding behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from studio.engine.control import Progress
from studio.engine.export.compare import Outputs, beginnings, kept_positions
from studio.engine.export.stored import StoredModel, empty_model
from studio.engine.models.structure import linear_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Part:
    """A module whose weights come and go together.

    Attributes:
        owners: for each weight, by its name in the plain model, the modules that have it and what they call it.
        linear: those of its layers that a run may store in fewer bits.
    """

    module: nn.Module
    owners: dict[str, list[tuple[nn.Module, str]]]
    linear: tuple[nn.Module, ...]

    def weights(self) -> dict[str, Tensor]:
        """Return what the weights are now, by their names in the plain model."""
        return {name: getattr(*owners[0]).detach() for name, owners in self.owners.items()}

    def put(self, weights: dict[str, Tensor]) -> None:
        """Put weights where they belong."""
        for name, owners in self.owners.items():
            for module, leaf in owners:
                if leaf in module._parameters:
                    module._parameters[leaf] = nn.Parameter(weights[name], requires_grad=False)
                else:
                    module._buffers[leaf] = weights[name]


class Work:
    """What is done with every part of a model while its weights are there; by default nothing."""

    def look(self, name: str, tensor: Tensor) -> None:
        """Look at a tensor of the files."""

    def prepare(self, part: Part) -> None:
        """Change the weights before the part computes."""

    def finish(self, part: Part) -> None:
        """Use the weights, once, after the part has computed."""


NOTHING = Work()


class StreamedModel:
    """A stored model, with or without a trained part that is small enough to stay in memory.

    Attributes:
        model: the module that computes.
    """

    def __init__(self, stored: StoredModel, attach: Callable[[PreTrainedModel], nn.Module] | None = None) -> None:
        """`attach` puts the trained part onto the plain model, whose weights are not there yet."""
        self._stored = stored
        plain = empty_model(stored.config)
        self._output = plain.get_output_embeddings()
        self.parts = tuple(_parts(plain))
        for part in self.parts:
            # NaN takes no memory, and shows in the outputs if it is ever used.
            part.put({name: _nothing(tensor) for name, tensor in part.weights().items()})
        self._nothing = {part: part.weights() for part in self.parts}
        self.model = attach(plain) if attach else plain
        self._wrapped = {id(layer.get_base_layer()): layer for layer in tuner_layers(self.model)}

    def trained_part(self) -> dict[str, Tensor]:
        """Return the weights that stay in memory, by name."""
        state = self.model.state_dict(keep_vars=True)
        passing = {id(getattr(*owner)) for part in self.parts for owners in part.owners.values() for owner in owners}
        return {name: tensor.detach() for name, tensor in state.items() if id(tensor) not in passing}

    @torch.no_grad()
    def run(
        self,
        rows: Sequence[Sequence[int]],
        asked: Sequence[tuple[int, int]],
        progress: Progress,
        stage: str,
        work: Work = NOTHING,
        kept: Sequence[Sequence[int]] | None = None,
        tokens: int | None = None,
    ) -> Outputs:
        """Run the model over rows of token ids.

        Args:
            asked: pairs of a row and a position in it, for `Outputs.at_ends`.
            kept: the positions of each row whose logits are returned; by default those that `compare.record` keeps.
            tokens: how many of the first tokens are run; by default all.

        Raises:
            Cancelled: through `progress`.
        """
        vocabulary = self._output.weight.shape[0]
        runs = beginnings(rows, tokens)
        kept = kept or [kept_positions(row, vocabulary, run) for row, run in zip(rows, runs, strict=False)]
        rows = [row[:run] for row, run in zip(rows, runs, strict=False)]
        places = torch.tensor([*((r, p) for r, positions in enumerate(kept) for p in positions), *asked])
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)

        def choose(_output: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            virtual = inputs[0].shape[1] - ids.shape[1]  # positions that the method puts in front of every row
            return (inputs[0][places[:, 0], virtual + places[:, 1]][None], *inputs[1:])

        visits = _Visits(self._stored, self._nothing, progress, stage, work)
        handles = [self._output.register_forward_pre_hook(choose)]
        for part in self.parts:
            module = self._wrapped.get(id(part.module), part.module)
            handles.append(module.register_forward_pre_hook(visits.enter(part)))
            handles.append(module.register_forward_hook(visits.leave(part)))
        try:
            logits = self.model(input_ids=ids, use_cache=False).logits[0].float()
        finally:
            for handle in handles:
                handle.remove()
        visits.rest()
        found = logits[: len(logits) - len(asked)].split([len(positions) for positions in kept])
        return Outputs(tuple(found), at_ends=logits[len(logits) - len(asked) :] if asked else None)


class _Visits:
    """The parts of a model that one pass has been to, and what happens there."""

    def __init__(
        self,
        stored: StoredModel,
        nothing: dict[Part, dict[str, Tensor]],
        progress: Progress,
        stage: str,
        work: Work,
    ) -> None:
        self._stored, self._nothing, self._work = stored, nothing, work
        self._progress, self._stage = progress, stage
        self._seen: set[Part] = set()

    def enter(self, part: Part) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self._progress(self._stage, len(self._seen), len(self._nothing))
            part.put(self._stored.read(part.owners.keys(), self._work.look))
            self._work.prepare(part)

        return hook

    def leave(self, part: Part) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if part not in self._seen:
                self._seen.add(part)
                self._work.finish(part)
            part.put(self._nothing[part])
            for layer in tuner_layers(part.module):
                layer.merged_adapters.clear()

        return hook

    def rest(self) -> None:
        """Go to the parts that take no part in a forward pass, too."""
        for part in self._nothing:
            if part not in self._seen:
                self.enter(part)()
                self.leave(part)()


def tuner_layers(model: nn.Module) -> list[Any]:
    """Return the layers into which peft has put something."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _parts(model: PreTrainedModel) -> Iterator[Part]:
    """Yield the blocks, which are the members of the outermost lists, and every other module with weights."""
    names: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        names.setdefault(id(tensor), name)
    linear = {model.get_submodule(layer.name) for layer in linear_layers(model)}
    blocks: list[nn.Module] = []
    inside: set[int] = set()
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and id(module) not in inside:
            blocks.extend(module)
            inside |= {id(inner) for inner in module.modules()}
    others = [module for module in model.modules() if id(module) not in inside]
    for module, recurse in [*((other, False) for other in others), *((block, True) for block in blocks)]:
        owners: dict[str, list[tuple[nn.Module, str]]] = {}
        modules = tuple(module.modules()) if recurse else (module,)
        for owner in modules:
            for leaf, tensor in (*owner._parameters.items(), *owner._buffers.items()):
                if tensor is not None and leaf not in owner._non_persistent_buffers_set:
                    owners.setdefault(names[id(tensor)], []).append((owner, leaf))
        if owners:
            yield Part(module, owners, tuple(owner for owner in modules if owner in linear))


def _nothing(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point():
        return torch.full((1,) * tensor.dim(), math.nan).expand(tensor.shape)
    return torch.zeros((1,) * tensor.dim(), dtype=tensor.dtype).expand(tensor.shape)
