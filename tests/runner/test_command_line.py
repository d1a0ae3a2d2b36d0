"""The line for a terminal trains with the configuration that it was made of, whatever the names in it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from studio.config import parse_config, read_config
from studio.errors import ConfigError
from studio.runner.command_line import keep_configuration, quoted_for_windows, this_program, train_line

CONFIG = parse_config({"model": {"path": "/models/One & two"}, "data": {"sources": [{"path": "/data/a.jsonl"}]}})
ODD = 'it\'s a "run" $HOME `x` %PATH% & 中文'


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
def test_a_posix_shell_reads_every_word_as_it_is(tmp_path: Path) -> None:
    program = tmp_path / "my program"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    file, runs = tmp_path / f"{ODD}.toml", tmp_path / ODD
    line = train_line(file, runs, program=(str(program),), system="linux")
    told = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()
    assert told == ["train", str(file), "--runs", str(runs)]


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        (r"C:\Users\me\runs", r"C:\Users\me\runs"),
        (r"C:\用户\runs", r"C:\用户\runs"),
        (r"C:\my runs", r'"C:\my runs"'),
        (r"C:\R&D (1)", r'"C:\R&D (1)"'),
        (r"C:\it's", '"C:\\it\'s"'),
        (r"C:\$cash's", r"'C:\$cash''s'"),
        ("C:\\100 %’s", "'C:\\100 %’’s'"),
        ("C:\\say “so”", "'C:\\say “so”'"),
    ],
)
def test_windows_words_are_quoted_for_powershell_and_where_they_can_for_the_command_prompt(
    word: str, quoted: str
) -> None:
    assert quoted_for_windows(word) == quoted


def test_on_windows_a_program_in_quotes_is_called() -> None:
    file, runs = PureWindowsPath(r"C:\a b\c.toml"), PureWindowsPath(r"C:\runs")
    line = train_line(file, runs, program=(r"C:\my apps\finetune-studio.exe",), system="win32")  # type: ignore[arg-type]
    assert line == r'& "C:\my apps\finetune-studio.exe" train "C:\a b\c.toml" --runs C:\runs'
    line = train_line(file, runs, program=("finetune-studio",), system="win32")  # type: ignore[arg-type]
    assert line == r'finetune-studio train "C:\a b\c.toml" --runs C:\runs'


def test_the_line_starts_this_very_program() -> None:
    words = shlex.split(train_line(PurePosixPath("/c.toml"), PurePosixPath("/r"), system="linux"))  # type: ignore[arg-type]
    assert tuple(words[: -len(["train", "c", "--runs", "r"])]) == this_program()
    told = subprocess.run([*this_program(), "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.strip()


def test_the_configuration_is_kept_as_it_is_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path))
    file = keep_configuration(CONFIG)
    assert read_config(file) == CONFIG
    assert file.name.startswith("one-two-lora-")
    assert keep_configuration(CONFIG) == file
    assert len(list(file.parent.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        keep_configuration(CONFIG)
