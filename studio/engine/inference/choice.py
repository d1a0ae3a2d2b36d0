"""How the next token is chosen. With numpy alone, so that a process without torch can do it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from studio.engine.inference.answers import ChatSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    places = np.argsort(-scaled, kind="stable")
    weights = np.exp(scaled[places], dtype=np.float64)
    sums = weights.cumsum()
    # The likeliest one has 0 before it, so that it always stays.
    kept = int(np.searchsorted(sums - weights, settings.top_p * sums[-1], side="left"))
    return int(places[min(int(np.searchsorted(sums, drawn * sums[kept - 1], side="right")), kept - 1)])


def probability(logits: NDArray[np.float32], token: int) -> float:
    """Return the probability of a token, before temperature and top-p."""
    highest = logits.max()
    return float(np.exp(logits[token] - highest) / np.exp(logits - highest).sum(dtype=np.float64))
