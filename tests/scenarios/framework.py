"""What a scenario is, and how one is run: a tiny model is trained for real, and the verdicts are compared.

A scenario plants one fault, or something that only looks like one. What must be found is planted so that it is found
whatever the last bits are: no scenario depends on the path of a chaotic run.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from studio.config import parse_config, write_config
from studio.engine.control import Control
from studio.engine.training import run
from studio.errors import StudioError
from studio.events import (
    EvaluationCompleted,
    NumericsSampled,
    OverflowDiagnosed,
    ProgressReported,
    RunEvent,
    StepCompleted,
)
from studio.runs import create_run
from tests.engine.numerics.scenario import reversals
from tests.tiny import tokenizer

LORA = {"name": "lora", "rank": 6, "alpha": 32, "dropout": 0.0}
FULL = {"name": "full"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "data": {"validation_fraction": 0.0},
    "precision": {"name": "fp16-mixed"},
    "training": {"batch_size": 6, "max_steps": 16, "learning_rate": 3e-3, "device": "cpu", "seed": 3},
}


@dataclass
class Outcome:
    """What a run told: its events by kind, and `error`, why it gave up, empty if it did not."""

    steps: list[StepCompleted] = field(default_factory=list)
    evaluations: list[EvaluationCompleted] = field(default_factory=list)
    verdicts: list[OverflowDiagnosed] = field(default_factory=list)
    samples: dict[int, NumericsSampled] = field(default_factory=dict)  # by the step
    error: str = ""

    @property
    def harmful(self) -> list[str]:
        """The kinds of harmful verdict, in the order in which they were told."""
        return [verdict.verdict for verdict in self.verdicts if verdict.harmful]

    def emit(self, event: RunEvent | ProgressReported) -> None:
        if isinstance(event, StepCompleted):
            self.steps.append(event)
        elif isinstance(event, EvaluationCompleted):
            self.evaluations.append(event)
        elif isinstance(event, OverflowDiagnosed):
            self.verdicts.append(event)
        elif isinstance(event, NumericsSampled):
            self.samples[event.step] = event


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One run and what must be said of it.

    Attributes:
        kind: the kind of issue 10, C1 to C13.
        verdicts: the harmful verdicts, in order; () for a harmless look-alike. Those that only explain are free.
        model: makes the model, with the fault where it is one of the weights.
        rows: of the data, beside the drawn ones.
        settings: sections of the configuration, over `DEFAULTS`.
        module: is in the evidence of the first verdict as the module; "" where that does not matter.
        remedies: are all offered with the first verdict; `without`: none of these is.
        token_budget: padded tokens of a micro-batch. By default the drawn rows of an update are one micro-batch, which
            takes half the time of three; None leaves the choice to the run.
        fault: context within which it is trained, where the fault is planted in the code.
        check: returns what else is wrong, or nothing.
    """

    name: str
    kind: str
    model: Callable[[], PreTrainedModel]
    verdicts: tuple[str, ...] = ()
    drawn_rows: int = 18
    rows: tuple[dict[str, str], ...] = ()
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    module: str = ""
    remedies: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    token_budget: int | None = 4096
    fault: Callable[[], AbstractContextManager[object]] = nullcontext
    check: Callable[[Outcome], str] = lambda outcome: ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """`wrong` says what is, empty where the scenario is right; `false_alarm`: harm was told where there is none."""

    scenario: Scenario
    outcome: Outcome
    wrong: str

    @property
    def false_alarm(self) -> bool:
        return not self.scenario.verdicts and bool(self.outcome.harmful)


def run_scenario(scenario: Scenario, folder: Path) -> Result:
    """Train in an empty folder, with nobody watching, and compare."""
    outcome = train(scenario, folder)
    return Result(scenario=scenario, outcome=outcome, wrong=_wrong(scenario, outcome))


def train(scenario: Scenario, folder: Path) -> Outcome:
    """Train the scenario's model for real and return what the run told."""
    outcome = Outcome()
    model, data = folder / "model", folder / "rows.jsonl"
    scenario.model().save_pretrained(model)
    tokenizer().save_pretrained(model)
    rows = [*reversals(scenario.drawn_rows), *scenario.rows]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tables = {name: values | scenario.settings.get(name, {}) for name, values in DEFAULTS.items()}
    tables |= {"model": {"path": str(model)}, "method": scenario.settings.get("method", LORA)}
    tables["data"]["sources"] = [{"path": str(data)}]
    tables["numerics"] = scenario.settings.get("numerics", {})
    config = parse_config(tables)
    try:
        with scenario.fault():
            prepared = create_run(folder, "run", write_config(config))
            run.train(config, prepared, Control(), outcome.emit, token_budget=scenario.token_budget)
    except StudioError as error:
        outcome.error = str(error)
    return outcome


def scenarios() -> list[Scenario]:
    """Return those of every module of this package that has `SCENARIOS`; names are unique."""
    package = importlib.import_module("tests.scenarios")
    found: list[Scenario] = []
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if module.name.startswith("kind_"):
            found += importlib.import_module(f"tests.scenarios.{module.name}").SCENARIOS
    names = [scenario.name for scenario in found]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    return found


def _wrong(scenario: Scenario, outcome: Outcome) -> str:
    told = tuple(outcome.harmful)
    if told != scenario.verdicts:
        words = " | ".join(verdict.sentence for verdict in outcome.verdicts if verdict.harmful)
        return f"told {told or 'nothing'}, expected {scenario.verdicts or 'nothing'} {words} {outcome.error}".strip()
    if told:
        first = next(verdict for verdict in outcome.verdicts if verdict.harmful)
        if scenario.module and first.evidence.get("module") != scenario.module:
            return f"named {first.evidence.get('module')!r}, expected {scenario.module!r}"
        missing, wrongly = set(scenario.remedies) - set(first.remedies), set(scenario.without) & set(first.remedies)
        if missing or wrongly:
            return f"offered {first.remedies}, missing {sorted(missing)}, wrongly {sorted(wrongly)}"
    return scenario.check(outcome)
