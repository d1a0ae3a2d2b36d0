"""The app's log: what went wrong for reasons that a user cannot mend, with tracebacks, in one file."""

from __future__ import annotations

import logging
import logging.handlers
import os
import tempfile
from pathlib import Path

from studio.paths import home

LARGEST = 1_000_000  # bytes; one older file of that size is kept

# Read by the libraries when they are imported: what they would print belongs to our own progress and messages.
_SILENCE = {
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def log_to_file() -> Path:
    """Send all logging and warnings to the log file, and silence the libraries' own output; return the file.

    The file appears with its first line. It lies in the app's data folder, or in the system's temporary folder
    where that cannot be written.
    """
    for variable, value in _SILENCE.items():
        os.environ.setdefault(variable, value)
    path = log_folder() / "studio.log"
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LARGEST, backupCount=1, encoding="utf-8", delay=True, errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    return path


def log_folder() -> Path:
    """Return where the log is: in the app's data folder, or for temporary files where that cannot be written."""
    folder = home() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir())
    return folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir())
