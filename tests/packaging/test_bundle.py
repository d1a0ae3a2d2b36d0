"""The offline bundle: what is in it, and what keeps it from being installed."""

from __future__ import annotations

import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "packaging")
    import bundle

    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # which `use` sets, and the test takes back
    return bundle


@pytest.fixture
def made(bundle: ModuleType, tmp_path: Path) -> Path:
    """A bundle with one small wheel."""
    folder = tmp_path / "bundle"
    wheels = folder / bundle.WHEELS
    wheels.mkdir(parents=True)
    (wheels / "one-1-py3-none-any.whl").write_bytes(b"one")
    bundle.finish(folder, "cpu")
    return folder


def test_it_holds_the_program_and_says_for_which_computer(bundle: ModuleType, made: Path) -> None:
    found = bundle.found(made)
    assert (found.torch, found.computer) == ("cpu", bundle.Bundle().computer)
    for name in ("packaging/bootstrap.py", "packaging/locked/run.txt", "studio/cli.py", "resources/icons/app.svg"):
        assert (made / name).is_file()
    assert not list(made.rglob("__pycache__"))
    assert "bootstrap.py run" in (made / "INSTALL.txt").read_text(encoding="utf-8")
    bundle.check(found, made)


def _swap(made: Path) -> None:
    (made / "wheels" / "one-1-py3-none-any.whl").write_bytes(b"two")


def _lose(made: Path) -> None:
    (made / "wheels" / "one-1-py3-none-any.whl").unlink()


def _add(made: Path) -> None:
    (made / "wheels" / "two-1-py3-none-any.whl").write_bytes(b"two")


@pytest.mark.parametrize(("damage", "named"), [(_swap, "one-1"), (_lose, "one-1"), (_add, "two-1")])
def test_a_wheel_that_is_damaged_missing_or_added_is_named(
    bundle: ModuleType, made: Path, damage: Callable[[Path], None], named: str
) -> None:
    found = bundle.found(made)
    damage(made)
    with pytest.raises(bundle.SetupError, match=f"damaged, copy it again: {named}"):
        bundle.check(found, made)


def test_another_computer_is_refused_with_both_named(bundle: ModuleType, made: Path) -> None:
    found = bundle.Bundle(python="3.99", system="Plan9", processor="vax")
    with pytest.raises(bundle.SetupError, match=r"made for Python 3\.99 on Plan9 vax, and this is Python 3\."):
        bundle.check(found, made)


def test_pip_and_the_hub_look_nowhere_else(bundle: ModuleType, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle.use(made)
    assert bundle.os.environ["PIP_NO_INDEX"] == bundle.os.environ["HF_HUB_OFFLINE"] == "1"
    assert bundle.os.environ["PIP_FIND_LINKS"] == (made / "wheels").as_uri()


def test_an_archive_holds_the_same_files(bundle: ModuleType, made: Path, tmp_path: Path) -> None:
    bundle.pack(made, tmp_path / "bundle.tar")
    with tarfile.open(tmp_path / "bundle.tar") as archive:
        names = archive.getnames()
    assert "bundle/wheels/one-1-py3-none-any.whl" in names
    assert "bundle/bundle.json" in names
    assert not made.exists()


def test_what_is_fetched_is_what_the_lock_lists_with_the_chosen_torch(
    bundle: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyPI's torch is left out where another build was fetched: pip would take both."""
    import environment
    from torch_plan import choose_torch

    listed: list[str] = []

    def pip(_: Path, command: str, *arguments: str) -> int:
        assert command == "download"
        if arguments[-1].startswith("torch=="):
            (folder / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
        else:
            listed.extend(re.findall(r"^([\w-]+)==", Path(arguments[-1]).read_text(encoding="utf-8"), flags=re.M))
        return 0

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(environment, "environment_works", lambda: True)
    monkeypatch.setattr(environment, "pip", pip)
    folder = tmp_path / "bundle" / "wheels"
    folder.mkdir(parents=True)
    environment.download(folder, choose_torch(True, None, None))
    locked = "".join((ROOT / "packaging" / "locked" / f"{name}.txt").read_text() for name in ("run", "starter"))
    assert listed == [name for name in re.findall(r"^([\w-]+)==", locked, flags=re.M) if name != "torch"]


def test_the_starters_wheel_is_the_one_that_the_program_takes() -> None:
    from studio.engine.models.starter.wheel import REQUIREMENT, WHEEL_SHA256

    text = (ROOT / "packaging" / "locked" / "starter.txt").read_text(encoding="utf-8")
    assert text.endswith(f"{REQUIREMENT} \\\n    --hash=sha256:{WHEEL_SHA256}\n")
