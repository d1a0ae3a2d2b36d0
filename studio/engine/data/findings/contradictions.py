"""contradictions: the same question with answers that cannot both be right.

Several answers to one question are no fault in themselves: small talk has them. Answers contradict each other where one
says yes and the other no, where they differ in nothing but a number or a "not", where both are names of one or two
words for one fact, and where both are labels of a set that has little else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.findings.claims import FACT, OPEN
from studio.engine.data.findings.survey import Detector, Rows, Survey
from studio.engine.data.findings.traits import hashed

_LABEL_WORDS = 4  # a label has at most so many words
_LABEL_QUESTIONS = 3  # and answers at least so many questions
_LABEL_SHARE = 0.8  # of the rows, from which on the set is one of labels
_NAME_WORDS = 2
_NOTHING = hashed("")


def which(survey: Survey) -> Rows:
    """Return the rows that another row with the same question contradicts."""
    rows = survey.traits
    labels = _labels(rows)
    found = np.zeros(len(rows), dtype=np.bool_)
    _, questions, counts = np.unique(rows["question"], return_inverse=True, return_counts=True)
    asked_again = np.flatnonzero((counts[questions] > 1) & (rows["question"] != _NOTHING))
    order = asked_again[np.argsort(questions[asked_again], kind="stable")]
    for group in np.split(order, np.flatnonzero(np.diff(questions[order])) + 1):
        found[group] = _contradicted(rows[group], labels[group])
    return found


def _contradicted(rows: NDArray[Any], labels: Rows) -> Rows:
    """Return which of the rows of one question are contradicted, (rows,)."""
    closed = rows["asks"] != OPEN
    names = (rows["asks"] == FACT) & (rows["answer_words"] <= _NAME_WORDS) & (rows["claim"] != _NOTHING)
    for_and_against = closed & (rows["stance"] != 0)
    found = _differ(rows["stance"], for_and_against) | _differ(rows["gist"], names) | _differ(rows["answer"], labels)
    for claim in np.unique(rows["claim"]):
        found |= _differ(rows["gist"], closed & (rows["claim"] == claim))
    return found


def _differ(values: NDArray[Any], among: Rows) -> Rows:
    """Return `among` where its values are not all the same, and otherwise no row."""
    return among if len(np.unique(values[among])) > 1 else np.zeros_like(among)


def _labels(rows: NDArray[Any]) -> Rows:
    """Return which rows have a label for an answer; none where the set has other answers too."""
    answers, questions = (np.unique(rows[name], return_inverse=True)[1] for name in ("answer", "question"))
    # One number a pair: sorting pairs would hold Python's lock, and the window, for seconds.
    pairs = np.unique(answers * len(rows) + questions)
    given, asked = np.unique(pairs // max(1, len(rows)), return_counts=True)
    common = np.isin(answers, given[asked >= _LABEL_QUESTIONS]) & (rows["answer_words"] <= _LABEL_WORDS)
    return common if len(rows) and common.mean() >= _LABEL_SHARE else np.zeros_like(common)


FINDING = Detector(name="contradictions", order=52, which=which, remedy="drop_rows")
