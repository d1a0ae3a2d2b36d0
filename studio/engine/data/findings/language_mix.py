"""language_mix: answers in another language than nearly all others or than their question, unless it was asked for."""

from __future__ import annotations

import numpy as np

from studio.engine.data.findings.survey import Detector, Rows, Survey

_ENOUGH = 20  # rows whose language is known
_FEW = 0.05  # share of rows up to which another language is an exception


def which(survey: Survey) -> Rows:
    """Return the rows in an exceptional language; of a set in several languages, those that do not answer in theirs."""
    question, answer = survey.traits["question_language"], survey.traits["answer_language"]
    usual = np.argmax(np.bincount(answer[answer > 0], minlength=1))
    strangers = _exceptions(answer > 0, answer != usual)
    return strangers | _exceptions((answer > 0) & (question > 0), answer != question)


def _exceptions(known: Rows, other: Rows) -> Rows:
    """Return the known rows that are other, unless they are too many to be exceptions, or too little is known."""
    found = known & other
    few = known.sum() >= _ENOUGH and found.sum() <= _FEW * known.sum()
    return found if few else np.zeros_like(found)


FINDING = Detector(name="language_mix", order=80, which=which, remedy="drop_rows")
