"""A folder whose name is not UTF-8: its weights cannot be read, and what is said of it is true."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from studio.engine.models.files import damaged
from studio.engine.training import resume
from studio.errors import TrainingError
from studio.runs import RunFolder

ODD = "run-" + os.fsdecode(b"\xff\xfe")


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have no such names")
def test_going_on_says_that_the_name_is_in_the_way_and_not_that_checkpoints_are_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger=resume.log.name)
    folder = RunFolder(tmp_path / ODD)
    (folder.checkpoints / "step-000004").mkdir(parents=True)
    with pytest.raises(TrainingError, match=r"is not UTF-8 text.*rename the folder"):
        resume._newest_valid(folder)
    assert ODD in caplog.text
    folder.path.rename(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"No checkpoint of .* is whole"):
        resume._newest_valid(RunFolder(tmp_path / "run"))


def test_weights_in_such_a_folder_are_not_called_damaged() -> None:
    assert "rename the folder" in str(damaged(Path(ODD) / "adapter" / "adapter_model.safetensors", "not valid UTF-8"))
    assert "download the model again" in str(damaged(Path("run") / "model.safetensors", "cut off"))
