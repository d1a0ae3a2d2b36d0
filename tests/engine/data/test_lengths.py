"""The length that is offered where rows lose their end."""

from __future__ import annotations

import numpy as np
import pytest

from studio.engine.data.lengths import longer_length


@pytest.mark.parametrize(
    ("lengths", "present", "most", "offered"),
    [
        ([10] * 90 + [100] * 10, 64, None, 128),  # the longest whole, in a multiple of 64
        ([10] * 90 + [100] * 10, 64, 90, 90),  # never more than the model reads
        ([10] * 90 + [100] * 10, 64, 64, None),
        ([10] * 299 + [4000], 8, None, 64),  # one endless row does not decide
        ([10] * 299 + [4000], 64, None, None),  # nor where it is the only one that is cut
        ([128], 64, None, 128),
        ([64], 64, None, None),
    ],
)
def test_a_longer_length_cuts_hardly_any_row(
    lengths: list[int], present: int, most: int | None, offered: int | None
) -> None:
    assert longer_length(np.array(lengths), present, most) == offered
