"""The cache of huggingface_hub, which other programs fill: models that are whole in it need no download."""

from __future__ import annotations

from pathlib import Path

from studio.files import read_json


def find_cached(repository: str) -> Path | None:
    """Return the folder of a model that another program has downloaded, without asking the hub."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except FileNotFoundError:
        return None
    return folder if _is_whole(folder) else None


def _is_whole(folder: Path) -> bool:
    """Whether configuration, tokenizer and every shard are there: a program may have fetched a single file."""
    if not (folder / "config.json").is_file() or not any(folder.glob("tokenizer*")):
        return False
    if (folder / "model.safetensors").is_file():
        return True
    try:
        shards = read_json(folder / "model.safetensors.index.json").get("weight_map")
    except (OSError, ValueError):
        return False
    return isinstance(shards, dict) and all((folder / str(shard)).is_file() for shard in shards.values())
