"""The files of a model folder: found and read without ever being led out of it, or into something endless."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypedDict

from studio.engine.control import Progress, no_progress
from studio.engine.hub.folders import CACHED, SNAPSHOTS, repository_of
from studio.errors import ModelError
from studio.files import MAX_JSON_BYTES, is_file, name_problem, open_regular
from studio.files import read_json as read_object
from studio.i18n import gettext_noop, tr

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs"  # how a pointer of Git LFS begins
GENERATION_CONFIG = "generation_config.json"
# A model's tokenizer and chat template; further templates stand in a folder of their own.
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "chat_template.jinja",
    "chat_template.json",
)  # fmt: skip
# What belongs to a model besides its weights and its configuration.
BELONGINGS = (GENERATION_CONFIG, *TOKENIZER_FILES)
# The largest config.json that is known has a tenth of that, and the largest tokenizer.json 40 MB.
_MOST_BYTES = {"config.json": 1 << 22, "tokenizer.json": 1 << 27}
# What files with the terms of a model are called, and how they end; none of these endings is of a program.
_TERMS = ("license", "licence", "notice", "copying", "use_policy")
_TERMS_ENDINGS = ("", ".txt", ".md", ".pdf")
# Weights that are not read, by the endings of their files.
_OTHER_WEIGHTS = {
    (".gguf",): gettext_noop(
        "{folder} holds a GGUF model, which cannot be trained; choose its original in safetensors format."
    ),
    (".bin", ".pt", ".pth", ".ckpt"): gettext_noop(
        "{folder} has its weights only as pickled files, which can run code when opened and are never "
        "loaded; choose a version of the model with safetensors files."
    ),
    (".onnx", ".h5", ".msgpack", ".tflite"): gettext_noop(
        "{folder} has its weights only for another library (ONNX, TensorFlow or Flax); "
        "choose a version of the model with safetensors files."
    ),
}


def one_line(error: Exception) -> str:
    """Return an error of another library as part of a sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def damaged(path: Path, reason: str) -> ModelError:
    """Return the error for a file that is not what it should be."""
    words = tr("{file} in {folder} is damaged ({reason}); download the model again.")
    return ModelError(name_problem(path) or words.format(file=path.name, folder=path.parent, reason=reason))


def model_name(folder: Path) -> str:
    """Return how a model is called: its id, such as `owner/name`, where it was downloaded, or its folder's name."""
    if repository := repository_of(folder):
        return repository
    store = folder.parents[1] if folder.parent.name == SNAPSHOTS else folder
    return store.name.removeprefix(CACHED).replace("--", "/") if store.name.startswith(CACHED) else folder.name


def check_fetched(path: Path) -> None:
    """Raise `ModelError` where a pointer of Git LFS stands in place of a file."""
    with open_regular(path) as file:
        if file.read(len(_POINTER)) != _POINTER:
            return
    raise ModelError(
        tr(
            "{file} in {folder} is a pointer of Git LFS, and the file itself was not fetched; "
            "run git lfs pull in that folder, or download the model again."
        ).format(file=path.name, folder=path.parent)
    )


def member(folder: Path, name: str, below: str = "") -> Path | None:
    """Return the regular file `name` of a model folder, or None when there is none.

    Args:
        below: the folder in it where the file stands.

    Raises:
        ModelError: `name` is not a bare file name, or a link that leaves the folder. The hub's cache is one
            folder in this sense: there the files are links into a store beside the snapshot.
    """
    path = folder / below / name
    if not name or name in (".", "..") or Path(name).name != name or "\\" in name:
        raise _leaves(folder, name)
    if not is_file(path):
        return None
    root = folder.parents[1] if folder.parent.name == SNAPSHOTS else folder
    if not path.resolve().is_relative_to(root.resolve()):
        raise _leaves(folder, name)
    return path


def read_json(folder: Path, name: str) -> dict[str, Any] | None:
    """Return a JSON object of the folder, or None when there is no such file. Raises `ModelError`."""
    path = member(folder, name)
    if path is None:
        return None
    try:
        check_fetched(path)
        most = _MOST_BYTES.get(name, MAX_JSON_BYTES)
        if path.stat().st_size > most:
            raise damaged(path, tr("it is far too long"))
        return read_object(path, most)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise damaged(path, tr("it is not valid JSON: {error}").format(error=str(error)[:200])) from error


def unreadable(path: Path, error: OSError) -> ModelError:
    """Return the error for a file that the system will not read."""
    return ModelError(
        tr("{path} cannot be read: {reason}; check the drive and the permissions.").format(
            path=path, reason=error.strerror or error
        )
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model, one or all its shards.

    Raises:
        ModelError: there are none, a shard is missing, or the index names a file outside the folder.
    """
    if single := member(folder, WEIGHTS):
        return [single]
    index = read_json(folder, INDEX)
    if index is None:
        raise _without_weights(folder)
    names = index.get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise damaged(folder / INDEX, tr("it lists no shards"))
    return [_shard(folder, name) for name in sorted(set(names.values()))]


def terms_files(folder: Path) -> list[Path]:
    """Return the licence and the notices of a model, which go along wherever its weights go. Raises `ModelError`."""
    names = sorted(file.name for file in folder.iterdir() if file.name.lower().startswith(_TERMS))
    found = (member(folder, name) for name in names if Path(name).suffix.lower() in _TERMS_ENDINGS)
    return [file for file in found if file]


def _shard(folder: Path, name: str) -> Path:
    if path := member(folder, name):
        if not name.endswith(".safetensors"):
            raise _without_weights(folder)
        return path
    raise ModelError(
        tr("The weight file {file} is missing from {folder}; download the model again.").format(
            file=name, folder=folder
        )
    )


def _without_weights(folder: Path) -> ModelError:
    if error := other_weights(folder):
        return error
    words = tr("{folder} has no weights (model.safetensors); download the model again.")
    if any(folder.glob("*.safetensors")):
        words = tr(
            "{folder} has safetensors files, but neither model.safetensors nor the index of its shards "
            "(model.safetensors.index.json); download the model again."
        )
    return ModelError(words.format(folder=folder))


def other_weights(folder: Path) -> ModelError | None:
    """Return the error for a folder whose weights are in a format that cannot be trained; None where there are none."""
    for endings, words in _OTHER_WEIGHTS.items():
        if any(path.suffix.lower() in endings for path in folder.iterdir()):
            return ModelError(tr(words).format(folder=folder))
    return None


def _leaves(folder: Path, name: str) -> ModelError:
    return ModelError(
        tr("{folder} refers to a file outside itself ({file}); do not use this model.").format(folder=folder, file=name)
    )


class FilePrint(TypedDict):
    """Size in bytes and SHA-256, in hexadecimal, of one file."""

    bytes: int
    sha256: str


def fingerprint(folder: Path, progress: Progress = no_progress) -> dict[str, FilePrint]:
    """Return the prints of config.json and all safetensors files directly in `folder`, by file name."""
    files = sorted(filter(is_file, [*folder.glob("*.safetensors"), *folder.glob("config.json")]))
    prints: dict[str, FilePrint] = {}
    for number, file in enumerate(files):
        progress("checking_model", number, len(files))
        prints[file.name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
    return prints


def belongings(folder: Path) -> dict[str, FilePrint]:
    """Return the prints of tokenizer, chat templates and generation config of a model, by file name."""
    files = [*(folder / name for name in BELONGINGS), *folder.glob("additional_chat_templates/*.jinja")]
    return {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(files)
        if is_file(file)
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
