"""What every registry promises, whoever asks first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from studio.registry import Registry, Spec


def test_threads_that_ask_at_once_all_find_every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 4
    together = threading.Barrier(asked)
    discover = Registry._discover

    def at_once(self: Registry[Any]) -> Iterator[Any]:
        together.wait()
        return discover(self)

    monkeypatch.setattr(Registry, "_discover", at_once)
    registry: Registry[Any] = Registry("precision", "studio.engine.precision", "PRECISION")
    with ThreadPoolExecutor(asked) as threads:
        found = list(threads.map(lambda _: registry.names(), range(asked)))
    assert len(set(found)) == 1
    assert {"fp32", "fp16-mixed", "bf16-mixed"} <= set(found[0])


def test_a_name_that_is_taken_is_refused() -> None:
    registry: Registry[Any] = Registry("precision", "studio.engine.precision", "PRECISION")
    registry.add(Spec(name="fp32", title="", explanation=""))
    for _ in range(2):
        with pytest.raises(ValueError, match="called 'fp32'"):
            registry.names()
