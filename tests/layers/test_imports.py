"""What may be loaded when: the arrows that only a running interpreter can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QT = ("PySide6", "shiboken6", "pyqtgraph")
HEAVY = ("torch", "transformers", "peft", "datasets")
# Import name to distribution, where they differ.
DISTRIBUTIONS = {"PySide6": "pyside6-essentials", "yaml": "pyyaml"}
# tokenizers comes with transformers, shiboken6 with PySide6 and pydantic_core with pydantic, which pin them and hand
# their objects out; pynvml is optional (extra `gpu`).
UNDECLARED = {"tokenizers", "shiboken6", "pydantic_core", "pynvml", "tensorboard"}


def modules_below(*parts: str) -> list[str]:
    folder = ROOT.joinpath(*parts)
    return sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in folder.rglob("*.py")
    )


def loaded_after(modules: list[str], names: tuple[str, ...]) -> list[str]:
    """Import `modules` in a fresh interpreter; return those of `names` that got loaded with them."""
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += f"print(*[n for n in {names!r} if n in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


def test_the_engine_and_all_below_it_load_no_qt() -> None:
    modules = [name for name in modules_below("studio") if not name.startswith("studio.ui")]
    modules.remove("studio.__main__")
    assert loaded_after(modules, QT) == []


def test_the_command_line_and_the_runner_load_neither_qt_nor_torch() -> None:
    modules = ["studio.cli", *modules_below("studio", "commands"), *modules_below("studio", "runner")]
    assert loaded_after(modules, QT + HEAVY) == []


def test_the_window_loads_no_torch() -> None:
    assert loaded_after(modules_below("studio", "ui"), HEAVY) == []


@pytest.mark.parametrize(
    "registry", ["engine.methods:METHODS", "engine.precision:PRECISIONS", "engine.data.formats:FORMATS"]
)
def test_listing_a_registry_loads_no_torch(registry: str) -> None:
    module, _, name = registry.partition(":")
    code = f"import sys; from studio.{module} import {name}; assert {name}.names(); "
    code += f"print(*[n for n in {HEAVY!r} if n in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout.strip()) == (0, ""), finished.stderr


def test_every_library_that_is_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=!\[ ]", entry)[0].lower().replace("_", "-") for entry in project["dependencies"]}
    undeclared = {
        f"{library} in {file.relative_to(ROOT)}"
        for file in (ROOT / "studio").rglob("*.py")
        for library in imported_by(file)
        if library not in UNDECLARED and DISTRIBUTIONS.get(library, library.replace("_", "-")) not in declared
    }
    assert not undeclared


def imported_by(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        for name in names:
            library = name.partition(".")[0]
            if library != "studio" and library not in sys.stdlib_module_names:
                yield library
