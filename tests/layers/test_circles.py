"""No module of the studio imports itself in a circle, imports for type checkers counted."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def import_graph(root: Path) -> dict[str, set[str]]:
    """Return what each module of the package `studio` below `root` imports of that package, at whatever place."""
    files = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (root / "studio").rglob("*.py")
    }
    graph = {}
    for name, file in files.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        graph[name] = (found & files.keys()) - {name}
    return graph


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = import_graph(ROOT)
    assert "studio.engine.training.trainer" in graph["studio.engine.training.loop"]
    TopologicalSorter(graph).prepare()  # raises CycleError with the modules of a circle


def test_a_circle_for_the_type_checker_alone_is_found(tmp_path: Path) -> None:
    package = tmp_path / "studio"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text("from studio import second\n")
    (package / "second.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from studio.first import A\n"
    )
    with pytest.raises(CycleError, match="cycle"):
        TopologicalSorter(import_graph(tmp_path)).prepare()
