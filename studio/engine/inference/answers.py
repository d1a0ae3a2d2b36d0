"""Settings of a conversation, and the answers that come of it. Readable without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """How answers are chosen, the same for every model.

    Attributes:
        temperature: the logits are divided by it; 0 takes the likeliest token each time.
        top_p: sampling keeps the likeliest tokens whose probabilities add up to it (Holtzman et al. 2019).
        limit: tokens of an answer at most.
        seed: of the answer's own generator; every answer begins with it anew.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    limit: int = 256
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token of an answer.

    Attributes:
        text: what it added to the text; "" while a character is not complete.
        probability: by the model that chose it, before temperature and top-p.
        other: by the other model, after the same prompt and the same tokens; None where it was not asked.
    """

    id: int
    text: str
    probability: float
    other: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChatAnswer:
    """What one model answered.

    Attributes:
        model: base, tuned, or the name of a plain model.
        ended: whether it ended by itself; False where the limit came first.
        first_token_seconds: from the question to the first token.
    """

    model: str
    text: str
    tokens: tuple[Token, ...]
    ended: bool
    first_token_seconds: float
    seconds: float


def first_difference(left: Sequence[Token], right: Sequence[Token]) -> int | None:
    """Return the place of the first token that differs; None where one answer begins with the other."""
    return next(
        (place for place, (one, other) in enumerate(zip(left, right, strict=False)) if one.id != other.id), None
    )
