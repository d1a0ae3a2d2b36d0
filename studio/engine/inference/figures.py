"""The figures of a measurement of latency. Readable without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FormLatency:
    """One form of the model. Medians over the rounds.

    Attributes:
        form: base, live (the base with the trained part beside it) or merged.
        prefill_ms: until the first token is there.
        ms_per_token, tokens_per_second: of each further token.
        prefill_ratio, token_ratio: to the base, as the median of the rounds' own ratios.
    """

    form: str
    prefill_ms: float
    ms_per_token: float
    tokens_per_second: float
    prefill_ratio: float
    token_ratio: float


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
