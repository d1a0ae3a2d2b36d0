"""What is wrong with rows of the data, one file for each kind of finding. Listing them imports nothing heavy."""

from studio.engine.data.findings.base import Finding, Remedy
from studio.engine.data.findings.survey import Detector, Survey
from studio.registry import Registry

DETECTORS: Registry[Detector] = Registry("finding", __name__, "FINDING")


def find(survey: Survey) -> tuple[Finding, ...]:
    """Return all that is found in some rows."""
    return tuple(found for detector in DETECTORS if (found := detector.find(survey)))


__all__ = ["DETECTORS", "Detector", "Finding", "Remedy", "Survey", "find"]
