"""`probe`: a few updates in every precision, side by side, and which one to take."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from studio.commands.console import Commands, Console, add_command, at_least
from studio.commands.progress import clip
from studio.i18n import tr
from studio.text.numbers import NONE, share_text, size_text, speed_text

if TYPE_CHECKING:
    from studio.runner.probe import ProbeResult, ProbeRow


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(commands, "probe", tr("compare the precisions on a few updates, a row per precision"), _probe)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help=tr("the configuration of the run"))
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        help=tr("replace one setting; may be given several times"),
    )
    parser.add_argument(
        "--steps", type=at_least(1), default=3, metavar="N", help=tr("updates per precision (default: 3)")
    )


def _probe(args: argparse.Namespace, console: Console) -> int:
    from studio.config import read_config
    from studio.runner.probe import probe

    result = probe(read_config(args.config, args.set), args.steps, console.progress)
    values = {
        "rows": [_values(row) for row in result.rows],
        "recommended": result.recommended,
        "reason": result.reason,
        "steps": result.steps,
    }
    if result.recommended is None:
        console.note(result.reason)
        values["error"] = result.reason
    console.result(values, "\n".join(_lines(result)))
    return 1 if result.recommended is None else 0


def _values(row: ProbeRow) -> dict[str, object]:
    return {**dataclasses.asdict(row), "finite": row.finite, "loss_difference": row.loss_difference}


def _lines(result: ProbeResult) -> Iterator[str]:
    header = (
        tr("Precision"),
        tr("Loss vs fp32"),
        tr("Gradient cosine"),
        tr("Lost to zero"),
        tr("Subnormal"),
        tr("Speed"),
        tr("Peak memory"),
        tr("Result"),
    )
    table = [header, *(_cells(row) for row in result.rows)]
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    for cells in table:
        yield _line(cells, widths).rstrip()
    yield ""
    if result.recommended is not None:
        yield tr("Take {precision}. {reason}").format(precision=result.recommended, reason=result.reason)


def _cells(row: ProbeRow) -> tuple[str, ...]:
    return (
        row.precision,
        _share(row.loss_difference),
        NONE if row.gradient_cosine is None else f"{row.gradient_cosine:.5f}",
        _share(row.gradients_lost),
        _share(row.gradients_subnormal),
        NONE if row.tokens_per_second is None else speed_text(row.tokens_per_second),
        NONE if row.peak_memory is None else size_text(row.peak_memory),
        row.sentence,
    )


def _share(value: float | None) -> str:
    return NONE if value is None else share_text(value, 1.0)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The first and the last column are words, the others numbers."""
    last = len(cells) - 1
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        room = " " * (width - _width(cell))
        padded.append(cell + room if place in (0, last) else room + cell)
    return "  ".join(padded)


def _width(text: str) -> int:
    """Columns on a terminal; Chinese characters take two."""
    return clip(text, 10**6)[1]
