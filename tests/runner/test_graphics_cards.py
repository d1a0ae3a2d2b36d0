"""How many cards training can use together, told by the drivers' tools alone."""

from __future__ import annotations

import pytest

from studio import cards, torch_build
from studio.cards import Card, Machine
from studio.runner.actions import look_for_cards
from studio.torch_build import UnusedCard

UNUSED = UnusedCard(name="NVIDIA A", reason="its driver is too old", command="")


@pytest.mark.parametrize(
    ("shown", "unused", "count"),
    [(None, (), 3), ("0,2", (), 2), ("", (), 0), ("-1", (), 0), ("0,1,2,3,4", (), 3), (None, (UNUSED,), 0)],
)
def test_those_count_that_torch_can_use_and_is_shown(
    monkeypatch: pytest.MonkeyPatch, shown: str | None, unused: tuple[UnusedCard, ...], count: int
) -> None:
    looks: list[Machine] = []

    def look() -> Machine:
        looks.append(Machine("linux", "x86_64", (*[Card("nvidia", "NVIDIA A")] * 3, Card("amd", "AMD B"))))
        return looks[-1]

    monkeypatch.setattr(cards, "look", look)
    monkeypatch.setattr(torch_build, "installed_torch", lambda: "2.13.0+cu130")
    monkeypatch.setattr(torch_build, "unused_cards", lambda *_: unused)
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)

    found = look_for_cards()

    assert (found.gpus, found.unused) == (count, unused)
    assert len(looks) == 1  # each look starts programs
