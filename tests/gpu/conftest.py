"""GPU tests run where there is a CUDA device; elsewhere each is skipped, and says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session", autouse=True)
def _a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: Path = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(folder / "home"))
    monkeypatch.setenv("FINETUNE_STUDIO_CACHE", str(folder / "cache"))
