"""What a configuration amounts to with the rows that were counted, before a run: an epoch, the run, its validation.

Arithmetic, without torch. Numbers of rows are those that the run will have, unless equal rows are held out together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.config import RunConfig
from studio.engine.data.mixing import SourceRows, TrainingOrder, apportion
from studio.engine.data.split import target_rows
from studio.engine.training.length import (
    ValidationPlan,
    plan_validation,
    planned_updates,
    trained_rows,
    updates_per_epoch,
)


@dataclass(frozen=True, kw_only=True)
class CountedRows:
    """The rows of a source that can be learnt from, and their tokens; 0 tokens while no model tells them."""

    rows: int
    tokens: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SourceForecast:
    """What a source gives to an epoch; on average over many, where several general sources share a pool.

    Attributes:
        rows, tokens: of an epoch; a row that is seen twice counts twice.
        available: rows of the source that are not held out.
        repeats: how often one of these is seen in an epoch.
    """

    rows: float
    tokens: float
    available: int

    @property
    def repeats(self) -> float:
        return self.rows / self.available if self.available else 0.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a configuration amounts to.

    Attributes:
        sources: what each source gives to an epoch, in the order of the configuration.
        domain_rows, general_rows, domain_tokens, general_tokens: of an epoch.
        general_available: general rows that there are.
        held_out: domain rows that are never trained on.
        block: rows of a domain block and of the general block behind it, on average; None where blocks are not mixed.
        updates, updates_per_epoch, tokens: of the whole run; 0 tokens while no model tells them.
        validation: how much of it validation takes.
    """

    sources: tuple[SourceForecast, ...]
    domain_rows: int
    general_rows: int
    domain_tokens: float
    general_tokens: float
    general_available: int
    held_out: int
    block: tuple[int, float] | None
    updates: int
    updates_per_epoch: int
    tokens: float
    validation: ValidationPlan

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return self.domain_rows + self.general_rows


def forecast(config: RunConfig, counted: Sequence[CountedRows]) -> Forecast | None:
    """Return what a configuration amounts to; `counted` has its sources in order. None where nothing can be learnt."""
    data = config.data
    sources = list(zip(data.sources, counted, strict=True))
    places = [place for place, (source, found) in enumerate(sources) if source.weight and found.rows]
    domain = [place for place in places if data.sources[place].role == "domain"]
    general = [place for place in places if data.sources[place].role == "general" and data.replay_ratio]
    all_rows = sum(counted[place].rows for place in domain)
    if not all_rows:
        return None
    held_out = target_rows(all_rows, data.validation_fraction)
    left = apportion(all_rows - held_out, [counted[place].rows for place in domain])
    available = dict(zip(domain, left, strict=True)) | {place: counted[place].rows for place in general}

    def rows_of(group: Sequence[int]) -> list[SourceRows]:
        return [SourceRows(available[place], data.sources[place].weight) for place in group]

    order = TrainingOrder(rows_of(domain), rows_of(general), data.replay_ratio, data.mixing, 0, data.block_rows)
    given = dict(zip(domain, order.domain_per_epoch, strict=True)) | dict(
        zip(general, order.general_shares(), strict=True)
    )
    each = tuple(
        SourceForecast(
            rows=given.get(place, 0.0),
            tokens=given.get(place, 0.0) * found.tokens / max(1, found.rows),
            available=available.get(place, found.rows),
        )
        for place, found in enumerate(counted)
    )
    domain_tokens, general_tokens = (sum(each[place].tokens for place in group) for group in (domain, general))
    domain_rows = sum(order.domain_per_epoch)
    block = None
    if data.mixing == "blocks" and order.general_per_epoch:
        learnt = min(data.block_rows, domain_rows)
        block = (learnt, order.general_per_epoch * learnt / domain_rows)
    updates = planned_updates(config, order.rows_per_epoch)
    trained = trained_rows(config, order.rows_per_epoch)
    tokens = (domain_tokens + general_tokens) * trained / order.rows_per_epoch
    # Without a model, rows stand for tokens: the rows that are held out are as long as the others, on average.
    held_out_tokens = held_out * sum(counted[place].tokens for place in domain) / all_rows
    basis = (tokens, held_out_tokens) if tokens and held_out_tokens else (float(trained), float(held_out))
    return Forecast(
        sources=each,
        domain_rows=domain_rows,
        general_rows=order.general_per_epoch,
        domain_tokens=domain_tokens,
        general_tokens=general_tokens,
        general_available=sum(counted[place].rows for place in general),
        held_out=held_out,
        block=block,
        updates=updates,
        updates_per_epoch=updates_per_epoch(config, order.rows_per_epoch),
        tokens=tokens,
        validation=plan_validation(config, updates, basis[0], held_out, basis[1]),
    )
