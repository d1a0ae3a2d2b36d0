"""Where files are: the data that ships with the app, and the user's own runs, models and settings."""

from __future__ import annotations

import os
from pathlib import Path

# In the wheel `resources/` lies inside the package, in a checkout beside it (pyproject.toml, force-include).
_CANDIDATES = (Path(__file__).parent / "_resources", Path(__file__).parents[1] / "resources")
_ROOT = next((folder for folder in _CANDIDATES if folder.is_dir()), _CANDIDATES[-1])


def resource(*parts: str) -> Path:
    """Return the path of a shipped data file or folder, such as `resource("samples", "english.jsonl")`."""
    return _ROOT.joinpath(*parts)


VARIABLE = "FINETUNE_STUDIO_HOME"


def home() -> Path:
    """Return the app's data folder; it need not exist yet."""
    from platformdirs import user_data_path  # not above: the set-up script reads this module before it is installed

    chosen = os.environ.get(VARIABLE, "").strip()
    return Path(chosen).expanduser().absolute() if chosen else user_data_path("finetune-studio", appauthor=False)


def default_runs_root() -> Path:
    """Return where run folders go unless the user chose another place."""
    return home() / "runs"
