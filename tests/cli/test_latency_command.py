"""`latency`: arguments, table and JSON; the measuring itself is tested with the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.runner import actions
from studio.runs import create_run
from tests.cli.conftest import Answer
from tests.screenshots.scripted import scripted_latency

Command = Callable[..., Answer]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def latency(folder: Any, **options: Any) -> Any:
        calls.append({"run": folder.path} | {key: value for key, value in options.items() if key != "progress"})
        return scripted_latency()

    monkeypatch.setattr(actions, "latency", latency)
    return calls


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path, "run", "").path


def test_the_table_and_the_conclusion(command: Command, run: Path, asked: list[dict[str, Any]]) -> None:
    answer = command("latency", run, "--tokens", "16", "--rounds", "7")
    assert answer.status == 0
    assert asked == [{"run": run, "prompt_tokens": None, "new_tokens": 16, "rounds": 7, "device": "auto"}]
    lines = answer.out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["Base", "Base + trained part", "Merged"]
    assert "1.31 (1.29 to 1.33)" in lines[2]
    assert "1.46 (1.44 to 1.48)" in lines[2]
    assert "Merged, it showed no measurable difference to the base" in answer.out


def test_json_has_every_figure(command: Command, run: Path, asked: list[dict[str, Any]]) -> None:
    values = command("latency", run, "--json").json
    assert [form["form"] for form in values["forms"]] == ["base", "live", "merged"]
    assert values["forms"][1]["token_ratio"]["median"] == pytest.approx(1.46, abs=0.01)
    assert values["forms"][1]["token_ratio"]["differs"] is True
    assert values["rounds"] == 9


@pytest.mark.parametrize("arguments", [("--tokens", "2"), ("--rounds", "5"), ("--prompt", "x")])
def test_wrong_numbers_are_wrong_arguments(
    command: Command, run: Path, asked: list[dict[str, Any]], arguments: tuple[str, ...]
) -> None:
    assert command("latency", run, *arguments).status == 2
    assert not asked


def test_a_folder_that_is_no_run_is_one_sentence(command: Command, tmp_path: Path) -> None:
    answer = command("latency", tmp_path / "nothing")
    assert answer.status == 1
    assert answer.err.count("\n") == 1
