"""The laboratory on the command line, with the laboratory of the model replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config import read_config
from studio.runner import laboratory

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(laboratory, "make_model", lambda stream: tmp_path)


def test_without_a_name_all_experiments_are_listed(command: Command) -> None:
    names = [one.name for one in laboratory.experiments()]
    assert [line.split()[0] for line in command("laboratory").out.splitlines()] == names
    assert [one["name"] for one in command("laboratory", "--json").json["experiments"]] == names


def test_a_name_prints_a_configuration_that_train_takes(command: Command) -> None:
    answer = command("laboratory", "underflow")
    path = Path(answer.out.strip())
    assert path.is_absolute()
    assert read_config(path).precision.loss_scaling == "off"
    assert "fp16" in answer.err


def test_a_comparison_prints_a_configuration_for_each_run(command: Command) -> None:
    values = command("laboratory", "pure", "--json").json
    names = [read_config(Path(path)).precision.name for path in values["configurations"]]
    assert names == ["fp32", "fp16-pure", "bf16-pure"]
    assert values["verdict"] == "bf16_stall"


def test_an_unknown_name_is_refused_with_the_known_ones(command: Command) -> None:
    answer = command("laboratory", "nonsense")
    assert answer.status == 2
    assert "underflow" in answer.err
