"""Where the data files that ship with the app are, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

# In the wheel `resources/` lies inside the package, in a checkout beside it (pyproject.toml, force-include).
_CANDIDATES = (Path(__file__).parent / "_resources", Path(__file__).parents[1] / "resources")
_ROOT = next((folder for folder in _CANDIDATES if folder.is_dir()), _CANDIDATES[-1])


def resource(*parts: str) -> Path:
    """Return the path of a shipped data file or folder, such as `resource("samples", "english.jsonl")`."""
    return _ROOT.joinpath(*parts)
