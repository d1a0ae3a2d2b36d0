"""The kinds of verdict, one file each: signs, evidence, words and remedies. Listing them does not import torch."""

from studio.engine.numerics.verdict import Verdict, Words
from studio.errors import ConfigError
from studio.events import OverflowDiagnosed
from studio.i18n import sentences
from studio.registry import Registry

VERDICTS: Registry[type[Verdict]] = Registry("verdict", __name__, "VERDICT")

__all__ = ["VERDICTS", "Verdict", "verdict_words"]


def verdict_words(event: OverflowDiagnosed) -> Words:
    """Return the sentence and the advice of a verdict in the language of the session.

    Another version may have found other evidence, or kinds that are unknown here; then its own words stand.
    """
    try:
        sentence, advice = VERDICTS.get(event.verdict).words(event.evidence, event.remedies)
    except (ConfigError, KeyError, TypeError, ValueError):
        return event.sentence, event.advice
    return sentences((sentence,)), sentences((advice,))
