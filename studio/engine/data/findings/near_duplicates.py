"""near_duplicates: rows that repeat an earlier row but for case, spacing, punctuation or a word of a long text."""

from studio.engine.data.findings.survey import Detector, repeats

FINDING = Detector(
    name="near_duplicates",
    order=20,
    which=lambda survey: repeats(survey.alike) & ~repeats(survey.traits["content"]),
    remedy="drop_repeats",
)
