"""What a path is that was dropped, or named on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.runner.opening import Kind, opening_words, together, what_opens


def _made(root: Path, kind: Kind, name: str) -> Path:
    path = root / name
    if kind in ("run", "model"):
        path.mkdir()
        (path / ("state.json" if kind == "run" else "config.json")).write_text("{}")
    else:
        path.write_text("")
    return path


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("run", "one.toml", "Show the run one.toml"),
        ("model", "Smol LM", "Take Smol LM as the model"),
        ("configuration", "own.TOML", "Take the configuration of own.TOML"),
        ("data", "rows.jsonl", "Add rows.jsonl to the data"),
        ("data", "no suffix", "Add no suffix to the data"),
    ],
)
def test_a_path_is_known_by_what_stands_there(tmp_path: Path, kind: Kind, name: str, words: str) -> None:
    found = what_opens(_made(tmp_path, kind, name))
    assert (found.kind, found.path) == (kind, tmp_path / name)
    assert opening_words([found]) == words


def test_several_data_files_are_one_sentence(tmp_path: Path) -> None:
    paths = [_made(tmp_path, "data", f"{number}.csv") for number in range(3)]
    assert opening_words(together(paths)) == "Add 3 files to the data"


@pytest.mark.parametrize("kind", ["run", "model", "configuration"])
def test_only_one_of_a_kind_can_be_opened(tmp_path: Path, kind: Kind) -> None:
    paths = [_made(tmp_path, kind, f"{number}.toml") for number in range(2)]
    with pytest.raises(StudioError, match=r"only one|Only one"):
        together(paths)


def _fifo(root: Path) -> Path:
    os.mkfifo(root / "pipe.jsonl")
    return root / "pipe.jsonl"


def _folder(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


def _folder_with_a_fifo(root: Path) -> Path:
    folder = _folder(root)
    os.mkfifo(folder / "state.json")
    return folder


def _dangling(root: Path) -> Path:
    (root / "link").symlink_to(root / "nowhere")
    return root / "link"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: root / "missing.toml", "There is no "),
        (lambda root: root / ("n" * 5000), "There is no "),
        (lambda root: f"{root}/a\0b", "There is no "),
        (lambda root: root / "\udcff", "There is no "),
        (_fifo, "is no regular file"),
        (lambda _: "/dev/zero", "is no regular file"),
        (_dangling, "is no regular file"),
        (_folder, "is neither a run nor a model"),
        (_folder_with_a_fifo, "is neither a run nor a model"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_a_sentence(tmp_path: Path, make: object, sentence: str) -> None:
    with pytest.raises(StudioError) as refusal:
        what_opens(make(tmp_path))  # type: ignore[operator]
    assert sentence in str(refusal.value)
    assert "\0" not in str(refusal.value)
