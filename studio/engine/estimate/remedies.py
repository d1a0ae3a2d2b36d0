"""What would make a configuration fit: each a change of some options, with the memory that it takes then."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from studio.config import RunConfig, parse_config
from studio.config.run import override_config
from studio.engine.estimate.plan import Place, Plan, plan
from studio.engine.methods import METHODS
from studio.engine.models.info import ModelInfo
from studio.errors import ConfigError
from studio.i18n import tr
from studio.text.numbers import size_text

# A change that saves less than this share is no remedy.
_WORTH = 0.02
_SHORTEST_ROW = 128
_SMALLEST_RANK = 4


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One change that lowers the memory.

    Attributes:
        name: shard, nf4, recompute, rank, states-8bit, adafactor, rows, method or together.
        overrides: the options to set, by dotted key.
        total_bytes: what training takes then.
        fits: whether that is there.
    """

    name: str
    overrides: Mapping[str, Any]
    total_bytes: int
    fits: bool


def remedies(info: ModelInfo, config: RunConfig, place: Place) -> tuple[Remedy, ...]:
    """Return what would lower the memory of a configuration that does not fit: what is enough first, mildest first.

    Where no change is enough by itself, as many of them as are needed together come first.
    """
    before = plan(info, config, place).total_bytes
    candidates = dict(_candidates(config, place))
    found: list[Remedy] = []
    for name, choices in candidates.items():
        best: Remedy | None = None
        for overrides in choices:
            tried = _try(info, config, place, name, overrides)
            if tried is not None and tried.total_bytes < (1 - _WORTH) * before:
                best = tried
                if tried.fits:
                    break
        if best is not None:
            found.append(best)
    if found and not any(remedy.fits for remedy in found):
        found += _together(info, config, place, {remedy.name: candidates[remedy.name] for remedy in found})
    return tuple(sorted(found, key=lambda remedy: not remedy.fits))


def refusal(info: ModelInfo, config: RunConfig, found: Plan) -> str:
    """Return why training is refused: what it takes, what is free, and what would do."""
    sentence = tr("Training takes {total} of memory, and {available} are free.").format(
        total=size_text(found.total_bytes), available=size_text(found.place.available)
    )
    enough = [remedy for remedy in remedies(info, config, found.place) if remedy.fits]
    if not enough:
        return sentence + " " + tr("Take a smaller model.")
    ways = tr("; ").join(
        tr("{words} ({detail})").format(words=options_text(remedy), detail=size_text(remedy.total_bytes))
        for remedy in enough
    )
    return sentence + " " + tr("What would fit: {ways}.").format(ways=ways)


def options_text(remedy: Remedy) -> str:
    """Return the options that a remedy sets, such as "precision.base_dtype = nf4"."""
    return tr(", ").join(f"{key} = {value}" for key, value in remedy.overrides.items())


def apply_remedy(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Return a configuration with these options set; another method comes with its own. Raises `ConfigError`."""
    others = dict(overrides)
    if (name := others.pop("method.name", None)) is not None:
        config = parse_config(config.model_dump(exclude_none=True) | {"method": {"name": name}})
    return override_config(config, others)


def _candidates(config: RunConfig, place: Place) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the changes to try, by name; of several, the mildest first."""
    method = METHODS.get(config.method.name)
    quantises = place.device is None or importlib.util.find_spec("bitsandbytes") is not None
    if method.quantised_base and quantises and place.kind != "mps" and config.precision.base_dtype != "nf4":
        yield "nf4", [{"precision.base_dtype": "nf4"}]
    if config.training.shard == "off" and place.processes > 1 and method.form == "model":
        yield "shard", [{"training.shard": "auto"}]
    if config.training.recompute == "off":
        yield "recompute", [{"training.recompute": "auto"}]
    if config.training.optimizer == "adamw" and quantises and place.kind != "mps":
        yield "states-8bit", [{"training.optimizer": "adamw-8bit"}]
    if config.training.optimizer != "adafactor":
        yield "adafactor", [{"training.optimizer": "adafactor"}]
    if isinstance(rank := getattr(config.method, "rank", None), int):
        yield "rank", [{"method.rank": r} for r in _halves(rank, _SMALLEST_RANK)]
    yield "rows", [{"data.max_length": n} for n in _halves(config.data.max_length, _SHORTEST_ROW)]
    if method.form == "model":
        yield "method", [{"method.name": "lora"}]


def _halves(value: int, least: int) -> list[int]:
    found = []
    while value // 2 >= least:
        value //= 2
        found.append(value)
    return found


def _try(info: ModelInfo, config: RunConfig, place: Place, name: str, overrides: Mapping[str, Any]) -> Remedy | None:
    """Return a change with its figure, None where it cannot be made."""
    try:
        found = plan(info, apply_remedy(config, overrides), place)
    except ConfigError:
        return None
    return Remedy(name=name, overrides=overrides, total_bytes=found.total_bytes, fits=found.fits)


def _together(
    info: ModelInfo, config: RunConfig, place: Place, candidates: dict[str, list[dict[str, Any]]]
) -> Iterator[Remedy]:
    """Yield one remedy, the first few of several changes in one, none of them stronger than it need be."""
    overrides: dict[str, Any] = {}
    candidates.pop("method", None)  # the others belong to the method that there is
    for choices in candidates.values():
        overrides |= choices[-1]
        enough = _try(info, config, place, "together", dict(overrides))
        if enough is not None and enough.fits:
            yield _milder(info, config, place, enough, candidates)
            return


def _milder(
    info: ModelInfo, config: RunConfig, place: Place, enough: Remedy, candidates: dict[str, list[dict[str, Any]]]
) -> Remedy:
    """Return several changes together, each as mild as the others let it be, the last one first."""
    for choices in reversed(candidates.values()):
        for milder in choices if choices[0].keys() <= enough.overrides.keys() else ():
            tried = _try(info, config, place, enough.name, {**enough.overrides, **milder})
            if tried is not None and tried.fits:
                enough = tried
                break
    return enough
