"""Write docs/architectures.md: python -m tests.architectures.table [--processes N] [--rows FILE] [NAME ...]

It takes some twenty minutes of two processes. Rows are kept in FILE as they are found, so that a run that was cut off
goes on. A few names are only printed. What fails is "unexpected" in the table, its traceback printed, and the exit
status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
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
UNEXPECTED = "unexpected"


def find_rows(
    names: tuple[str, ...],
    processes: int,
    kept: Path | None,
    measure: Callable[[str], dict[str, str]] = measure,
    columns: Sequence[str] = (*COLUMNS, MERGED),
) -> dict[str, dict[str, str]]:
    """Return the rows of these architectures; those that are in the file `kept` are not tried again."""
    rows: dict[str, dict[str, str]] = json.loads(kept.read_text()) if kept and kept.exists() else {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(measure, name): name for name in names if name not in rows}
        for future in as_completed(asked):
            name, error = asked[future], future.exception()
            if error is not None:
                traceback.print_exception(error)
            rows[name] = dict.fromkeys(columns, UNEXPECTED) if error else future.result()
            print(name, rows[name], flush=True)
            if kept:
                kept.write_text(json.dumps(rows))
    return rows


def page(rows: dict[str, dict[str, str]]) -> str:
    """Return the page: a table for each group, and the reasons that its numbers stand for."""
    notes: list[str] = []
    parts = [_HEAD.format(version=transformers.__version__)]
    columns = (*COLUMNS, MERGED)
    for title, group in _GROUPS.items():
        parts += [f"## {title}\n", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for name in group:
            cells = []
            for found in rows[name].values():
                is_reason = found.endswith(".")
                if is_reason and found not in notes:
                    notes.append(found)
                cells.append(f"[{notes.index(found) + 1}]" if is_reason else found)
            parts.append(f"| {name} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join([*parts, "## Reasons\n", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = find_rows(tuple(args.names) or ALL, args.processes, args.rows)
    if not args.names:
        PAGE.write_text(page(rows), encoding="utf-8")
    return int(any(UNEXPECTED in found.values() for found in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
