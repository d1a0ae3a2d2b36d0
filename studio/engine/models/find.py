"""From what the user typed or chose to a model folder on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from studio.config.model import HUBS, plain_model
from studio.engine.control import Progress, no_progress
from studio.engine.hub.api import HubError, is_repository_id
from studio.engine.hub.cache import find_cached
from studio.engine.hub.download import download_model
from studio.engine.hub.folders import CACHED, SNAPSHOTS, downloaded
from studio.engine.models.files import model_name, unreadable
from studio.errors import ModelError
from studio.files import expand_user, is_file, read_bytes
from studio.i18n import tr

_NAMED = 4  # models that a sentence names


def resolve_model(path_or_hub_id: str, progress: Progress = no_progress) -> Path:
    """Return the folder of a model: an existing folder, or one downloaded from the hub.

    An address of the hub stands for its model (`plain_model`), and a folder of the hub's cache for the snapshot in it.

    Raises:
        ModelError: there is no such folder, it holds several models, or the hub cannot give such a model.
        Cancelled: by `progress`.
    """
    text = plain_model(path_or_hub_id)
    path = expand_user(text)
    if not text:
        raise ModelError(tr("No model is chosen; give a model folder or a hub id."))
    # Path.exists would raise for a name that is too long, or holds a NUL.
    if os.path.exists(path):  # noqa: PTH110
        return _folder(path)
    if "://" in text or text.partition("/")[0].lower() in HUBS:
        raise ModelError(
            tr(
                "{address} is not the page of a model on the hub, or not of its branch main; "
                "give the model's id, such as owner/name, or the folder that you downloaded it to."
            ).format(address=text)
        )
    if not could_be_hub_id(text):
        raise ModelError(tr("The model folder {folder} does not exist; choose another.").format(folder=text))
    try:
        return downloaded(text) or find_cached(text) or download_model(text, progress)
    except HubError as error:
        raise ModelError(
            tr("There is no folder {model}, and it cannot be downloaded: {reason}.").format(model=text, reason=error)
        ) from error


def could_be_hub_id(text: str) -> bool:
    """Return whether a text may name a model of the hub, and not a place on this computer."""
    is_path = text.startswith((".", "~", "/", "\\")) or "\\" in text or text.count("/") > 1 or text.endswith(os.sep)
    return not is_path and is_repository_id(text)


def _folder(path: Path) -> Path:
    if path.is_dir():
        try:
            return _model_in(path.absolute())
        except OSError as error:
            raise unreadable(path, error) from error
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


def _model_in(folder: Path) -> Path:
    """Return the folder itself, or the snapshot that a folder of the hub's cache stands for."""
    if any(is_file(folder / name) for name in ("config.json", "adapter_config.json", "config.toml")):
        return folder
    if folder.name in (SNAPSHOTS, "blobs", "refs") and folder.parent.name.startswith(CACHED):
        folder = folder.parent
    if folder.name.startswith(CACHED):
        return _snapshot(folder)
    stores = sorted(folder.glob(f"{CACHED}*/")) or sorted(folder.glob(f"hub/{CACHED}*/"))
    if len(stores) == 1:
        return _snapshot(stores[0])
    if stores:
        words = tr("{folder} is the hub's cache and holds {count} models ({names}); give the id of one of them.")
        raise _several(words, folder, [model_name(store) for store in stores])
    models = sorted(file.parent.name for file in folder.glob("*/config.json") if any(file.parent.glob("*.safetensors")))
    if models:
        words = tr("{folder} is not a model, but the folders of models lie in it ({names}); choose one of them.")
        raise _several(words, folder, models)
    return folder


def _several(words: str, folder: Path, names: list[str]) -> ModelError:
    named = tr(", ").join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
    return ModelError(words.format(folder=folder, count=len(names), names=named))


def _snapshot(store: Path) -> Path:
    """Return the snapshot of a model in the hub's cache: that of its branch main, or the only one."""
    snapshots = {file.parent.name: file.parent for file in store.glob(f"{SNAPSHOTS}/*/config.json")}
    main = store / "refs" / "main"
    if is_file(main) and (newest := snapshots.get(read_bytes(main).decode(errors="replace").strip())):
        return newest
    if len(snapshots) == 1:
        return next(iter(snapshots.values()))
    if not snapshots:
        words = tr("{folder} is where the hub's cache keeps {model}, but it is not there; give {model} to download it.")
        raise ModelError(words.format(folder=store, model=model_name(store)))
    words = tr("{folder} holds {count} versions of a model ({names}); choose one of the folders in its snapshots.")
    raise _several(words, store, sorted(snapshots))
