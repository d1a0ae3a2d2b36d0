"""duplicates: rows that repeat an earlier row, character by character."""

from studio.engine.data.findings.survey import Detector, repeats

FINDING = Detector(
    name="duplicates",
    order=10,
    which=lambda survey: repeats(survey.traits["content"]),
    remedy="drop_repeats",
)
