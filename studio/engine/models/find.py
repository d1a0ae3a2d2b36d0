"""From what the user typed or chose to a model folder on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from studio.engine.control import Progress, no_progress
from studio.engine.models.hub import HubError, download_cached, is_repository_id
from studio.errors import ModelError
from studio.i18n import tr


def resolve_model(path_or_hub_id: str, progress: Progress = no_progress) -> Path:
    """Return the folder of a model: an existing folder, or one downloaded from the hub.

    Raises:
        ModelError: there is no such folder, and the hub cannot give such a model.
        Cancelled: by `progress`.
    """
    text = path_or_hub_id.strip()
    path = Path(text).expanduser()
    if not text:
        raise ModelError(tr("No model is chosen; give a model folder or a hub id."))
    # Path.exists would raise for a name that is too long, or holds a NUL.
    if os.path.exists(path):  # noqa: PTH110
        return _folder(path)
    is_path = text.startswith((".", "~", "/", "\\")) or "\\" in text or text.count("/") > 1 or text.endswith(os.sep)
    if is_path or not is_repository_id(text):
        raise ModelError(tr("The model folder {folder} does not exist; choose another.").format(folder=text))
    try:
        return download_cached(text, progress).absolute()
    except HubError as error:
        raise ModelError(
            tr("There is no folder {model}, and it cannot be downloaded: {reason}.").format(model=text, reason=error)
        ) from error


def _folder(path: Path) -> Path:
    if path.is_dir():
        return path.absolute()
    if path.suffix.lower() == ".gguf":
        raise ModelError(
            tr("{file} is a GGUF model, which cannot be trained; choose its original in safetensors format.").format(
                file=path
            )
        )
    # A file of a model folder stands for the folder: people pick config.json or the weights in file dialogs.
    if path.name == "config.json" or path.suffix == ".safetensors":
        return path.parent.absolute()
    raise ModelError(tr("{file} is not a model folder; choose the folder that has config.json.").format(file=path))
