"""How the next token is chosen. With numpy alone, so that a process without torch can do it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from studio.engine.inference.answers import ChatSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIKELY = 256
"""Tokens that are sorted at first; the whole vocabulary, which takes far longer, only where they are not enough."""


def choose(logits: NDArray[np.float32], settings: ChatSettings, drawn: float) -> int:
    """Return the next token.

    Args:
        logits: (vocabulary,), fp32.
        drawn: a uniform random number in [0, 1). The token is where the cumulated probabilities pass it, in the order
            of likelihood, so that two models that agree about the likely tokens choose alike.
    """
    if settings.temperature == 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()) / np.float32(settings.temperature)
    total = float(np.exp(scaled).sum(dtype=np.float64))
    for count in (LIKELY, len(scaled)):
        places = np.argpartition(-scaled, count)[:count] if count < len(scaled) else np.arange(len(scaled))
        places = places[np.argsort(-scaled[places], kind="stable")]
        weights = np.exp(scaled[places]).astype(np.float64)
        sums = weights.cumsum()
        # The likeliest one has 0 before it, so that it always stays.
        kept = int(np.searchsorted(sums - weights, settings.top_p * total, side="left"))
        whole = sums[kept - 1] if settings.top_p < 1 else total
        place = int(np.searchsorted(sums, drawn * whole, side="right"))
        if place < kept and (kept < count or settings.top_p == 1):
            return int(places[place])
    return int(places[kept - 1])


def probability(logits: NDArray[np.float32], token: int) -> float:
    """Return the probability of a token, before temperature and top-p."""
    highest = logits.max()
    return float(np.exp(logits[token] - highest) / np.exp(logits - highest).sum(dtype=np.float64))
