"""A bottleneck adapter on disk: the trained numbers as safetensors, and what they are as JSON.

Format 1. `bottleneck_adapter.safetensors` holds, in fp32 and under the names they have in the model,
`PLACE.adapter.down.weight` (m, d), `….down.bias` (m), `….up.weight` (d, m) and `….up.bias` (d) for every place, and the
weights and biases of the layer norms where those were trained. `bottleneck_adapter.json` is `AdapterInfo`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from studio.engine.adapters.bottleneck import CHILD, Activation, adapters_of, insert, norms_of, remove, shapes
from studio.engine.adapters.places import Placement, hidden_size
from studio.engine.models.headers import read_header
from studio.errors import ModelError
from studio.files import read_json
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INFO, WEIGHTS = "bottleneck_adapter.json", "bottleneck_adapter.safetensors"


class AdapterInfo(BaseModel):
    """What an adapter is, and which kind of base it belongs to.

    Attributes:
        places: names of the modules whose output an adapter takes.
        hidden_size: d; `bottleneck`: m.
        train_layer_norms: whether the norms of the base were trained too, and are among the weights.
        model_type: the base's architecture, as its config.json names it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    format_version: Literal[1] = 1
    placement: Placement
    places: tuple[str, ...] = Field(min_length=1)
    hidden_size: int = Field(ge=1)
    bottleneck: int = Field(ge=1)
    activation: Activation
    train_layer_norms: bool
    model_type: str


@dataclass(frozen=True)
class _State:
    """Stands on a model with adapters: what they are, and the base's own norms where they are replaced."""

    info: AdapterInfo
    norms: dict[str, Tensor]


_STATE = "studio_bottleneck_adapter"


def attach_bottleneck_adapter(model: PreTrainedModel, info: AdapterInfo) -> None:
    """Freeze a model, put new adapters into it, and let them (and its norms, where asked) be trained in fp32."""
    model.requires_grad_(False)
    _insert(model, info)
    trained = [parameter for adapter in adapters_of(model).values() for parameter in adapter.parameters()]
    for parameter in (*trained, *_norms(model, info).values()):
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)


def save_bottleneck_adapter(model: nn.Module, folder: Path) -> None:
    """Write what is trained of a model that `attach_bottleneck_adapter` prepared, into an existing folder."""
    from safetensors.torch import save_file

    trained = {name: p.detach().float().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})
    state: _State = getattr(model, _STATE)
    (folder / INFO).write_text(json.dumps(state.info.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def load_bottleneck_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Put a saved adapter into a transformers model, frozen and in evaluation, and return the model.

    An adapter that is in it already is unloaded first.

    Raises:
        ModelError: the folder holds no adapter, or a damaged one, or one of another base than this.
    """
    info, tensors = _read(folder)
    _check_base(model, info, folder)
    _check_weights(model, info, tensors, folder)
    unload_bottleneck_adapter(model)
    _insert(model, info)
    model.load_state_dict(tensors, strict=False)
    model.requires_grad_(False)
    return model.eval()  # type: ignore[no-any-return]


@torch.no_grad()
def unload_bottleneck_adapter(model: PreTrainedModel) -> None:
    """Make a model the base that it was, adapters and norms; one without adapters stays as it is."""
    state: _State | None = getattr(model, _STATE, None)
    if state is None:
        return
    remove(model)
    for name, norm in state.norms.items():
        model.get_parameter(name).copy_(norm)
    delattr(model, _STATE)


def _insert(model: PreTrainedModel, info: AdapterInfo) -> None:
    insert(model, info.places, info.hidden_size, info.bottleneck, info.activation)
    norms = {name: norm.detach().clone() for name, norm in _norms(model, info).items()}
    setattr(model, _STATE, _State(info, norms))


def _norms(model: nn.Module, info: AdapterInfo) -> dict[str, nn.Parameter]:
    """The norms that belong to what is trained."""
    return norms_of(model) if info.train_layer_norms else {}


def _read(folder: Path) -> tuple[AdapterInfo, dict[str, Tensor]]:
    from safetensors.torch import load_file

    file = INFO
    try:
        info = AdapterInfo.model_validate(read_json(folder / INFO))
        file = WEIGHTS
        read_header(folder / WEIGHTS)
        tensors = load_file(folder / WEIGHTS)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("a weight is not finite")  # noqa: TRY301
        return info, tensors
    except (OSError, ValueError, ValidationError, SafetensorError, ModelError) as error:
        raise ModelError(
            tr("{folder} holds no bottleneck adapter that can be opened: {file} is missing or damaged.").format(
                folder=folder, file=file
            )
        ) from error


def _check_base(model: PreTrainedModel, info: AdapterInfo, folder: Path) -> None:
    """Refuse a model that the adapter was not made for, before anything in it is changed."""
    wanted, found = (info.model_type, info.hidden_size), (model.config.model_type, hidden_size(model))
    names = {name for name, _ in model.named_modules()}
    lacking = next((place for place in info.places if place not in names), None)
    if wanted != found or lacking:
        raise ModelError(
            tr(
                "The adapter in {folder} belongs to another base (type {wanted}, hidden size {size}) than this model "
                "(type {found}, hidden size {other}); load the base that it was trained on."
            ).format(folder=folder, wanted=wanted[0], size=wanted[1], found=found[0], other=found[1])
            if wanted != found
            else tr(
                "The adapter in {folder} belongs to another base than this model, which has no {place}; load the base "
                "that it was trained on."
            ).format(folder=folder, place=lacking)
        )


def _check_weights(model: PreTrainedModel, info: AdapterInfo, tensors: dict[str, Tensor], folder: Path) -> None:
    """Refuse weights that are not exactly those of the adapters, and of the norms where they were trained."""
    expected = {name: tuple(norm.shape) for name, norm in _norms(model, info).items()}
    for place in info.places:
        expected |= {f"{place}.{CHILD}.{key}": size for key, size in shapes(info.hidden_size, info.bottleneck).items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise ModelError(
            tr(
                "The adapter in {folder} does not fit this model: {names} are missing, too many or of another shape."
            ).format(folder=folder, names=tr(", ").join(wrong[:3]))
        )
