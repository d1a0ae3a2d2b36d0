"""Some hundred actions by chance, in both languages. `python -m tests.ui.monkey 20000` does more."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.ui import theme
from studio.ui.language import speak
from tests.ui.monkey.__main__ import environment
from tests.ui.monkey.monkey import act_by_chance

ACTIONS, SEED, PATIENCE = 120, 7, 60.0


@pytest.fixture
def sandboxed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the monkey's own; afterwards the application is as it was."""
    place = tmp_path_factory.mktemp("m")  # short, for the address of a socket has 108 bytes at most
    for name, value in environment(place).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place)
    with warnings.catch_warnings():
        yield place
    speak("en")
    theme.set_font_size(theme.USUAL_FONT)
    theme.choose("light")


@pytest.mark.usefixtures("dressed")
def test_whatever_is_done_to_the_window_nothing_is_raised_and_nothing_is_logged(sandboxed: Path) -> None:
    monkey, watch, _ = act_by_chance(sandboxed, ACTIONS, SEED, PATIENCE)
    assert not watch.findings
    assert watch.actions == ACTIONS
    assert monkey.kept == monkey.reopened >= 1
