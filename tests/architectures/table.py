"""Write docs/architectures.md: python -m tests.architectures.table [NAME ...] (a few names are only printed)."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import transformers

from tests.architectures.measure import COLUMNS, MERGED, measure
from tests.architectures.models import ALL, DENSE, MIXTURES, PACKAGED, STATES

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
_GROUPS = {
    "Dense models": DENSE,
    "Mixtures of experts": MIXTURES,
    "State-space and hybrid models": STATES,
    "Packaged with vision (the text part is trained)": PACKAGED,
}
_HEAD = """# Architectures

Every method on a tiny random model of each architecture, as transformers {version} makes it. A cell says "yes" when
the numbers of parameters that are announced, trained and saved agree, and a step on a processor works; for "merged",
when plain transformers answers as the trained model did, within 1e-4. A number stands for the reason that the app
gives before anything is loaded. `python -m tests.architectures.table` writes this page.
"""


def page() -> str:
    """Try everything; return the page."""
    notes: list[str] = []
    parts = [_HEAD.format(version=transformers.__version__)]
    columns = (*COLUMNS, MERGED)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = dict(zip(ALL, pool.map(measure, ALL), strict=True))
    for title, group in _GROUPS.items():
        parts += [f"## {title}\n", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for name in group:
            cells = []
            for found in rows[name].values():
                if len(found) > 3 and found not in notes:
                    notes.append(found)
                cells.append(f"[{notes.index(found) + 1}]" if len(found) > 3 else found)
            parts.append(f"| {name} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join([*parts, "## Reasons\n", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]) + "\n"


if __name__ == "__main__":
    if sys.argv[1:]:
        for asked in sys.argv[1:]:
            print(asked, measure(asked))
    else:
        PAGE.write_text(page(), encoding="utf-8")
