"""leaked: rows held out for validation that are nearly the same as rows that are trained on."""

import numpy as np

from studio.engine.data.findings.survey import Detector, Rows, Survey


def which(survey: Survey) -> Rows:
    """Return the rows held out whose question and answer hardly differ from those of a row that is trained on."""
    if survey.trained is None or survey.held_out is None:
        return np.zeros(len(survey.traits), dtype=np.bool_)
    return survey.held_out & np.isin(survey.alike, survey.alike[survey.trained])


FINDING = Detector(name="leaked", order=30, which=which, remedy="move_out_of_validation")
