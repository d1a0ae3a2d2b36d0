"""The other commands: their JSON objects, exit status and sentences, with the engine replaced."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.engine.data.findings.base import finding
from studio.engine.data.inspect import RenderedRow
from studio.engine.data.report import Remark
from studio.engine.export.certificate import Certificate, Check
from studio.engine.inference.behaviour import Behaviour, Tried
from studio.errors import Cancelled, ExportError, ModelError
from studio.runner import actions
from studio.runner.opening import Opening
from studio.runs import RunLabel, create_run, write_label

Command = Callable[..., Any]


def answering(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


CHAT = SimpleNamespace(
    path=Path("/models/tiny"),
    kind="chat",
    reasons=("It has a chat template.",),
    problems=("It has no pad token.",),
    architecture="LlamaForCausalLM",
    parameters=134_515_008,
    bytes=269_030_016,
    dtype="bf16",
    context_length=2048,
    has_template=True,
    eos_token="<|im_end|>",
)
ROWS = SimpleNamespace(
    format="alpaca",
    rows=12,
    skipped=1,
    reasons={Remark("empty_answer"): 1},
    problems=(),
    columns=(SimpleNamespace(name="question", coverage=1.0, field="instruction"),),
    unused_columns=("source",),
    rendered=(
        RenderedRow(number=1, tokens=9, supervised_tokens=4, segments=(("Question: ", False), ("answer", True))),
    ),
    findings=(),
)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return create_run(tmp_path / "runs", "tiny", "").path


def test_starter_prints_the_absolute_path(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "fetch_starter", answering(Path("starter")))
    assert command("starter", "--json").json == {"path": str(Path("starter").absolute())}
    assert command("starter").out.strip() == str(Path("starter").absolute())


def test_a_sentence_of_ours_is_exit_1_without_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "fetch_starter", raising(ModelError("Neither source can be reached.")))
    answer = command("starter")
    assert answer.status == 1
    assert answer.err == "Neither source can be reached.\n"
    assert not answer.out


def test_with_json_an_error_is_an_object_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "fetch_starter", raising(ModelError("Neither source can be reached.")))
    assert command("starter", "--json").json == {"error": "Neither source can be reached."}


def test_a_defect_of_ours_is_one_sentence_that_names_the_log_with_the_traceback(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "fetch_starter", raising(ZeroDivisionError("oh")))
    answer = command("starter")
    assert answer.status == 1
    (sentence,) = answer.err.splitlines()
    log = Path(sentence.split(" is in ")[1].rstrip("."))
    assert "ZeroDivisionError: oh" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("Cancelled.")])
def test_an_interrupted_action_is_exit_1(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(actions, "fetch_starter", raising(error))
    assert command("starter").status == 1


def test_inspect_model_tells_kind_reasons_and_problems(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "open_model", answering(CHAT))
    values = command("inspect-model", "/models/tiny", "--json").json
    assert (values["kind"], values["reasons"], values["problems"]) == ("chat", list(CHAT.reasons), list(CHAT.problems))
    text = command("inspect-model", "/models/tiny").out
    assert text.startswith("Chat model: ")
    assert "It has no pad token." in text


def test_a_probe_adds_what_it_found_to_the_reasons(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = Tried(manner="template", prompt="Capital?", text="Paris", tokens=3, ended=True)
    monkeypatch.setattr(actions, "open_model", answering(CHAT))
    monkeypatch.setattr(actions, "try_model", answering(Behaviour((tried,), limit=48)))
    values = command("inspect-model", "x", "--probe", "--json").json
    assert values["behaviour"]["like"] == "chat"
    assert values["behaviour"]["findings"] == [{"code": "ends_its_turn", "asked": 1, "ended": 1, "limit": 48}]
    assert values["reasons"][-1].startswith("Tried: asked 1 questions through its template")
    said = command("inspect-model", "x", "--probe").out
    assert "Asked: Capital?\nSaid (3 tokens): Paris" in said


def test_inspect_data_shows_counts_and_what_is_taught(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "open_data", answering(ROWS))
    values = command("inspect-data", "rows.jsonl", "--json").json
    assert (values["format"], values["rows"], values["skipped"], values["problems"]) == ("alpaca", 12, 1, [])
    assert values["rendered"][0]["segments"][1] == {"text": "answer", "supervised": True}
    assert values["unused_columns"] == ["source"]
    assert values["columns"] == [{"name": "question", "coverage": 1.0, "field": "instruction"}]
    assert "question (100%): instruction" in command("inspect-data", "rows.jsonl").out
    assert "Question: ⟦answer⟧" in command("inspect-data", "rows.jsonl").out


def test_inspect_data_tells_what_it_found(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = finding("duplicates", [3, 5])
    monkeypatch.setattr(actions, "open_data", answering(SimpleNamespace(**vars(ROWS) | {"findings": (found,)})))
    values = command("inspect-data", "rows.jsonl", "--json").json
    assert values["findings"] == [{"name": "duplicates", "count": 2, "rows": [3, 5], "meaning": found.meaning()}]
    assert found.meaning() in command("inspect-data", "rows.jsonl").out


def test_inspect_data_uses_the_model_it_is_given(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(actions, "open_model", answering(CHAT))
    monkeypatch.setattr(actions, "open_data", lambda *given, **_: asked.append(given) or ROWS)
    command("inspect-data", "rows.jsonl", "--model", "/models/tiny")
    assert asked[0][1] is CHAT


def test_runs_lists_the_newest_first(command: Command, tmp_path: Path) -> None:
    paths = [create_run(tmp_path, label, "").path for label in ("one", "two")]
    values = command("runs", "--runs", tmp_path, "--json").json
    assert {run["run"] for run in values["runs"]} == {str(path) for path in paths}
    assert all(run["status"] == "created" for run in values["runs"])


def test_a_damaged_run_is_named_and_the_others_are_listed(command: Command, tmp_path: Path) -> None:
    good, bad = (create_run(tmp_path, label, "").path for label in ("good", "bad"))
    (bad / "state.json").write_text("{", encoding="utf-8")
    answer = command("runs", "--runs", tmp_path, "--json")
    statuses = {run["run"]: run["status"] for run in answer.json["runs"]}
    assert statuses == {str(good): "created", str(bad): "damaged"}


def test_a_finished_run_shows_how_far_its_validation_loss_fell(command: Command, tmp_path: Path) -> None:
    losses = {"first": 4.50508, "last": 4.32821, "best": 4.32821}
    create_run(tmp_path, "tiny", "").write_state("finished", updates=8, validation_loss=losses)
    assert "8 updates  validation loss 4.5051 → 4.3282" in command("runs", "--runs", tmp_path).out


def test_a_run_of_another_computer_says_where_it_is_trained_and_when_it_was_heard_of(
    command: Command, tmp_path: Path
) -> None:
    run = create_run(tmp_path, "tiny", "")
    (run.path / "lock").write_text('{"process": 1, "started": "1", "host": "node7"}', encoding="utf-8")
    assert f"created      {run.name}  on node7, last written " in command("runs", "--runs", tmp_path).out


def test_a_run_is_listed_with_what_a_person_says_of_it(command: Command, tmp_path: Path) -> None:
    run = create_run(tmp_path, "tiny", "")
    write_label(run.path, RunLabel(name="Best\x1b[2J\nfinished", tags=("style", "try 2"), star=True, notes="n"))
    assert (
        f"created      {run.name}  ★ Best\\x1b[2J\\nfinished #style #try 2\n" in command("runs", "--runs", tmp_path).out
    )
    (listed,) = command("runs", "--runs", tmp_path, "--json").json["runs"]
    assert listed["label"] == {
        "name": "Best\x1b[2J\nfinished",
        "notes": "n",
        "tags": ["style", "try 2"],
        "star": True,
    }


def test_a_damaged_label_hides_no_run(command: Command, tmp_path: Path) -> None:
    run = create_run(tmp_path, "tiny", "")
    (run.path / "label.json").write_text("{", encoding="utf-8")
    assert command("runs", "--runs", tmp_path).out == f"created      {run.name}\n"


def test_no_runs_is_an_empty_list(command: Command, tmp_path: Path) -> None:
    assert command("runs", "--runs", tmp_path / "none", "--json").json == {"runs": []}


def exported(passed: bool, folder: Path) -> SimpleNamespace:
    certificate = folder / "certificate.json"
    return SimpleNamespace(path=folder, certificate=certificate, passed=passed, checks=(), restored="Of update 3.")


def test_an_export_that_passed_is_exit_0(
    command: Command, monkeypatch: pytest.MonkeyPatch, run_folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(actions, "export", answering(exported(True, tmp_path)))
    answer = command("export", run_folder, "--to", "merged", "--json")
    assert answer.status == 0
    assert (answer.json["path"], answer.json["passed"]) == (str(tmp_path), True)
    assert "Of update 3." in answer.err


def test_an_export_whose_certificate_fails_is_exit_1(
    command: Command, monkeypatch: pytest.MonkeyPatch, run_folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(actions, "export", answering(exported(False, tmp_path)))
    answer = command("export", run_folder, "--to", "merged", "--json")
    assert answer.status == 1
    assert answer.json["passed"] is False
    assert "failed its checks" in answer.err


def test_an_export_that_cannot_be_written_is_exit_1(
    command: Command, monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    monkeypatch.setattr(actions, "export", raising(ExportError("The disk is full.")))
    assert command("export", run_folder, "--to", "merged").status == 1


def certified(*checks: Check) -> Certificate:
    return Certificate(
        checks=checks, base={}, target="merged", dtype="fp32", prompts=(), files={}, run="r", versions={}
    )


def test_verify_says_what_it_found_and_is_exit_0(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = certified(Check.of("merge_exact", True, 0.0, 1e-3))
    monkeypatch.setattr(actions, "verify", answering(found))
    answer = command("verify", tmp_path, "--json")
    assert answer.status == 0
    assert answer.json.keys() == {"passed", "checks"}
    assert answer.json["passed"] is True
    assert answer.json["checks"][0]["name"] == "merge_exact"
    assert f"✓ {found.checks[0].meaning}" in answer.err


def test_verify_names_every_check_that_failed_and_is_exit_1(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = Check.of("files_unchanged", False, 1, 0, missing=["config.json"], changed=[], added=[])
    monkeypatch.setattr(actions, "verify", answering(certified(files, Check.of("merge_exact", False, math.nan, 1e-3))))
    answer = command("verify", tmp_path)
    assert answer.status == 1
    assert "✗ Files of the export are not those that were certified: config.json is missing" in answer.err
    assert "✗ The finished model is wrong: before any rounding" in answer.err


def test_verify_refuses_a_folder_that_is_no_export_with_one_sentence(command: Command, tmp_path: Path) -> None:
    answer = command("verify", tmp_path, "--json")
    assert answer.status == 1
    assert str(tmp_path) in answer.json["error"]
    assert len(answer.err.splitlines()) == 1


def test_a_folder_that_is_no_run_is_named(command: Command, tmp_path: Path) -> None:
    answer = command("export", tmp_path, "--to", "merged")
    assert answer.status == 1
    assert str(tmp_path) in answer.err


def test_estimate_gives_parameters_and_bytes(command: Command, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    needs = actions.Estimate(
        trainable_parameters=4_884_480,
        total_parameters=139_399_488,
        patch_bytes=4 * 4_884_480,
        bytes={"weights": 269_030_016},
        total_bytes=269_030_016,
        available_bytes=24 * 1024**3,
        device_bytes=24 * 1024**3,
        device="cuda",
        rows=8,
        choices={
            "recompute": False,
            "on_host": False,
            "words_on_host": False,
            "micro_batch_tokens": 8192,
            "base_dtype": "bf16",
            "shards": 1,
            "cards": (),
        },
    )
    monkeypatch.setattr(actions, "open_model", answering(CHAT))
    monkeypatch.setattr(actions, "estimate", answering(needs))
    values = command("estimate", config, "--json").json
    assert values["trainable_parameters"] == 4_884_480
    assert values["bytes"] == {"weights": 269_030_016}
    assert "4.9 M of 139 M parameters are trained" in command("estimate", config).out


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("train",),
        ("export", "run"),
        ("inspect-data", "rows.jsonl", "--rows", "-1"),
        ("runs", "--run", "."),
    ],
)
def test_wrong_arguments_are_exit_2(command: Command, arguments: tuple[str, ...]) -> None:
    answer = command(*arguments)
    assert answer.status == 2
    assert not answer.out


def test_without_a_display_the_window_is_refused_with_the_headless_command(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    answer = command()
    assert answer.status == 1
    assert "finetune-studio train CONFIG.toml" in answer.err


@pytest.mark.parametrize(
    ("arguments", "first", "calls"),
    [
        ([], False, ["ask ", "open "]),
        ([], True, ["ask "]),
        (["rows.csv"], False, ["ask rows.csv", "open rows.csv"]),
        (["rows.csv"], True, ["ask rows.csv"]),
        (["--new-window"], True, ["open "]),
        (["--new-window", "rows.csv"], True, ["open rows.csv"]),
    ],
)
def test_a_window_opens_unless_the_first_one_takes_over(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    first: bool,
    calls: list[str],
) -> None:
    called = []

    def ask(opening: Opening | None) -> bool:
        called.append(f"ask {opening.path.name if opening else ''}")
        return first

    def main(file: str) -> int:
        called.append(f"open {Path(file).name}")
        return 0

    monkeypatch.setitem(sys.modules, "studio.ui.app", SimpleNamespace(main=main))
    monkeypatch.setitem(sys.modules, "studio.ui.first_window", SimpleNamespace(ask_first_window=ask))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("a,b\n")
    assert command(*arguments).status == 0
    assert called == calls


def test_a_new_window_is_no_option_of_a_command(command: Command) -> None:
    answer = command("--new-window", "runs")
    assert answer.status == 2
    assert "--new-window is for the window alone." in answer.err


def test_a_chinese_terminal_gets_chinese_where_there_is_a_catalogue(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    languages: list[str] = []
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monkeypatch.setattr("studio.cli.set_language", languages.append)
    command("--version")
    assert languages == ["zh_CN"]


def test_a_wrong_argument_is_refused_in_the_language_of_the_terminal(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monkeypatch.delenv("LANGUAGE", raising=False)
    answer = command("train")
    assert answer.status == 2
    assert "缺少必需的参数：CONFIG.toml" in answer.err


def test_a_chinese_windows_sets_no_variable_and_gets_chinese(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("locale.getlocale", lambda: ("Chinese (Simplified)_China", "936"))
    answer = command("--help")
    assert "微调" in answer.out


def test_python_dash_m_studio_is_the_same_program(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "studio", "runs", "--runs", str(tmp_path), "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, '{"runs": []}\n', "")


def test_a_terminal_that_knows_ascii_alone_gets_every_text(tmp_path: Path) -> None:
    create_run(tmp_path / "größe 训练", "x", "").write_state("failed", error="Nicht genug Speicher für 训练.")
    finished = subprocess.run(
        [sys.executable, "-m", "studio", "runs", "--runs", str(tmp_path / "größe 训练")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert b"Nicht genug Speicher f\\xfcr \\u8bad\\u7ec3." in finished.stdout


def test_a_name_does_nothing_to_the_terminal_that_it_is_written_to(command: Command, tmp_path: Path) -> None:
    name = "a\x1b[2J\x07\N{RIGHT-TO-LEFT OVERRIDE}b"
    create_run(tmp_path, "x", "").write_state("failed", model={"name": name}, error=f"{name} is missing.")
    answer = command("runs", "--runs", tmp_path)
    assert "\\x1b[2J\\x07\\u202eb" in answer.out
    create_run(tmp_path, "y", "").write_state("failed", error="a\nfinished  another")
    assert len(command("runs", "--runs", tmp_path).out.splitlines()) == 2
    refused = command("inspect-model", tmp_path / name)
    assert "\\x1b[2J\\x07\\u202eb does not exist" in refused.err
    assert not set("\x1b\x07\N{RIGHT-TO-LEFT OVERRIDE}") & set(answer.out + refused.err)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    for number in range(1000):  # more than a pipe holds
        create_run(tmp_path, f"run-{number:060}", "")
    finished = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m studio runs --runs "$1" | head -n 1', sys.executable, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stderr == ""
    assert len(finished.stdout.splitlines()) == 1
