"""The memory bar with real estimates: each remedy does what it says, and training then takes what it promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.config import RunConfig
from studio.engine.estimate.plan import gpu_of
from studio.events import MemoryMeasured
from studio.runner import actions
from studio.runner.actions import Estimate
from studio.runner.record import RunRecord
from studio.ui.bridge import AppContext
from studio.ui.pages.setup.page import SetupPage
from tests.screenshots.scripted_setup import smollm2
from tests.ui.fakes import FakeEngine, answered

ESTIMATE = actions.estimate
IMPORTS = 120_000  # milliseconds: the first estimate imports the libraries of the engine


@dataclass
class Card:
    """Estimates as they are on a graphics card of so many GB, for the last configuration that was asked for."""

    gigabytes: float
    last: list[Estimate] = field(default_factory=list)

    def estimate(self, info: object, config: RunConfig, *, processes: int) -> Estimate:
        self.last.append(ESTIMATE(info, config, gpu_of(self.gigabytes, processes)))  # type: ignore[arg-type]
        return self.last[-1]


@pytest.fixture
def card(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    card = Card(1.2)
    monkeypatch.setattr(actions, "open_model", lambda path, _progress: smollm2(path))
    monkeypatch.setattr(actions, "estimate", card.estimate)
    return card


@pytest.fixture
def page(qtbot: QtBot, context: AppContext, card: Card) -> SetupPage:
    page = SetupPage(context)
    qtbot.addWidget(page)
    page.show()
    return page


def begin(page: SetupPage, qtbot: QtBot, **tables: dict[str, object]) -> None:
    page.set_tables({"model": {"path": "/models/SmolLM2"}, **tables})
    qtbot.waitUntil(lambda: answered(page), timeout=IMPORTS)


FULL: dict[str, object] = {"name": "full"}
WIDE: dict[str, object] = {"name": "lora", "rank": 512}


@pytest.mark.parametrize(
    ("method", "gigabytes", "training"),
    [(FULL, 1.2, {}), (FULL, 2.5, {}), (WIDE, 1.1, {"recompute": "off"}), (WIDE, 1.6, {"recompute": "off"})],
)
def test_each_remedy_is_used_and_keeps_its_promise(
    page: SetupPage, card: Card, qtbot: QtBot, method: dict[str, object], gigabytes: float, training: dict[str, object]
) -> None:
    card.gigabytes = gigabytes
    begin(page, qtbot, method=method, training=training)
    offered = card.last[-1].remedies
    assert len(offered) > 1
    for place, remedy in enumerate(offered):
        begin(page, qtbot, method=method, training=training)
        before = page.tables()
        assert page.training.verdict[0].startswith("Does not fit")
        qtbot.mouseClick(page.training.memory.remedies[place], Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: answered(page), timeout=IMPORTS)
        after = page.tables()
        changed = {
            f"{section}.{key}": after[section].get(key)
            for section in after
            for key in after[section].keys() | before[section].keys()
            if after[section].get(key) != before[section].get(key)
        }
        if remedy.name == "method":
            assert (after["method"]["name"], after["training"]["learning_rate"]) == ("lora", 2e-4)
        else:
            assert changed == dict(remedy.overrides)
        assert card.last[-1].total_bytes == remedy.total_bytes
        assert page.training.verdict[0].startswith("Fits" if remedy.fits else "Does not fit")


def test_weights_that_do_not_fit_one_gpu_are_spread_over_all_that_are_chosen(
    page: SetupPage, card: Card, qtbot: QtBot
) -> None:
    card.gigabytes = 2.2
    page.training.show_gpus(4)
    begin(page, qtbot, method=FULL)
    assert page.training.verdict[0].startswith("Does not fit")
    qtbot.mouseClick(page.training.place.rows["where"].editor.main.button("gpus"), Qt.MouseButton.LeftButton)  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: answered(page), timeout=IMPORTS)
    assert page.training.verdict[0].startswith("Fits")
    assert page.training.memory.choices.text().startswith("Spreads the weights over 4 GPUs; ")


def test_what_a_run_has_measured_stands_below_the_bar(page: SetupPage, context: AppContext, qtbot: QtBot) -> None:
    begin(page, qtbot)
    assert page.training.memory.measured.isHidden()
    context.live = RunRecord()
    context.live.apply(
        MemoryMeasured(rows=4, length=1024, peak=2**30, available=2**32, micro_batch_tokens=4096, recompute=False)
    )
    context.progressed.emit()
    assert page.training.memory.measured.text().startswith("The longest rows were tried first: 4 of 1024 tokens")
    assert page.training.memory.measured.isVisible()
