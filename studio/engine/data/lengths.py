"""A longest length of rows with which hardly any row is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARE = 0.01
"""Share of rows that such a length may still cut."""
_MULTIPLE = 64


def longer_length(lengths: Sequence[int] | NDArray[np.int64], present: int, most: int | None = None) -> int | None:
    """Return the longest length, in tokens, to take in place of the present one; None where none would be better.

    All rows are whole with it, or all but one in a hundred where the longest are more than twice as long as those.

    Args:
        lengths: tokens of the whole rows, in any order; at least one.
        most: the longest length that can be taken.
    """
    import numpy as np

    ordered = np.sort(lengths)
    usual = int(ordered[min(len(ordered) - 1, round(len(ordered) * (1 - _SHARE)))])
    longest = int(ordered[-1])
    found = rounded_up(longest if longest <= 2 * usual else usual)
    if most is not None:
        found = min(found, most)
    return found if found > present else None


def rounded_up(tokens: int) -> int:
    """Return the smallest multiple of 64, a size that suits matrix products, that is at least `tokens`."""
    return -(-tokens // _MULTIPLE) * _MULTIPLE
