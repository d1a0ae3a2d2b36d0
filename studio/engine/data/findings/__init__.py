"""What is wrong with rows of the data, one file for each kind of finding. Listing them imports nothing heavy."""

from studio.engine.control import Progress, no_progress
from studio.engine.data.findings.base import Finding, Remedy
from studio.engine.data.findings.survey import Detector, Survey
from studio.registry import Registry

DETECTORS: Registry[Detector] = Registry("finding", __name__, "FINDING")


def find(survey: Survey, progress: Progress = no_progress) -> tuple[Finding, ...]:
    """Return all that is found in some rows. Raises `Cancelled`."""
    found, detectors = [], tuple(DETECTORS)
    for done, detector in enumerate(detectors):
        progress("comparing_rows", done, len(detectors))
        found.append(detector.find(survey))
    return tuple(one for one in found if one)


__all__ = ["DETECTORS", "Detector", "Finding", "Remedy", "Survey", "find"]
