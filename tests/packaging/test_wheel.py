"""The wheel holds the program and its data files."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_every_resource_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    resources = [file for file in (ROOT / "resources").rglob("*") if file.is_file() and not file.name.startswith(".")]
    assert resources
    assert not {f"studio/_resources/{file.relative_to(ROOT / 'resources').as_posix()}" for file in resources} - inside


def test_the_unpacked_wheel_finds_its_own_resources(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import sys; sys.path.insert(0, '.'); from studio.paths import resource; print(resource('samples'))"
    command = [sys.executable, "-I", "-c", code]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = Path(finished.stdout.strip())
    assert found == tmp_path / "studio" / "_resources" / "samples"
    assert found.is_dir()


def test_tests_and_tools_stay_out_of_the_wheel(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"studio", wheel.name.partition("-py3")[0] + ".dist-info"}
