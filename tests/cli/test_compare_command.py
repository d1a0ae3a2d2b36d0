"""`compare`: one JSON object, and a table of what differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.runs import RunLabel, write_label


@pytest.fixture
def runs(command: Callable[..., Any], config: Path, tmp_path: Path, short_run: None) -> list[str]:
    seeds = ("training.seed=1", "training.seed=2")
    made = [command("train", config, "--runs", tmp_path / "runs", "--set", seed).out for seed in seeds]
    return [line.strip() for line in made]


def test_json_has_the_differing_settings_and_a_row_a_run(command: Callable[..., Any], runs: list[str]) -> None:
    values = command("compare", *runs, "--json").json
    assert values["settings"] == {"training.seed": [1, 2]}
    assert [run["run"] for run in values["runs"]] == runs
    first = values["runs"][0]
    assert (first["status"], first["updates"], first["peak_memory"]) == ("finished", 2, 1)
    assert (first["training_loss"], first["last_validation_loss"], round(first["tokens_per_second"])) == (2.5, 2.0, 200)


def test_the_table_has_a_column_a_run(command: Callable[..., Any], runs: list[str]) -> None:
    lines = command("compare", *runs).out.splitlines()
    assert lines[0].split() == [Path(run).name for run in runs]
    assert lines[-2] == "Settings that differ:"
    assert lines[-1].split() == ["training.seed", "1", "2"]


def test_a_run_differs_from_itself_in_nothing(command: Callable[..., Any], runs: list[str]) -> None:
    assert "All settings are equal." in command("compare", runs[0], runs[0]).out


def test_a_folder_that_is_no_run_is_exit_1(command: Callable[..., Any], runs: list[str], tmp_path: Path) -> None:
    answer = command("compare", runs[0], tmp_path)
    assert (answer.status, answer.out) == (1, "")
    assert str(tmp_path) in answer.err


def test_a_run_is_found_by_the_name_that_a_person_gave_it(
    command: Callable[..., Any], runs: list[str], tmp_path: Path
) -> None:
    write_label(Path(runs[1]), RunLabel(name="the good one"))
    answer = command("compare", runs[0], "the good one", "--runs", tmp_path / "runs", "--json")
    assert [run["run"] for run in answer.json["runs"]] == runs
    folder = command("compare", Path(runs[0]).name, runs[1], "--runs", tmp_path / "runs", "--json")
    assert folder.json == answer.json


def test_a_name_of_two_runs_is_refused_with_both_folders(
    command: Callable[..., Any], runs: list[str], tmp_path: Path
) -> None:
    for run in runs:
        write_label(Path(run), RunLabel(name="twin"))
    answer = command("compare", runs[0], "twin", "--runs", tmp_path / "runs")
    assert answer.status == 1
    assert "2 runs have the name twin" in answer.err
    assert all(Path(run).name in answer.err for run in runs)


def test_one_run_alone_is_a_wrong_argument(command: Callable[..., Any], runs: list[str]) -> None:
    assert command("compare", runs[0]).status == 2
