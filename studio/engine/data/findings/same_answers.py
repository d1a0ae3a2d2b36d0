"""same_answers: one long answer to many different questions, such as a refusal."""

import numpy as np

from studio.engine.data.findings.survey import Detector, Rows, Survey, repeats

_WORDS = 8  # shorter answers may well be the same
_QUESTIONS = 5  # different questions that have got the same answer
_SHARE = 0.5  # of the rows; where more have such answers, these are the labels of the set


def which(survey: Survey) -> Rows:
    """Return the rows, but for the first of each answer, with a long answer that other questions have got too."""
    distinct = ~repeats(survey.alike)
    groups, questions = np.unique(survey.answers[distinct], return_counts=True)
    many = np.isin(survey.answers, groups[questions >= _QUESTIONS]) & (survey.traits["answer_words"] >= _WORDS)
    if len(many) and many.mean() > _SHARE:
        return np.zeros_like(many)
    return many & distinct & repeats(survey.answers)


FINDING = Detector(name="same_answers", order=50, which=which, remedy="drop_repeats")
