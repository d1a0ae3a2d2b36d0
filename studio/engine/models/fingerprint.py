"""Which weights a run started from: sizes and SHA-256 of the base's files, so that an export notices a changed base."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypedDict

from studio.engine.control import Progress, no_progress


class FilePrint(TypedDict):
    """Size in bytes and SHA-256, in hexadecimal, of one file."""

    bytes: int
    sha256: str


def fingerprint(folder: Path, progress: Progress = no_progress) -> dict[str, FilePrint]:
    """Return the prints of config.json and all safetensors files directly in `folder`, by file name."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("config.json")])
    prints: dict[str, FilePrint] = {}
    for number, file in enumerate(files):
        progress("checking_model", number, len(files))
        prints[file.name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
    return prints


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
