"""`probe`: each precision in a process of its own, whose end is at worst a row."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from studio.config import RunConfig, read_config
from studio.engine import child as child_process
from studio.errors import Cancelled, DataError
from studio.i18n import set_language
from studio.runner import actions, probe
from tests.cli.conftest import Answer
from tests.tiny import save_model, save_rows

Command = Callable[..., Answer]
NAMES = ["fp32", "bf16-mixed", "fp16-mixed", "bf16-pure", "fp16-pure"]

# A child without an engine: it does what the table says for its precision.
CHILD = """
import json, os, signal, sys, threading
given = json.loads(sys.stdin.buffer.readline())
job = given["job"]
name = job["precision"]
def tell(*words):
    print(json.dumps(words), flush=True)
def row(**values):
    speed = {"fp32": 100.0, "bf16-mixed": 200.0}.get(name, 50.0)
    tell("result", {"precision": name, "status": "measured", "losses": [2.0, float("nan")], "loss_differences": [0.0],
                 "gradient_cosine": 1.0, "gradients_lost": 0.0, "tokens_per_second": speed, "peak_memory": 10, **values})
tell("progress", "training", 0, job["steps"])
"""


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a child in the place of the real one."""
    monkeypatch.setattr(actions, "open_model", lambda path, _: SimpleNamespace(path=Path(path)))

    def install(code: str) -> None:
        script = tmp_path / "child.py"
        script.write_text(CHILD + code, encoding="utf-8")
        monkeypatch.setattr(child_process, "command", lambda _: ([sys.executable, str(script)], {**os.environ}))

    return install


@pytest.fixture
def run_config(config: Path) -> RunConfig:
    return read_config(config)


def test_the_answer_has_a_row_for_every_precision_and_names_one(
    child: Callable[[str], None], command: Command, config: Path
) -> None:
    child("row()")
    answer = command("probe", config, "--json", "--steps", "2")
    assert answer.status == 0
    assert [row["precision"] for row in answer.json["rows"]] == NAMES
    assert answer.json["recommended"] == "bf16-mixed"
    assert answer.json["steps"] == 2
    assert answer.json["rows"][0] | {"finite": True, "losses": [2.0, "nan"]} == answer.json["rows"][0]


def test_the_table_is_for_people(child: Callable[[str], None], command: Command, config: Path) -> None:
    child("row()")
    answer = command("probe", config)
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == NAMES
    assert "200 tokens/s" in lines[2]
    assert lines[2].endswith("Follows fp32.")
    assert lines[-1].startswith("Take bf16-mixed. bf16 mixed follows fp32")
    set_language("zh_CN")  # whatever the words, the columns stand one below the other
    assert command("probe", config).status == 0


def test_a_process_that_the_system_kills_or_that_crashes_is_a_row(
    child: Callable[[str], None], command: Command, config: Path
) -> None:
    child(
        "deaths = {'fp16-mixed': signal.SIGKILL, 'bf16-pure': signal.SIGSEGV}\n"
        "if name in deaths: os.kill(os.getpid(), deaths[name])\n"
        "if name == 'fp16-pure': sys.exit(7)\n"
        "row()"
    )
    answer = command("probe", config, "--json")
    assert answer.status == 0
    rows = {row["precision"]: row for row in answer.json["rows"]}
    assert [rows[name]["status"] for name in NAMES] == ["measured", "measured", "failed", "failed", "failed"]
    assert "memory" in rows["fp16-mixed"]["sentence"]
    assert "SIGSEGV" in rows["bf16-pure"]["sentence"]
    assert "exit status 7" in rows["fp16-pure"]["sentence"]


def test_the_status_is_1_when_nothing_works(child: Callable[[str], None], command: Command, config: Path) -> None:
    child("os.kill(os.getpid(), signal.SIGKILL)")
    answer = command("probe", config, "--json")
    assert answer.status == 1
    assert answer.json["recommended"] is None
    assert "No precision works here" in answer.json["error"]
    assert "No precision works here" in answer.err


def test_what_is_wrong_in_every_precision_is_said_once(
    child: Callable[[str], None], command: Command, config: Path
) -> None:
    child("tell('refused', 'DataError', 'rows.jsonl, line 3: not JSON.')")
    answer = command("probe", config)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.splitlines()[-1] == "rows.jsonl, line 3: not JSON."
    child("tell('refused', 'ConfigError', 'method.target_modules names nothing.')")
    assert command("probe", config).status == 2


@pytest.mark.parametrize("wrong", [["--steps", "0"], ["--set", "precision.name=fp8"], ["--set", "training.rate=1"]])
def test_wrong_arguments_and_settings_are_status_2(command: Command, config: Path, wrong: list[str]) -> None:
    assert command("probe", config, *wrong).status == 2


def test_a_cancelled_probe_leaves_no_process_behind(child: Callable[[str], None], run_config: RunConfig) -> None:
    child("tell('progress', 'training', os.getpid(), 10**9)\nthreading.Event().wait()")
    seen: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if done > 10:
            seen.append(done - 1)
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        probe.probe(run_config, 3, progress)
    assert seen
    assert not psutil.pid_exists(seen[0])


def test_each_row_is_handed_on_as_soon_as_it_is_there(child: Callable[[str], None], run_config: RunConfig) -> None:
    child("row()")
    seen: list[str] = []
    stages: list[tuple[str, int, int]] = []
    probe.probe(run_config, 3, lambda *report: stages.append(report), lambda row: seen.append(row.precision))
    assert seen == NAMES
    assert {total for _, _, total in stages} == {20}
    assert [done for _, done, _ in stages] == sorted(done for _, done, _ in stages)
    assert all(stage.startswith(("fp", "bf16")) for stage, _, _ in stages)


def test_the_child_speaks_the_language_of_the_session(child: Callable[[str], None], run_config: RunConfig) -> None:
    child("tell('refused', 'DataError', given['language'])")
    set_language("zh_CN")
    with pytest.raises(DataError, match="zh_CN"):
        probe.probe(run_config)


def test_a_tiny_model_is_probed_for_real(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "precisions_in_order", lambda: ("fp32", "fp16-mixed"))  # each takes seconds to load
    save_model(tmp_path / "model")
    save_rows(tmp_path / "rows.jsonl")
    config = tmp_path / "config.toml"
    config.write_text(
        '[model]\npath = "model"\n[[data.sources]]\npath = "rows.jsonl"\n[training]\ndevice = "cpu"\n', encoding="utf-8"
    )
    answer = command("probe", config, "--json", "--steps", "1")
    assert answer.status == 0
    assert [row["status"] for row in answer.json["rows"]] == ["measured", "measured"]
    assert answer.json["recommended"] == "fp32"  # on a processor fp16 is for study, however fast
    exact, half = answer.json["rows"]
    assert exact["loss_difference"] == 0
    assert half["loss_difference"] < 0.02
    assert 0.999 < half["gradient_cosine"] < 1


def test_the_memory_of_a_child_is_not_that_of_the_app(
    child: Callable[[str], None], run_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(
        "import torch\nfrom studio.engine.device import peak_memory\nrow(peak_memory=peak_memory(torch.device('cpu')))"
    )
    monkeypatch.setattr(probe, "precisions_in_order", lambda: ("fp32",))
    held = bytearray(b"x" * (1 << 30))
    (row,) = probe.probe(run_config).rows
    assert row.peak_memory is not None
    assert 5e7 < row.peak_memory < len(held)


def test_the_job_of_a_child_can_be_read_whatever_is_in_a_path(
    child: Callable[[str], None], run_config: RunConfig, tmp_path: Path
) -> None:
    child("tell('refused', 'DataError', job['config']['model']['path'])")
    model = run_config.model.model_copy(update={"path": 'a "b" 模型'})
    with pytest.raises(DataError) as refusal:
        probe.probe(run_config.model_copy(update={"model": model}))
    assert str(refusal.value) == 'a "b" 模型'
