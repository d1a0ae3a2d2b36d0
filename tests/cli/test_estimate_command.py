"""`estimate`: what a method amounts to, and all methods for one model, for a person and for a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.runner import actions
from studio.runner.actions import Estimate, MethodRow
from tests.cli.test_commands import CHAT, Command, answering
from tests.screenshots.scripted_setup import smollm2

LORA = Estimate(
    trainable_parameters=4_884_480,
    total_parameters=139_399_488,
    patch_bytes=19_537_920,
    bytes={"weights": 269_030_016},
    total_bytes=269_030_016,
    available_bytes=24 * 1024**3,
    device_bytes=24 * 1024**3,
    device="cuda",
    rows=4,
    choices={
        "recompute": True,
        "on_host": False,
        "words_on_host": False,
        "micro_batch_tokens": 4096,
        "base_dtype": "nf4",
        "shards": 1,
        "cards": (),
    },
)
ESTIMATE = actions.estimate
ROWS = (MethodRow(name="lora", estimate=LORA), MethodRow(name="full", problem="It trains the weights themselves."))


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "open_model", answering(CHAT))
    monkeypatch.setattr(actions, "estimate", answering(LORA))
    monkeypatch.setattr(actions, "compare_methods", answering(ROWS))


def test_the_method_is_described_beside_its_memory(command: Command, config: Path) -> None:
    values = command("estimate", config, "--json").json
    assert values["method"] == "lora"
    assert values["patch_bytes"] == 19_537_920
    assert values["mergeable"] is True
    assert {"merged", "adapter"} <= set(values["exports"])
    assert values["cost_in_use"].startswith("Nothing once merged")
    out = command("estimate", config).out
    assert "Weights" in out.splitlines()[0]
    assert "Saved patch: 19 MB" in out
    assert "Exports: Merged model, " in out


def test_all_methods_are_compared_when_asked(command: Command, config: Path) -> None:
    rows = {row["method"]: row for row in command("estimate", config, "--methods", "--json").json["methods"]}
    assert list(rows) == ["lora", "full"]
    assert rows["lora"]["trainable_parameters"] == 4_884_480
    assert rows["full"]["error"] == "It trains the weights themselves."
    assert "trainable_parameters" not in rows["full"]
    assert "merged" in rows["full"]["exports"]


def test_the_table_has_a_line_for_each_method_under_its_titles(command: Command, config: Path) -> None:
    lines = command("estimate", config, "--methods").out.splitlines()
    titles, lora, full = lines[-3:]
    assert lora.split()[:6] == ["lora", "4.9", "M", "3.5", "%", "19"]
    assert lora.index("Yes") == titles.index("merges")
    assert lora.index("Merged model") == titles.index("exports")
    assert full.split(maxsplit=1) == ["full", "It trains the weights themselves."]
    assert "methods" not in command("estimate", config, "--json").json


def test_what_the_model_refuses_is_a_wrong_configuration(
    command: Command, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "estimate", ESTIMATE)
    monkeypatch.setattr(actions, "open_model", answering(smollm2()))
    done = command("estimate", config, "--set", "method.target_modules=q_prj", "--json")
    assert done.status == 2
    assert done.json["error"].startswith("method.target_modules: q_prj is not the name of a linear layer of this model")
    done = command("estimate", config, "--set", "method.name=full", "--set", "method.freeze_layers=900")
    assert done.status == 2
    assert "method.freeze_layers = 900: this model has 30 layers; freeze 30 at most." in done.err


def test_a_gpu_of_another_machine_is_answered_for_with_the_choices_made(
    command: Command, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "estimate", ESTIMATE)
    monkeypatch.setattr(actions, "open_model", answering(smollm2()))
    values = command("estimate", config, "--gpu-memory", "23.5", "--json").json
    assert values["device_bytes"] == 23.5 * 1024**3
    assert set(values["choices"]) == {
        "recompute",
        "micro_batch_tokens",
        "on_host",
        "words_on_host",
        "base_dtype",
        "shards",
        "cards",
    }
    assert values["fits"] is True
    out = command("estimate", config, "--gpu-memory", "24").out
    assert "It fits: 8 rows at a time" in out
    assert "700 MB of it are left to CUDA" in out


def test_several_gpus_are_answered_for(command: Command, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "estimate", ESTIMATE)
    monkeypatch.setattr(actions, "open_model", answering(smollm2()))
    full = ("estimate", config, "--set", "method.name=full", "--gpu-memory", "2.2")
    assert "It does not fit: " in command(*full).out
    out = command(*full, "--gpus", "4").out
    assert "It fits: spreads the weights over 4 GPUs" in out
    assert "Gathered layers" in out


def test_what_does_not_fit_comes_with_the_options_that_would_do(
    command: Command, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "estimate", ESTIMATE)
    monkeypatch.setattr(actions, "open_model", answering(smollm2()))
    out = command("estimate", config, "--set", "method.name=full", "--gpu-memory", "2").out
    assert "It does not fit: " in out
    assert "(--set training.optimizer=adafactor)" in out
    assert "This is for rows of 1024 tokens, the longest that are allowed." in out


@pytest.mark.parametrize("size", ["0", "-1", "much", "nan"])
def test_a_size_that_is_none_is_refused(command: Command, config: Path, size: str) -> None:
    assert command("estimate", config, f"--gpu-memory={size}").status == 2
