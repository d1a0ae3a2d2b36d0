"""Where the user's own files are: runs, models and settings. `FINETUNE_STUDIO_HOME` moves all of them."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

VARIABLE = "FINETUNE_STUDIO_HOME"


def home() -> Path:
    """Return the app's data folder; it need not exist yet."""
    chosen = os.environ.get(VARIABLE, "").strip()
    return Path(chosen).expanduser().absolute() if chosen else user_data_path("finetune-studio", appauthor=False)


def default_runs_root() -> Path:
    """Return where run folders go unless the user chose another place."""
    return home() / "runs"
