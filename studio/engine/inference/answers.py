"""Settings of a conversation, and the answers that come of it. Readable without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from studio.config.option import Section, option
from studio.i18n import gettext_noop

BASE, TUNED, BESIDE = "base", "tuned", "beside"
"""Names of the models of a conversation."""


class ChatSettings(Section):
    """How models are asked and answers are chosen, the same for every model. Every answer draws from the seed anew."""

    system: str = option(
        "",
        title="System prompt",
        help="What the models are told before the first question. Leave it empty if the training data had none.",
    )
    asked: Literal["template", "plain"] = option(
        "template",
        title="Way of asking",
        help=(
            "As in training: a Chat model through its template, a Base model with the headings of its data. Continue "
            "the text: what you type begins a text, and nothing is put around it."
        ),
        labels={"template": gettext_noop("As in training"), "plain": gettext_noop("Continue the text")},
    )
    temperature: float = option(
        0.0,
        title="Temperature",
        help="0 takes the likeliest token each time; larger values make unlikely tokens more frequent.",
        ge=0,
        le=5,
    )
    top_p: float = option(
        1.0,
        title="Top-p",
        help=(
            "Tokens are drawn from the likeliest ones whose probabilities add up to this (Holtzman et al. 2019). "
            "1 leaves all of them in."
        ),
        gt=0,
        le=1,
    )
    limit: int = option(256, title="Longest answer", help="An answer is cut there.", unit="tokens", ge=1, le=32768)
    seed: int = option(
        0,
        title="Seed",
        help="Both models draw with the same random numbers. With temperature 0 nothing is drawn.",
        ge=0,
        le=2**31 - 1,
    )


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
        model: base, tuned, beside, or the name of a plain model.
        ended: whether it ended by itself; False where the limit came first.
        first_token_seconds: from the question to the first token.
    """

    model: str
    text: str
    tokens: tuple[Token, ...]
    ended: bool
    first_token_seconds: float
    seconds: float


def with_others(answer: ChatAnswer, found: Sequence[float]) -> ChatAnswer:
    """Return an answer whose tokens have the probabilities that another model gives them."""
    tokens = (replace(token, other=value) for token, value in zip(answer.tokens, found, strict=True))
    return replace(answer, tokens=tuple(tokens))


def first_difference(left: Sequence[Token], right: Sequence[Token]) -> int | None:
    """Return the place of the first token that differs; None where one answer begins with the other."""
    return next(
        (place for place, (one, other) in enumerate(zip(left, right, strict=False)) if one.id != other.id), None
    )
