"""A configuration as a line for a terminal, which trains with it and needs nothing else."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from pathlib import Path

from studio.config import RunConfig, write_config
from studio.errors import ConfigError
from studio.i18n import tr
from studio.paths import home
from studio.runs import write_atomically

NAME = "finetune-studio"
_PLAIN = re.compile(r"[\w.:\\/=+-]+")
# PowerShell reads these inside double quotes, or takes them for such quotes; the Command Prompt reads %.
_READ_IN_DOUBLE_QUOTES = re.compile(r'[$`%"“”„]')
_SINGLE_QUOTES = re.compile("['‘’‚‛]")


def train_line(file: Path, runs_root: Path, *, program: tuple[str, ...] = (), system: str = sys.platform) -> str:
    """Return the line that trains with a configuration file: for a POSIX shell, or for PowerShell on Windows.

    The Command Prompt of Windows takes it too, unless a path has a character such as $, % or ` in it, or the program's
    own path has a space.

    Args:
        program: what starts this program; found where it is empty.
    """
    words = [*(program or this_program()), "train", str(file), "--runs", str(runs_root)]
    if system != "win32":
        return shlex.join(words)
    line = " ".join(map(quoted_for_windows, words))
    return f"& {line}" if line[0] in "\"'" else line  # a quoted word alone is a text to PowerShell


def this_program() -> tuple[str, ...]:
    """Return what starts this program in a terminal: its name, its path, or Python with its module."""
    installed = Path(sys.executable).with_name(f"{NAME}.exe" if sys.platform == "win32" else NAME)
    if not installed.is_file():
        return (sys.executable, "-m", "studio")
    return (NAME,) if shutil.which(NAME) == str(installed) else (str(installed),)


def quoted_for_windows(word: str) -> str:
    """Return a word that PowerShell, and where it can be the Command Prompt, reads as it is."""
    if _PLAIN.fullmatch(word):
        return word
    if _READ_IN_DOUBLE_QUOTES.search(word):
        return f"'{_SINGLE_QUOTES.sub(lambda found: 2 * found[0], word)}'"
    return f'"{word}"'


def keep_configuration(config: RunConfig) -> Path:
    """Write a configuration into the app's data folder and return the file; an equal one is there already.

    Raises:
        ConfigError: it cannot be written.
    """
    text = write_config(config)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    model = re.sub(r"[^a-z0-9]+", "-", Path(config.model.path).name.lower()).strip("-")[:40] or "model"
    path = home() / "configurations" / f"{model}-{config.method.name}-{digest}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        words = tr("The configuration cannot be written to {path}: {reason}.")
        raise ConfigError(words.format(path=path, reason=error.strerror)) from error
    return path
