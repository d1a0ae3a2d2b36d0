"""Nothing is found where there is nothing to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_nothing_is_found_in_honest_rows(honest: list[dict[str, Any]], found: Callable[..., Any]) -> None:
    assert found(honest) == {}
