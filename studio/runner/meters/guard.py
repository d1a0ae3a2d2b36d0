"""One question to a driver, which may fail without keeping the others from their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Guard:
    """Asks, and gives None for what fails with one of `errors`.

    Args:
        errors: what the library raises where a driver, a device or a system does not tell.
    """

    def __init__(self, *errors: type[Exception]) -> None:
        self._errors = errors

    def __call__(self, question: Callable[[], T]) -> T | None:
        """Return the answer, or None where there is none."""
        try:
            return question()
        except self._errors:
            return None
