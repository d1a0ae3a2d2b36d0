"""What `auto` becomes so that training fits: recomputation, the size of micro-batches, and the storage of the base."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio.config import RunConfig
from studio.config.data import SHORTEST
from studio.config.precision import check_precision
from studio.config.run import override_config
from studio.engine import device
from studio.engine.device import resolve_device
from studio.engine.estimate.formula import Formula, storage_for
from studio.engine.estimate.split import split_blocks
from studio.engine.fit import Fit, choose_fit
from studio.engine.methods import METHODS
from studio.engine.models.info import ModelInfo
from studio.engine.precision import PRECISIONS, Precision
from studio.engine.precision.choose import QUANTISED, choose_precision, choose_storage, storage_reason
from studio.errors import ConfigError
from studio.i18n import tr

if TYPE_CHECKING:
    import torch

# Of a GPU that is not here: its driver, CUDA, the libraries' own buffers, and the gaps between tensors.
_RESERVE = 700 << 20
# Frozen weights in 16 bits that fill more than this share of a GPU leave too little for everything else.
_SHARE_OF_WEIGHTS = 0.5


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where training would run. Sizes are in bytes.

    Attributes:
        kind: cpu, cuda or mps.
        total: memory of the device.
        available: what of it is free for training.
        device: None for a GPU that is not in this machine. It is taken for one that computes in bf16.
        processes: how many such devices train together, a process on each.
        cards: what is free on each GPU of this computer that one process can spread layers over, this one first; empty
            where there is one alone.
    """

    kind: str
    total: int
    available: int
    device: torch.device | None = None
    processes: int = 1
    cards: tuple[int, ...] = ()


def place_of(config: RunConfig, processes: int = 1) -> Place:
    """Return the device that a configuration asks for, as it is now. Raises `TrainingError` where there is none.

    `processes`: how many train together, each on a device like this one.
    """
    resolved = resolve_device(config.training.device)
    available, total = device.memory_of(config.training.device)
    named = config.training.device not in ("auto", "cuda")
    cards = () if named or processes > 1 or resolved.type != "cuda" else device.free_of_alike_gpus()
    return Place(
        kind=resolved.type, total=total, available=available, device=resolved, processes=processes, cards=cards
    )


def gpu_of(gigabytes: float, count: int = 1) -> Place:
    """Return NVIDIA GPUs of this size (1024³ bytes each) with nothing else on them, whether or not they are here."""
    total = int(gigabytes * (1 << 30))
    available = max(0, total - _RESERVE)
    cards = (available,) * count if count > 1 else ()
    return Place(kind="cuda", total=total, available=available, processes=count, cards=cards)


def precision_at(info: ModelInfo, config: RunConfig, place: Place) -> Precision:
    """Return the precision that training takes there. Raises `ConfigError` for one that cannot be had."""
    if place.device is not None:
        return choose_precision(config.precision, place.device, info.dtype)[0]
    name = "bf16-mixed" if config.precision.name == "auto" else config.precision.name
    check_precision(config.precision, name)
    return PRECISIONS.get(name)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How training will go.

    Attributes:
        fit: the way in which it fits, or needs least.
        base_dtype: the format of frozen linear weights: fp32, fp16, bf16, int8 or nf4.
        bytes: the memory that it takes, by component (`formula.Formula.components`). Where layers are spread over GPUs,
            that of the fullest one, and `place` tells what is free there.
        sharded: whether each process holds a part of the weights, and not all of them (`studio.engine.sharding`).
    """

    place: Place
    precision: Precision
    fit: Fit
    base_dtype: str
    bytes: dict[str, int]
    sharded: bool = False

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes.values())

    @property
    def fits(self) -> bool:
        return self.total_bytes <= self.place.available


def plan(info: ModelInfo, config: RunConfig, place: Place, *, sharded: bool | None = None) -> Plan:
    """Return the quickest way to train that fits, or the one that needs least memory where none does.

    Window, command line, refusal and the first micro-batch of a run all follow from it.

    Args:
        sharded: whether the weights are spread over the processes; None: as the configuration says.

    Raises:
        ConfigError: the precision cannot be had there, or the method does not fit the model.
    """
    precision = precision_at(info, config, place)
    if sharded is None:
        sharded = _can_shard(config, precision, place)
        if sharded and config.training.shard == "auto":
            alone = plan(info, config, place, sharded=False)
            if alone.fits:
                return alone
            return min(alone, plan(info, config, place, sharded=True), key=lambda found: found.total_bytes)
    base_dtype = _base_dtype(info, config, precision, place)
    stored = with_storage(config, base_dtype)

    formula = Formula(info.shapes, stored, precision, place.kind, parts=place.processes if sharded else 1)
    words = (
        place.kind == "cuda"
        and not precision.pure
        and not sharded
        and bool(storage_for(stored, precision).looked_up(info.shapes))
    )
    asked, length = config.training.recompute, config.data.max_length
    fit = choose_fit(
        asked, place.kind, length, place.available, lambda fit: sum(formula.components(fit).values()), words=words
    )
    found = Plan(
        place=place, precision=precision, fit=fit, base_dtype=base_dtype, bytes=formula.components(fit), sharded=sharded
    )
    if found.fits or not _can_spread(config, precision):
        return found
    counts = range(2, min(len(place.cards), info.shapes.layers) + 1)
    spread = (_on_cards(found, place.cards[:count], formula, stored, words) for count in counts)
    return next((one for one in spread if one.fits), found)


def _can_spread(config: RunConfig, precision: Precision) -> bool:
    """Return whether the layers may lie on several GPUs: what is trained lies in them, beside a frozen base."""
    method = METHODS.get(config.method.name)
    in_layers = method.form != "model" and method.positions(config.method) == 0
    return in_layers and config.training.optimizer == "adamw" and not precision.pure


def _on_cards(alone: Plan, free: Sequence[int], formula: Formula, config: RunConfig, words: bool) -> Plan:
    """Return the plan with the layers spread over GPUs that have so many bytes free.

    Its memory is that of the GPU which is nearest to full.
    """

    def split(fit: Fit) -> tuple[float, list[int]]:
        first, other = (sum(formula.of_card(fit, (), main=main).values()) for main in (True, False))
        return split_blocks(formula.of_layers(fit), [first, *[other] * (len(free) - 1)], free)

    length = config.data.max_length
    fit = choose_fit(config.training.recompute, alone.place.kind, length, 1.0, lambda fit: split(fit)[0], words=words)
    _, counts = split(fit)
    if not counts:
        return alone
    fit = replace(fit, cards=tuple(card for card, count in enumerate(counts) for _ in range(count)))
    held = [[layer for layer, its in enumerate(fit.cards) if its == card] for card in range(len(counts))]
    taken = [formula.of_card(fit, its, main=card == 0) for card, its in enumerate(held)]
    fullest = max(range(len(counts)), key=lambda card: sum(taken[card].values()) / free[card])
    return replace(alone, fit=fit, bytes=taken[fullest], place=replace(alone.place, available=free[fullest]))


def _can_shard(config: RunConfig, precision: Precision, place: Place) -> bool:
    """Return whether the weights may be spread over the processes. Raises `ConfigError` where they shall and cannot."""
    if place.processes == 1 or config.training.shard == "off":
        return False
    if place.kind == "cpu" and config.training.shard == "auto":
        return False  # the processes share one memory, and measured, each took more of it so
    whole = METHODS.get(config.method.name).form == "model"
    can = whole and config.training.optimizer == "adamw" and not precision.pure
    if config.training.shard == "on" and not can:
        raise ConfigError(
            tr(
                "training.shard = on needs method.name = full, training.optimizer = adamw and a precision with an fp32 "
                "master copy; change these, or take auto."
            )
        )
    return can


def with_rows(config: RunConfig, longest: int) -> RunConfig:
    """Return a configuration for rows of which the longest has so many tokens: what is planned follows from them."""
    return override_config(config, {"data.max_length": max(SHORTEST, min(longest, config.data.max_length))})


def with_storage(config: RunConfig, base_dtype: str) -> RunConfig:
    """Return a configuration whose frozen weights are stored in this format."""
    if config.precision.base_dtype == "auto" and base_dtype in ("nf4", "int8"):
        return override_config(config, {"precision.base_dtype": base_dtype})
    return config


def storage_reasons(info: ModelInfo, asked: RunConfig, found: Plan) -> list[str]:
    """Return why frozen weights are stored as in the plan of a configuration, codes of `precision.choose.REASONS`."""
    if not METHODS.get(asked.method.name).quantised_base:
        return []
    reasons = [storage_reason(asked.precision, found.precision, info.dtype)]
    if with_storage(asked, found.base_dtype) != asked:
        reasons = ["frozen_to_fit"]
    if found.base_dtype in QUANTISED and info.shapes.experts:
        reasons.append("experts_not_rounded")
    return reasons


def _base_dtype(info: ModelInfo, config: RunConfig, precision: Precision, place: Place) -> str:
    """Return the storage of frozen weights: nf4 where they would otherwise fill most of an NVIDIA GPU."""
    method = METHODS.get(config.method.name)
    plain = precision.parameters if method.form == "model" else choose_storage(config.precision, precision)
    here = place.device is None or importlib.util.find_spec("bitsandbytes") is not None
    if config.precision.base_dtype != "auto" or place.kind != "cuda" or not method.quantised_base or not here:
        return plain
    weights = storage_for(config, precision).bytes(info.shapes)
    if precision.autocast is None or weights <= _SHARE_OF_WEIGHTS * place.total:
        return plain
    try:
        config.method.check_storage("nf4")
    except ConfigError:
        return plain
    return "nf4"
