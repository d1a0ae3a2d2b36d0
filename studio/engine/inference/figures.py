"""The figures of a measurement of latency, and what may be concluded from them. Readable without torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
ROUNDS = 9  # the range then leaves out the least and the greatest round
LEAST_ROUNDS = 6  # fewer cannot show a difference with this confidence: five of five agree by chance in 6 % of cases


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median over the rounds, and the range that holds the true median with 95 % confidence."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ratio(Spread):
    """How many times the base's, from the ratios within each round.

    Attributes:
        differs: whether the range excludes 1, in other words whether a sign test tells the form from the base.
    """

    differs: bool


@dataclass(frozen=True, kw_only=True)
class FormLatency:
    """One form of the model.

    Attributes:
        form: base, live (the base with the trained part beside it) or merged.
        prefill_ms: until the first token is there.
        token_ms, tokens_per_second: of each further token; the latter from the median.
    """

    form: str
    prefill_ms: Spread
    token_ms: Spread
    tokens_per_second: float
    prefill_ratio: Ratio
    token_ratio: Ratio


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What was measured, and on what.

    Attributes:
        switch_ms: what it took to put the trained part into the loaded base, the median; None where it is the base.
    """

    forms: tuple[FormLatency, ...]
    method: str
    device: str
    dtype: str
    prompt_tokens: int
    new_tokens: int
    rounds: int
    switch_ms: float | None


def form_latency(form: str, times: Sequence[tuple[float, float]], base: Sequence[tuple[float, float]]) -> FormLatency:
    """Return the figures of a form from its rounds and those of the base.

    Args:
        times, base: for each round the seconds until the first token and those of each further one; the rounds pair.
    """
    prefill, token = zip(*times, strict=True)
    prefill_of_base, token_of_base = zip(*base, strict=True)
    token_ms = spread([1000 * seconds for seconds in token])
    return FormLatency(
        form=form,
        prefill_ms=spread([1000 * seconds for seconds in prefill]),
        token_ms=token_ms,
        tokens_per_second=1000 / token_ms.median,
        prefill_ratio=ratio(prefill, prefill_of_base),
        token_ratio=ratio(token, token_of_base),
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the median of `values` and its confidence interval, which is between two of them: the order statistics.

    No shape of the distribution is assumed (Hahn and Meeker, Statistical Intervals, 5.2). Of fewer than six values
    the range is from the least to the greatest, with less confidence than stated.
    """
    ordered = sorted(values)
    left_out = _left_out(len(ordered))
    return Spread(low=ordered[left_out], median=statistics.median(ordered), high=ordered[-1 - left_out])


def ratio(own: Sequence[float], base: Sequence[float]) -> Ratio:
    """Return what the rounds say about the ratio of two forms; the rounds pair."""
    found = spread([mine / other for mine, other in zip(own, base, strict=True)])
    differs = len(own) >= LEAST_ROUNDS and not found.low <= 1 <= found.high
    return Ratio(low=found.low, median=found.median, high=found.high, differs=differs)


def _left_out(count: int) -> int:
    """Return how many values at each end can be left out of the range without falling below the confidence."""
    outside, left_out = 0, 0
    while 2 * (outside := outside + math.comb(count, left_out)) <= (1 - CONFIDENCE) * 2**count:
        left_out += 1
    return max(0, left_out - 1)
