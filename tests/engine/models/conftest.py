"""A tiny Chat model as a folder that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.tiny import save_model


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; not to be changed."""
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(whole_model: Path, tmp_path: Path) -> Path:
    """A copy of the test's own."""
    return Path(shutil.copytree(whole_model, tmp_path / "tiny"))
