"""What the installers for Linux bring beside the program: description, desktop entry, icons, MIME type, launcher."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import platformdirs
import pytest
from PySide6.QtGui import QImage

from studio import __version__

ROOT = Path(__file__).parents[2]
SPACE = "{http://www.freedesktop.org/standards/shared-mime-info}"


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "packaging")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Everything that the Debian package installs."""
    import deb

    deb.write_root(tmp_path / "root", __version__)
    return tmp_path / "root"


def test_the_package_names_version_size_and_every_library_of_qt(root: Path) -> None:
    from system_packages import QT_LIBRARIES

    lines = (root / "DEBIAN" / "control").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(": ", 1) for line in lines if not line.startswith(" "))
    assert fields["Package"] == "finetune-studio"
    assert fields["Version"] == __version__
    assert int(fields["Installed-Size"]) > 1000
    depends = fields["Depends"].split(", ")
    assert {"python3 (>= 3.11)", "python3-venv", "python3-tk", *QT_LIBRARIES.values()} <= set(depends)


def test_the_package_brings_the_program_and_starts_it(root: Path) -> None:
    program = root / "usr" / "lib" / "finetune-studio"
    for name in ("studio/cli.py", "resources/icons/app.svg", "packaging/launch.py", "packaging/locked/run.txt"):
        assert (program / name).is_file()
    launcher = root / "usr" / "bin" / "finetune-studio"
    assert os.access(launcher, os.X_OK)
    assert "/usr/lib/finetune-studio/packaging/launch.py" in launcher.read_text(encoding="utf-8")
    assert not list(root.rglob("__pycache__"))


def test_the_icon_is_there_in_every_size_and_as_a_drawing(root: Path) -> None:
    import desktop

    theme = root / "usr" / "share" / "icons" / "hicolor"
    for size in desktop.ICON_SIZES:
        image = QImage(str(theme / f"{size}x{size}" / "apps" / "finetune-studio.png"))
        assert (image.width(), image.height()) == (size, size)
        assert image.pixelColor(size // 2, size // 8).alpha() == 255  # it is drawn
        assert image.pixelColor(0, 0).alpha() == 0  # round corners
    assert (theme / "scalable" / "apps" / "finetune-studio.svg").is_file()


def test_the_desktop_entry_is_valid_and_opens_our_files(root: Path) -> None:
    file = root / "usr" / "share" / "applications" / "finetune-studio.desktop"
    text = file.read_text(encoding="utf-8")
    assert "Exec=finetune-studio %f\n" in text
    assert "application/x-finetune-studio;" in text
    if validator := shutil.which("desktop-file-validate"):
        checked = subprocess.run([validator, str(file)], capture_output=True, text=True, check=False)
        assert checked.stdout == ""


def test_the_mime_type_is_a_toml_file_of_its_own_name(root: Path) -> None:
    tree = ElementTree.parse(root / "usr" / "share" / "mime" / "packages" / "finetune-studio.xml")
    (kind,) = tree.getroot()
    assert kind.get("type") == "application/x-finetune-studio"
    parents = [parent.get("type") for parent in kind.findall(f"{SPACE}sub-class-of")]
    assert "application/toml" in parents
    assert [glob.get("pattern") for glob in kind.findall(f"{SPACE}glob")] == ["*.finetune.toml"]


def test_the_manual_page_can_be_read(root: Path) -> None:
    page = gzip.decompress((root / "usr" / "share" / "man" / "man1" / "finetune-studio.1.gz").read_bytes()).decode()
    assert page.startswith(".TH FINETUNE-STUDIO 1")


# --- the first start ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG_DATA_HOME")
@pytest.mark.parametrize("variables", [{}, {"XDG_DATA_HOME": "/data"}])
def test_the_environment_is_made_in_the_programs_own_folder(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import launch

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch.data_folder("linux", variables) == platformdirs.user_data_path("finetune-studio", appauthor=False)


def test_another_folder_may_be_named() -> None:
    import launch

    assert launch.data_folder("linux", {"FINETUNE_STUDIO_HOME": "/elsewhere"}) == Path("/elsewhere")


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Starts the program with everything recorded in place of run; `ready` says whether the environment is there."""
    import environment
    import launch

    seen = SimpleNamespace(commands=[], windows=0, ready=False, status=0)

    def run(command: list[str], **_: object) -> SimpleNamespace:
        seen.commands.append(command)
        return SimpleNamespace(returncode=seen.status)

    def window() -> int:
        seen.windows += 1
        return seen.status

    monkeypatch.setitem(sys.modules, "setup_window", SimpleNamespace(main=window))
    monkeypatch.setattr(environment, "ready", lambda: seen.ready)
    monkeypatch.setattr(launch.subprocess, "run", run)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("FINETUNE_STUDIO_ENVIRONMENT", str(tmp_path))
    seen.main = launch.main
    return seen


@pytest.mark.parametrize("arguments", [[], ["--new-window"]])
def test_a_start_from_the_desktop_shows_the_window_that_installs(
    launched: SimpleNamespace, arguments: list[str]
) -> None:
    assert launched.main(arguments) == 0
    assert launched.windows == 1
    assert [Path(command[0]).stem for command in launched.commands] == ["finetune-studio"]


def test_a_command_installs_with_words_and_then_runs(launched: SimpleNamespace) -> None:
    assert launched.main(["runs", "--json"]) == 0
    first, second = launched.commands
    assert Path(first[1]).name == "bootstrap.py"
    assert second[1:] == ["runs", "--json"]
    assert launched.windows == 0


def test_a_finished_environment_starts_at_once(launched: SimpleNamespace) -> None:
    launched.ready = True
    assert launched.main([]) == 0
    assert launched.windows == 0
    assert len(launched.commands) == 1


def test_an_installation_that_was_given_up_starts_nothing(launched: SimpleNamespace) -> None:
    launched.status = 1
    assert launched.main([]) == 1
    assert launched.commands == []


# --- AppImage, Windows, macOS ------------------------------------------------------------------------------------


def test_an_appimage_leaves_c_library_and_drivers_to_the_system() -> None:
    import appimage

    left = (
        "libc6",
        "libgl1",
        "libegl-mesa0",
        "libdrm2",
        "libx11-6",
        "libxcb1",
        "libfontconfig1",
        "dpkg",
        "fonts-dejavu",
    )
    inside = ("python3.11", "python3-tk", "libtk8.6", "libssl3", "libxcb-cursor0", "libxkbcommon-x11-0", "libffi8")
    assert [name for name in (*left, *inside) if not appimage.OF_THE_SYSTEM.match(name)] == list(inside)


def test_the_starter_of_an_appimage_is_a_shell_script_that_names_its_version(tmp_path: Path) -> None:
    import appimage

    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "python3.11").touch()
    appimage.write_program(tmp_path, "9.8.7")
    start = tmp_path / "AppRun"
    assert os.access(start, os.X_OK)
    assert subprocess.run(["sh", "-n", str(start)], check=False).returncode == 0
    assert 'echo "9.8.7 ' in start.read_text(encoding="utf-8")
    assert (tmp_path / ".DirIcon").exists()
    assert (tmp_path / "finetune-studio.desktop").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="AppImages are for Linux")
def test_an_appimage_copies_itself_once_and_again_when_it_is_another_build(tmp_path: Path) -> None:
    """Its Python is played by a shell script that prints where it lies."""
    import appimage

    def build(words: str) -> Path:
        folder = tmp_path / words
        (folder / "usr" / "bin").mkdir(parents=True)
        python = folder / "usr" / "bin" / "python3.11"
        python.write_text(f'#!/bin/sh\necho {words} "$0" "$@"\n')
        python.chmod(0o755)
        appimage.write_program(folder, "1.0")
        return folder / "AppRun"

    def start(program: Path) -> str:
        environment = {**os.environ, "FINETUNE_STUDIO_HOME": str(tmp_path / "data")}
        return subprocess.run(
            [str(program), "runs"], env=environment, capture_output=True, text=True, check=True
        ).stdout

    copy = tmp_path / "data" / "appimage"
    first, second = build("first"), build("second")
    said = start(first)
    assert said == f"first {copy}/bin/python3.11 -B {copy}/lib/finetune-studio/packaging/launch.py runs\n"
    (copy / "kept").touch()
    start(first)
    assert (copy / "kept").exists()
    assert start(second).startswith("second ")
    assert not (copy / "kept").exists()


def test_what_windows_and_macos_installers_hold(tmp_path: Path) -> None:
    import portable

    python = tmp_path / "cpython"
    python.mkdir()
    (python / "python.exe").touch()
    portable.gather(python, tmp_path / "out")
    for name in ("python/python.exe", "program/packaging/launch.py", "program/studio/cli.py"):
        assert (tmp_path / "out" / name).is_file()
    assert not QImage(str(tmp_path / "out" / "icons" / "finetune-studio.ico")).isNull()


def test_every_file_that_the_recipes_name_exists() -> None:
    recipes = (".github/workflows/installers.yml", "docs/installers.md")
    named = [
        name for recipe in recipes for name in re.findall(r"packaging[/\\][\w./\\-]+\w", (ROOT / recipe).read_text())
    ]
    assert len(named) > 8
    assert not [name for name in named if not (ROOT / name.replace("\\", "/")).is_file()]


def test_pip_of_the_appimage_finds_its_wheels_wherever_python_lies(tmp_path: Path) -> None:
    import appimage

    file = tmp_path / "ensurepip" / "__init__.py"
    file.parent.mkdir()
    file.write_text("import os, sys\n_WHEEL_PKG_DIR = sysconfig.get_config_var('WHEEL_PKG_DIR')\n")
    appimage.let_pip_move(tmp_path)
    found: dict[str, str] = {}
    exec(file.read_text(), found)
    assert found["_WHEEL_PKG_DIR"] == str(Path(sys.base_prefix) / "share" / "python-wheels")
    with pytest.raises(SystemExit, match="another one than is known"):
        appimage.let_pip_move(tmp_path)
