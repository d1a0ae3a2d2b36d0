"""The set-up script: its decisions, without network, installs or a display."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from PySide6.QtGui import QFontDatabase

SCRIPT = Path(__file__).parents[2] / "packaging" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with its environment below `tmp_path` and every program recorded, not run."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "installed.json")
    return module


class Programs:
    """Stands for `call`: notes each command and answers with its exit status, 0 unless told otherwise."""

    def __init__(self, venv: Path, failing: tuple[str, ...] = ()) -> None:
        self.commands: list[list[str]] = []
        self._venv = venv
        self._failing = failing

    def __call__(self, command: list[str], *_: object, **__: object) -> int:
        self.commands.append(command)
        if "venv" in command:  # what making an environment leaves behind
            (self._venv / "bin").mkdir(parents=True)
            (self._venv / "bin" / "python").touch()
        return int(any(word in " ".join(command) for word in self._failing))

    def installs(self) -> list[list[str]]:
        return [command for command in self.commands if "install" in command]


@pytest.fixture
def programs(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(sys, "platform", "linux")
    found = Programs(bootstrap.VENV)
    monkeypatch.setattr(bootstrap, "call", found)
    return found


def test_an_old_python_is_refused_in_one_sentence_that_names_both_versions(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"needs Python 3\.11 or later, and this is 3\.9"):
        bootstrap.require_python((3, 9))


def test_the_oldest_supported_python_is_accepted(bootstrap: ModuleType) -> None:
    bootstrap.require_python(bootstrap.OLDEST_PYTHON)


def test_the_second_call_installs_nothing(bootstrap: ModuleType, programs: Programs) -> None:
    bootstrap.ensure_environment(("test",))
    bootstrap.ensure_environment(("test",))
    assert len(programs.installs()) == 1


def test_the_install_obeys_the_tested_versions(bootstrap: ModuleType, programs: Programs) -> None:
    bootstrap.ensure_environment(("test",))
    (command,) = programs.installs()
    assert command[command.index("--constraint") + 1] == str(bootstrap.CONSTRAINTS)
    assert command[-1].endswith("[test]")


def test_asking_for_more_extras_keeps_those_that_are_there(bootstrap: ModuleType, programs: Programs) -> None:
    bootstrap.ensure_environment(("test",))
    bootstrap.ensure_environment(("gpu",))
    bootstrap.ensure_environment(())
    assert [command[-1].partition("[")[2] for command in programs.installs()] == ["test]", "gpu,test]"]


def test_an_interrupted_install_is_done_again(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "call", Programs(bootstrap.VENV, failing=("pip install",)))
    with pytest.raises(bootstrap.SetupError, match="installation failed"):
        bootstrap.ensure_environment(())
    monkeypatch.setattr(bootstrap, "call", programs)
    bootstrap.ensure_environment(())
    assert len(programs.installs()) == 1


def test_changed_constraints_call_for_a_new_install(bootstrap: ModuleType, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("torch==2.13.0\n")
    before = bootstrap.fingerprint(constraints)
    constraints.write_text("torch==2.14.0\n")
    assert bootstrap.fingerprint(constraints) != before


@pytest.mark.parametrize("text", ["", "not json", json.dumps({"fingerprint": "another", "extras": []})])
def test_a_damaged_or_foreign_stamp_counts_as_not_installed(bootstrap: ModuleType, tmp_path: Path, text: str) -> None:
    stamp = tmp_path / "installed.json"
    stamp.write_text(text)
    assert bootstrap.installed_extras(stamp, "this") is None


def test_programs_are_where_each_system_keeps_them(bootstrap: ModuleType) -> None:
    assert bootstrap.script(Path("v"), "python", "win32") == Path("v/Scripts/python.exe")
    assert bootstrap.script(Path("v"), "python", "darwin") == Path("v/bin/python")


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("win32", {}, True),
        ("darwin", {}, True),
    ],
)
def test_a_display_is_recognised(
    bootstrap: ModuleType, platform: str, environment: dict[str, str], expected: bool
) -> None:
    assert bootstrap.has_display(platform, environment) is expected


def test_without_a_display_run_names_the_headless_command(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert bootstrap.main(["run"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "no display" in last
    assert last.endswith("finetune-studio train CONFIG.toml")
    assert programs.commands[-1][-2:] == ["studio", "starter"]


def test_run_fetches_the_starter_and_then_opens_the_window(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(bootstrap, "ensure_system_packages", lambda _: "")
    assert bootstrap.main(["run"]) == 0
    assert [command[-1] for command in programs.commands[-2:]] == ["starter", "studio"]


def test_every_check_runs_even_if_the_first_fails(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = Programs(bootstrap.VENV, failing=("ruff check",))
    monkeypatch.setattr(bootstrap, "call", programs)
    monkeypatch.setattr(bootstrap, "ensure_system_packages", lambda _: "")
    assert bootstrap.main(["test"]) == 1
    checks = [Path(command[0]).stem for command in programs.commands[-len(bootstrap.CHECKS) :]]
    assert checks == ["ruff", "ruff", "mypy", "lint-imports", "pytest"]
    assert "Failed before pytest: ruff check ." in capsys.readouterr().out


def test_all_checks_passing_is_success(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "ensure_system_packages", lambda _: "")
    assert bootstrap.main(["test"]) == 0


@pytest.fixture
def complete(bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A Linux system with apt-get that lacks nothing but what a test names; nobody is root there unless told."""
    lacking: set[str] = set()
    monkeypatch.setattr(bootstrap, "loads", lambda library: library not in lacking)
    monkeypatch.setattr(bootstrap, "has_font", lambda language: language not in lacking)
    monkeypatch.setattr("shutil.which", lambda program: None if program in lacking else f"/usr/bin/{program}")

    def but_for(*names: str, root: bool = False) -> None:
        lacking.update(names)
        monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)

    return but_for


def test_missing_libraries_are_named_with_the_command_that_installs_them(
    bootstrap: ModuleType, complete: Callable[..., None]
) -> None:
    complete("libxcb-cursor.so.0")
    sentence = bootstrap.ensure_system_packages({})
    assert "libxcb-cursor.so.0" in sentence
    assert "sudo apt-get install libxcb-cursor0" in sentence


def test_root_installs_missing_libraries_and_fonts_with_apt(
    bootstrap: ModuleType, programs: Programs, complete: Callable[..., None]
) -> None:
    complete("libEGL.so.1", "en", "zh-cn", root=True)
    assert bootstrap.ensure_system_packages({}) == ""
    assert programs.commands[-1][-3:] == ["libegl1", "fonts-dejavu-core", "fonts-noto-cjk"]


def test_fonts_that_cannot_write_chinese_call_for_one_that_can(
    bootstrap: ModuleType, programs: Programs, complete: Callable[..., None]
) -> None:
    complete("zh-cn", root=True)
    assert bootstrap.ensure_system_packages({}) == ""
    assert programs.commands[-1][-2:] == ["--no-install-recommends", "fonts-noto-cjk"]


def test_a_complete_system_is_left_alone(
    bootstrap: ModuleType, programs: Programs, complete: Callable[..., None]
) -> None:
    complete(root=True)
    assert bootstrap.ensure_system_packages(bootstrap.TEST_PROGRAMS) == ""
    assert not programs.commands


def test_the_tests_bring_a_screen_and_the_window_does_without(
    bootstrap: ModuleType, programs: Programs, complete: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    complete("Xvfb", root=True)
    monkeypatch.setenv("DISPLAY", ":0")
    assert bootstrap.main(["run"]) == 0
    assert not [command for command in programs.commands if "xvfb" in command]
    assert bootstrap.main(["test"]) == 0
    assert [command for command in programs.commands if "xvfb" in command]


def test_a_missing_library_keeps_the_window_closed(
    bootstrap: ModuleType,
    programs: Programs,
    complete: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    complete("libxcb-cursor.so.0")
    monkeypatch.setenv("DISPLAY", ":0")
    assert bootstrap.main(["run"]) == 1
    assert "libxcb-cursor.so.0" in capsys.readouterr().out
    assert programs.commands[-1][-1] == "starter"


def test_a_missing_chinese_font_is_named_and_the_window_opens_all_the_same(
    bootstrap: ModuleType,
    programs: Programs,
    complete: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    complete("zh-cn")
    monkeypatch.setenv("DISPLAY", ":0")
    assert bootstrap.main(["run"]) == 0
    assert "a font for Chinese; install it with: sudo apt-get install fonts-noto-cjk." in capsys.readouterr().out
    assert programs.commands[-1][-1] == "studio"


def test_the_loader_finds_what_is_there_and_not_what_is_not(bootstrap: ModuleType) -> None:
    assert not bootstrap.loads("libno-such-library.so.7")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fontconfig is how Linux finds fonts")
@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize(
    ("language", "system"), [("en", "Latin"), ("zh-cn", "SimplifiedChinese"), ("th", "Thai"), ("ka", "Georgian")]
)
def test_a_font_is_there_when_the_window_would_find_one(bootstrap: ModuleType, language: str, system: str) -> None:
    families = QFontDatabase.families(QFontDatabase.WritingSystem[system])
    assert bootstrap.has_font(language) is bool(families)


def test_the_script_needs_the_standard_library_alone() -> None:
    command = [sys.executable, "-I", "-S", str(SCRIPT), "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "run" in finished.stdout
