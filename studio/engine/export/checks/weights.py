"""Checks of an export's weights: that they load, are finite, and are the ones that were to be written."""

from __future__ import annotations

from collections.abc import Collection

from studio.engine.export.certificate import Check
from studio.engine.export.merge import count_non_finite, print_weights
from studio.engine.export.reload import Reloaded
from studio.i18n import tr


def unloadable(error: Exception) -> Check:
    """The check of an export that cannot be opened at all."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return _loads(False, 1, tr("The export cannot be opened again: {reason}.").format(reason=reason.rstrip(".")))


def weight_checks(reloaded: Reloaded, expected: dict[str, str] | None, dtype: str) -> tuple[Check, ...]:
    """Return the checks of the weights as they came back from disk; `expected` are prints by name."""
    written = () if expected is None else (_written(reloaded, expected),)
    overflowed = dtype == "fp16" and all(check.passed for check in written)
    return (_complete(reloaded.problems), _finite(count_non_finite(reloaded.model), overflowed), *written)


def _loads(passed: bool, problems: int, meaning: str) -> Check:
    return Check(name="loads_completely", passed=passed, value=problems, limit=0, meaning=meaning)


def _complete(problems: Collection[str]) -> Check:
    if not problems:
        return _loads(True, 0, tr("The export opens from disk, with every weight in its place."))
    meaning = tr("Weights are missing from the export, or do not belong there: {names}.")
    return _loads(False, len(problems), meaning.format(names=_some(problems)))


def _finite(count: int, overflowed: bool) -> Check:
    """`overflowed` says that the weights are written as intended, so that what is not finite was too large."""
    if not count:
        meaning = tr("Every weight is a finite number.")
    elif overflowed:
        meaning = tr("{count} weights are beyond 65504, the largest number that fp16 holds; export as bf16 or fp32.")
    else:
        meaning = tr("{count} numbers among the weights are not finite (NaN or infinity); the export is damaged.")
    return Check(
        name="all_weights_finite", passed=count == 0, value=count, limit=0, meaning=meaning.format(count=count)
    )


def _written(reloaded: Reloaded, expected: dict[str, str]) -> Check:
    found = print_weights(reloaded.model)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    meaning = (
        tr("Weights on disk are not the ones that were to be written: {names}.").format(names=_some(wrong))
        if wrong
        else tr("Every weight on disk is, bit for bit, the one that was to be written.")
    )
    return Check(name="weights_as_written", passed=not wrong, value=len(wrong), limit=0, meaning=meaning)


def _some(names: Collection[str]) -> str:
    listed = ", ".join(list(names)[:3])
    return listed if len(names) <= 3 else tr("{names} and {count} more").format(names=listed, count=len(names) - 3)
