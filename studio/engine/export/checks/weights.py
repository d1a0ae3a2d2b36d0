"""Checks of an export's weights: that they load, are finite, and are the ones that were to be written."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from studio.engine.export.certificate import Check

# Weights that a sentence names; the others are counted.
NAMED = 3


def unloadable(error: Exception) -> Check:
    """Return the check of an export that cannot be opened at all."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return Check.of("loads_completely", False, 1, 0, reason=reason.rstrip("."), weights=[])


def weight_checks(
    problems: Collection[str], found: dict[str, str], non_finite: int, expected: dict[str, str] | None, dtype: str
) -> tuple[Check, ...]:
    """Return the checks of the weights as they came back from disk.

    Args:
        problems: weights that the files lack, or have too many.
        found, expected: the SHA-256 of each weight, as read and as it was to be written.
        non_finite: how many numbers are NaN or infinite.
        dtype: the save format.
    """
    written: tuple[Check, ...] = ()
    if expected is not None:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        written = (_names_check("weights_as_written", wrong),)
    # Non-finite weights that were written as intended were too large for fp16.
    overflowed = dtype == "fp16" and all(check.passed for check in written)
    return (
        _names_check("loads_completely", problems, reason=""),
        finite_check(non_finite, overflowed=overflowed),
        *written,
    )


def finite_check(count: int, *, overflowed: bool = False) -> Check:
    """Return the check of `count` non-finite numbers; `overflowed` says that they were too large for fp16."""
    return Check.of("all_weights_finite", count == 0, count, 0, overflowed=overflowed)


def _names_check(name: str, wrong: Collection[str], **evidence: Any) -> Check:
    return Check.of(name, not wrong, len(wrong), 0, weights=list(wrong)[:NAMED], **evidence)
