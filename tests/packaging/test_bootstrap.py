"""The set-up script: its decisions, without network, installs or a display."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from PySide6.QtGui import QFontDatabase

from studio import cards
from studio.cards import Card, Machine
from studio.torch_build import DEFAULT_INDEX, INDEX_VARIABLE, Build

SCRIPT = Path(__file__).parents[2] / "packaging" / "bootstrap.py"
RTX_4090 = Card("nvidia", "NVIDIA GeForce RTX 4090", "8.9")
WITHOUT_CARD = Machine("linux", "x86_64")
WITH_CARD = Machine("linux", "x86_64", (RTX_4090,), driver="580.95.05")
OLD_DRIVER = replace(WITH_CARD, driver="550.54.15")


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with its environment below `tmp_path` and every program recorded, not run."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(SCRIPT.parent)  # where Python finds the modules beside a script
    spec.loader.exec_module(module)
    monkeypatch.delenv(INDEX_VARIABLE, raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setattr(cards, "look", lambda: WITHOUT_CARD)
    monkeypatch.setattr(module.environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module.environment, "STAMP", tmp_path / ".venv" / "installed.json")
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

    def locked(self) -> list[list[str]]:
        """What each set-up installed by its sums: the names of the files in packaging/locked."""
        commands = [command for command in self.commands if "--require-hashes" in command]
        return [[Path(word).stem for word in command if word.endswith(".txt")] for command in commands]

    def torch_installs(self) -> list[list[str]]:
        return [command for command in self.commands if command[-1].startswith("torch==")]


@pytest.fixture
def programs(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(sys, "platform", "linux")
    found = Programs(bootstrap.environment.VENV)
    stand_in(bootstrap, monkeypatch, found)
    return found


def stand_in(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, call: Callable[..., int]) -> None:
    """Let every module of the set-up call this in place of programs."""
    for module in (bootstrap, bootstrap.environment, sys.modules["system_packages"]):
        monkeypatch.setattr(module, "call", call)


def test_an_old_python_is_refused_in_one_sentence_that_names_both_versions(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"needs Python 3\.11 or later, and this is 3\.9"):
        bootstrap.require_python((3, 9))


def test_the_oldest_supported_python_is_accepted(bootstrap: ModuleType) -> None:
    bootstrap.require_python(bootstrap.OLDEST_PYTHON)


@pytest.fixture
def ensure(bootstrap: ModuleType) -> Callable[..., None]:
    """Make the environment for the card that this computer has, with some extras."""

    def ensure(*extras: str, machine: Machine = WITHOUT_CARD) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cards, "look", lambda: machine)
            bootstrap.environment.ensure_environment(extras, bootstrap.choose_torch(False, None, None))

    return ensure


def test_the_second_call_installs_nothing(programs: Programs, ensure: Callable[..., None]) -> None:
    ensure("test")
    ensure("test")
    assert len(programs.locked()) == len(programs.torch_installs()) == 1


def test_everything_but_torch_is_installed_by_its_sums_and_the_project_without_a_download(
    bootstrap: ModuleType, programs: Programs, ensure: Callable[..., None]
) -> None:
    ensure("test")
    torch, everything, project = [command for command in programs.commands if "install" in command]
    assert torch == programs.torch_installs()[0]
    assert {"--require-hashes", "--no-deps"} <= set(everything)
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(project)
    assert project[-2:] == ["--editable", str(bootstrap.environment.ROOT)]
    assert programs.locked() == [["run", "test"]]


def test_asking_for_more_extras_keeps_those_that_are_there(programs: Programs, ensure: Callable[..., None]) -> None:
    ensure("test")
    ensure("gpu")
    ensure()
    assert programs.locked() == [["run", "test"], ["run", "gpu", "test"]]


def test_an_interrupted_install_is_done_again(
    bootstrap: ModuleType, programs: Programs, ensure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(bootstrap, monkeypatch, Programs(bootstrap.environment.VENV, failing=("pip install",)))
    with pytest.raises(bootstrap.SetupError, match="installation failed"):
        ensure()
    stand_in(bootstrap, monkeypatch, programs)
    ensure()
    assert len(programs.locked()) == 1


def test_changed_constraints_call_for_a_new_install(bootstrap: ModuleType, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("torch==2.13.0\n")
    before = bootstrap.environment.fingerprint(constraints)
    constraints.write_text("torch==2.14.0\n")
    assert bootstrap.environment.fingerprint(constraints) != before


@pytest.mark.parametrize("text", ["", "not json", json.dumps({"fingerprint": "another", "extras": []})])
def test_a_damaged_or_foreign_stamp_counts_as_not_installed(bootstrap: ModuleType, tmp_path: Path, text: str) -> None:
    stamp = tmp_path / "installed.json"
    stamp.write_text(text)
    assert bootstrap.environment.installed(stamp, "this") is None


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
    assert [command[-2] for command in programs.commands[-2:]] == ["studio", "--train"]


def test_run_fetches_the_starter_and_then_opens_the_window(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(bootstrap, "ensure_system_packages", lambda _: "")
    assert bootstrap.main(["run"]) == 0
    starter, self_test, window = programs.commands[-3:]
    assert starter[-1] == "starter"
    assert self_test[-3:-1] == ["doctor", "--train"]
    assert window[-1] == "studio"
    assert bootstrap.main(["run"]) == 0
    assert [command[-1] for command in programs.commands[-2:]] == ["starter", "studio"]  # tried the first time only


def test_every_check_runs_even_if_the_first_fails(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = Programs(bootstrap.environment.VENV, failing=("ruff check",))
    stand_in(bootstrap, monkeypatch, programs)
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
    system = sys.modules["system_packages"]
    monkeypatch.setattr(system, "loads", lambda library: library not in lacking)
    monkeypatch.setattr(system, "has_font", lambda language: language not in lacking)
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
    assert programs.commands[-1][-1] != "studio"


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
    assert not sys.modules["system_packages"].loads("libno-such-library.so.7")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fontconfig is how Linux finds fonts")
@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize(
    ("language", "system"), [("en", "Latin"), ("zh-cn", "SimplifiedChinese"), ("th", "Thai"), ("ka", "Georgian")]
)
def test_a_font_is_there_when_the_window_would_find_one(bootstrap: ModuleType, language: str, system: str) -> None:
    families = QFontDatabase.families(QFontDatabase.WritingSystem[system])
    assert sys.modules["system_packages"].has_font(language) is bool(families)


def test_the_script_needs_the_standard_library_alone() -> None:
    command = [sys.executable, "-E", "-S", str(SCRIPT), "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "run" in finished.stdout


# --- the build of torch ------------------------------------------------------------------------------------------


def test_torch_comes_alone_from_its_own_index_and_before_everything_else(
    bootstrap: ModuleType, programs: Programs, ensure: Callable[..., None]
) -> None:
    ensure(machine=OLD_DRIVER)
    torch, *rest = [command for command in programs.commands if "install" in command]
    assert torch[-4:] == ["--no-deps", "--extra-index-url", f"{DEFAULT_INDEX}/cu126", "torch==2.13.0+cu126"]
    assert DEFAULT_INDEX not in " ".join(word for command in rest for word in command)
    assert rest[0][-2:] == [
        str(bootstrap.environment.CONSTRAINTS),
        "torch==2.13.0+cu126",
    ]  # its libraries, which no file lists


def test_an_nvidia_card_brings_the_gpu_extra_and_a_computer_without_does_not(
    programs: Programs, ensure: Callable[..., None]
) -> None:
    ensure("test")
    ensure("test", machine=WITH_CARD)
    assert programs.locked() == [["run", "test"], ["run", "cuda", "gpu", "test"]]


def test_what_a_rocm_build_needs_comes_from_its_index_as_well(programs: Programs, ensure: Callable[..., None]) -> None:
    ensure(machine=Machine("linux", "x86_64", (Card("amd", "AMD Radeon RX 7900 XTX", "gfx1100"),)))
    (torch,) = programs.torch_installs()
    assert torch[-1] == "torch==2.13.0+rocm7.2"
    assert "--no-deps" not in torch
    assert programs.locked() == [["run"]]


def test_where_pips_own_wheel_fits_no_other_index_is_asked(
    bootstrap: ModuleType, programs: Programs, ensure: Callable[..., None]
) -> None:
    ensure(machine=Machine("darwin", "arm64", (Card("apple", "Apple"),)))
    assert programs.torch_installs() == []
    assert programs.locked() == [["run"]]


def test_a_new_driver_or_card_calls_for_another_torch(programs: Programs, ensure: Callable[..., None]) -> None:
    for machine in (WITHOUT_CARD, OLD_DRIVER, OLD_DRIVER, WITH_CARD):
        ensure(machine=machine)
    tags = [command[-1].partition("+")[2] for command in programs.torch_installs()]
    assert tags == ["cpu", "cu126", "cu126", "cu130"]  # that of the old driver, and then its libraries


def test_a_card_that_does_not_answer_today_leaves_torch_as_it_is(
    programs: Programs, ensure: Callable[..., None]
) -> None:
    ensure(machine=WITH_CARD)
    ensure(machine=replace(WITHOUT_CARD, trouble="nvidia-smi does not answer"))
    assert len(programs.torch_installs()) == 1


@pytest.mark.parametrize(
    ("options", "tag", "index"),
    [
        (["--cpu"], "cpu", DEFAULT_INDEX),
        (["--cuda", "12.6"], "cu126", DEFAULT_INDEX),
        (["--torch-index", "https://mirror.example/whl/"], "cu130", "https://mirror.example/whl"),
    ],
)
def test_the_user_may_decide_otherwise(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch, options: list[str], tag: str, index: str
) -> None:
    monkeypatch.setattr(cards, "look", lambda: WITH_CARD)
    monkeypatch.setattr(bootstrap, "ensure_system_packages", lambda _: "")
    assert bootstrap.main(["test", *options]) == 0
    assert programs.torch_installs()[0][-2:] == [f"{index}/{tag}", f"torch==2.13.0+{tag}"]
    assert ("gpu" in programs.locked()[0], "cuda" in programs.locked()[0]) == (tag != "cpu", tag == "cu130")


def test_a_mirror_may_stand_in_the_environment(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INDEX_VARIABLE, "https://mirror.example/whl")
    assert bootstrap.choose_torch(False, None, None).index == "https://mirror.example/whl"


def test_a_version_of_cuda_without_a_build_is_refused_with_those_that_have_one(
    bootstrap: ModuleType, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["run", "--cuda", "11.8"]) == 1
    assert "no build of torch for CUDA 11.8 on this system; there are: CUDA 13.0, CUDA 12.6" in capsys.readouterr().out
    assert programs.commands == []


def test_a_mac_with_an_intel_processor_is_told_at_once(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cards, "look", lambda: Machine("darwin", "x86_64"))
    assert bootstrap.main(["run"]) == 1
    assert "Macs with an Intel processor" in capsys.readouterr().out
    assert programs.commands == []


def test_choice_and_size_are_said_before_anything_is_downloaded(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said_before: list[str] = []

    class Listening(Programs):
        def __call__(self, command: list[str], *_: object, **__: object) -> int:
            if "pip" in command:
                said_before.append(capsys.readouterr().out)
            return super().__call__(command)

    monkeypatch.setattr(sys, "platform", "linux")
    stand_in(bootstrap, monkeypatch, Listening(bootstrap.environment.VENV))
    monkeypatch.setattr(cards, "look", lambda: OLD_DRIVER)
    bootstrap.environment.ensure_environment((), bootstrap.choose_torch(False, None, None))
    assert "NVIDIA GeForce RTX 4090 (8.9); NVIDIA driver 550.54.15" in said_before[0]
    assert "CUDA 12.6 build of torch 2.13.0 is taken: it uses NVIDIA GeForce RTX 4090" in said_before[0]
    assert f"It comes from {DEFAULT_INDEX}/cu126." in said_before[0]
    assert "about 3.4 GB for torch" in said_before[0]
    assert "--cpu" in said_before[0]


def test_a_dry_run_says_the_choice_and_does_nothing(
    bootstrap: ModuleType, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["run", "--dry-run"]) == 0
    assert "The CPU build of torch 2.13.0 is taken" in capsys.readouterr().out
    assert programs.commands == []


def test_the_set_up_speaks_the_language_of_the_computer(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was said in English in the window of the first start: the plan, and why the installation failed."""
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monkeypatch.setattr(cards, "look", lambda: WITH_CARD)
    stand_in(bootstrap, monkeypatch, Programs(bootstrap.environment.VENV, failing=("--require-hashes",)))
    assert bootstrap.main(["install"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5
    assert [line for line in lines if not re.search("[\u4e00-\u9fff]", line)] == []
    assert lines[-1].startswith("安装失败")
    assert "--proxy URL" in lines[-1]


def test_a_card_that_stays_unused_is_named_before(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = (Card("nvidia", "GTX 1080 Ti", "6.1"), Card("nvidia", "RTX 5090", "12.0"))
    monkeypatch.setattr(cards, "look", lambda: replace(WITH_CARD, cards=pair))
    words = bootstrap.choose_torch(False, None, None).words
    assert any(line.startswith("Not used: GTX 1080 Ti: ") for line in words)


@pytest.mark.parametrize(
    ("platform", "tag", "goes_on"),
    [("linux", "cpu", True), ("linux", "cu130", True), ("linux", "cu126", False), ("win32", "cu130", False)],
)
def test_without_pytorchs_index_pips_own_serves_where_it_can(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    platform: str,
    tag: str,
    goes_on: bool,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    fetch = Programs(bootstrap.environment.VENV, failing=("--extra-index-url",))
    plan = bootstrap.Plan(Build(tag, 0), "https://nowhere.example")
    if goes_on:
        assert bootstrap.environment.install_torch(lambda *words: fetch([*words]), plan) == ["cuda"]
        assert "pip's own index is asked instead, for its build of about 2.7 GB" in capsys.readouterr().out
    else:
        with pytest.raises(bootstrap.SetupError, match=rf"2\.13\.0\+{tag} .* mirror with --torch-index URL .* --cpu"):
            bootstrap.environment.install_torch(lambda *words: fetch([*words]), plan)


def test_a_silent_program_is_spoken_for_until_it_speaks(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program waits, silent, until it was spoken for; then it ends."""
    programs = sys.modules["programs"]
    monkeypatch.setattr(programs, "PATIENCE", 0.01)
    said: list[str] = []
    free = iter(range(90_000_000_000, 0, -30_000_000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=next(free)))
    end = tmp_path / "end"

    def say(text: str) -> None:
        said.append(text)
        if "received" in text:
            end.touch()

    monkeypatch.setattr(programs, "say", say)
    lines = ["print('begins')", "print('Progress 500000 of 2000000', flush=True)", "import os"]
    lines += [f"while not os.path.exists({str(end)!r}): pass", "print('ends')", "raise SystemExit(3)"]
    assert bootstrap.call([sys.executable, "-c", "\n".join(lines)], aloud=str(tmp_path)) == 3
    assert {"begins", "ends"} <= set(said)
    assert not [line for line in said if line.startswith("Progress")]
    assert [line for line in said if "0.5 of 2.0 MB received" in line]
    assert "0.03 GB of disk taken" in next(line for line in said if "disk taken" in line)


def test_a_large_download_does_not_go_through_the_systems_temporary_folder(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []

    def call(_: list[str], environment: dict[str, str], **__: object) -> int:
        seen.append((environment["TMPDIR"], Path(environment["TMPDIR"]).is_dir()))
        return 0

    stand_in(bootstrap, monkeypatch, call)
    bootstrap.environment.pip(Path("python"), "install", "torch")
    assert seen == [(str(bootstrap.environment.VENV / "tmp"), True)]
    assert not (bootstrap.environment.VENV / "tmp").exists()


# --- mirror, proxy, bundle ---------------------------------------------------------------------------------------


def test_mirror_and_proxy_reach_pip_and_the_hub(
    bootstrap: ModuleType, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.os, "environ", {})
    assert bootstrap.main(["install", "--index-url", "https://mirror.example/simple", "--proxy", "http://p:1"]) == 0
    assert bootstrap.os.environ["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert {bootstrap.os.environ[name] for name in ("PIP_PROXY", "HTTPS_PROXY", "HTTP_PROXY")} == {"http://p:1"}


def test_a_download_that_fails_names_the_options_for_mirror_and_proxy(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    stand_in(bootstrap, monkeypatch, Programs(bootstrap.environment.VENV, failing=("--require-hashes",)))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert bootstrap.main(["install"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "--index-url URL" in last
    assert "--proxy URL" in last


def test_at_a_terminal_mirror_and_proxy_are_asked_for_and_tried(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.os, "environ", {})
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    answers = iter(["https://mirror.example/simple", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    tried: list[str] = []

    def act(_: object) -> int:
        tried.append(bootstrap.os.environ.get("PIP_INDEX_URL", ""))
        if len(tried) == 1:
            raise bootstrap.environment.DownloadError("It did not come.")
        return 0

    monkeypatch.setattr(bootstrap, "act", act)
    assert bootstrap.main(["install"]) == 0
    assert tried == ["", "https://mirror.example/simple"]


def test_a_bundle_that_exists_already_is_not_written_over(
    bootstrap: ModuleType, programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle").mkdir()
    assert bootstrap.main(["bundle", str(tmp_path / "bundle.tar"), "--cpu"]) == 1
    assert f"There is something at {tmp_path / 'bundle'} already" in capsys.readouterr().out
    assert programs.commands == []
