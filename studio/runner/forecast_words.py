"""Sentences about what a configuration amounts to, and about its learning rate, before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.config import DataConfig, DataSource
from studio.engine.methods import Method
from studio.i18n import sentences, tr, trn
from studio.text.numbers import brief, count_text, share_text

if TYPE_CHECKING:
    from studio.engine.training.forecast import Forecast as Forecast
    from studio.engine.training.forecast import SourceForecast


def source_text(source: DataSource, data: DataConfig, given: SourceForecast) -> str:
    """Return what one source gives to an epoch."""
    if not source.weight:
        return tr("Left out, because its weight is 0.")
    if source.role == "general" and not data.replay_ratio:
        return tr("Not used, because the general share is 0.")
    one = abs(given.rows - 1) < 1e-6
    rows = trn("{rows} row", "{rows} rows", 1 if one else 2).format(rows=_amount(given.rows))
    parts = [tr("In an epoch: {rows}").format(rows=rows)]
    if given.tokens:
        parts.append(tr("{tokens} tokens").format(tokens=count_text(given.tokens)))
    if source.weight != 1 or source.role == "general":
        parts.append(tr("each row {times} ×").format(times=brief(given.repeats)))
    return " · ".join(parts)


def share_of_general_text(found: Forecast) -> str:
    """Return what the general share is in rows and tokens of an epoch."""
    if not found.general_rows:
        return ""
    words = tr("In an epoch, {general} general rows beside {domain} domain rows").format(
        general=f"{found.general_rows:,}", domain=f"{found.domain_rows:,}"
    )
    if found.tokens:
        all_tokens = found.domain_tokens + found.general_tokens
        share = share_text(found.general_tokens, all_tokens)
        words += tr(" ({tokens} of {all} tokens, {share})").format(
            tokens=count_text(found.general_tokens), all=count_text(all_tokens), share=share
        )
    epochs = found.general_available / found.general_rows
    if epochs > 1:
        seen = tr("; after {epochs} epochs, all {there} that there are have been seen")
    else:
        seen = tr("; each of the {there} that there are is seen {times} times")
    seen = seen.format(epochs=brief(epochs), times=brief(1 / epochs), there=f"{found.general_available:,}")
    return tr("{facts}.").format(facts=words + seen)


def mixing_text(data: DataConfig, batch_size: int, found: Forecast) -> str:
    """Return what the mixing is in rows of an epoch."""
    if not found.general_rows:
        return tr("There are no general rows in an epoch, so all of these are the same.")
    if found.block is not None:
        learnt, rehearsed = found.block
        return tr(
            "{domain} domain rows ({domain_updates} updates), then {general} general rows ({general_updates} updates), "
            "{times} times in an epoch."
        ).format(
            domain=f"{learnt:,}",
            domain_updates=brief(learnt / batch_size),
            general=brief(rehearsed),
            general_updates=brief(rehearsed / batch_size),
            times=brief(found.domain_rows / learnt),
        )
    ratio = found.domain_rows / found.general_rows
    in_an_update = brief(batch_size / (1 + ratio))
    if data.mixing == "shuffle":
        return tr("{general} of the {rows} rows of an update are general, on average.").format(
            general=in_an_update, rows=batch_size
        )
    return tr(
        "General to domain rows as {general} to {domain}, at even distances: {inside} of the {size} rows of an update."
    ).format(general=brief(max(1, 1 / ratio)), domain=brief(max(1, ratio)), inside=in_an_update, size=batch_size)


def validation_text(found: Forecast) -> str:
    """Return how many rows are held out, how many of them are measured, how often, and what that takes."""
    plan = found.validation
    if not plan.passes:
        return tr("No row is held out.")
    share = share_text(plan.share, 1.0)
    held_out = f"{found.held_out:,}"
    if plan.rows == found.held_out:
        words = tr("Held-out rows: {held_out}. Validations: {passes}, in about {share} of the run.")
    else:
        words = tr(
            "Held-out rows: {held_out}. Validations: {passes}, each on the same sample of {rows}, in about {share} of "
            "the run."
        )
    return words.format(held_out=held_out, rows=f"{plan.rows:,}", passes=plan.passes, share=share)


def rate_warning(method: Method, rate: float) -> str:
    """Return why a learning rate is unusual for a method, or nothing."""
    customary = method.customary_rates
    if customary.low <= rate <= customary.high:
        return ""
    if rate > customary.high:
        words = tr(
            "Higher than the {low} to {high} that {method} is customarily trained with: the loss may diverge, and the "
            "model forgets more."
        )
    else:
        words = tr(
            "Lower than the {low} to {high} that {method} is customarily trained with: it may learn next to nothing."
        )
    words = words.format(low=brief(customary.low), high=brief(customary.high), method=tr(method.title))
    return sentences((words, tr(customary.source)))


def _amount(rows: float) -> str:
    """A number of rows; one that changes from epoch to epoch is given as its mean."""
    return f"{rows:,.0f}" if abs(rows - round(rows)) < 1e-6 else tr("about {rows}").format(rows=brief(rows))
