"""`probe`: train a few updates in every precision, compare them and recommend one."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

from studio.commands.console import Commands, Console, add_command, at_least, table_lines
from studio.commands.train import add_config
from studio.config import read_config
from studio.i18n import tr
from studio.runner.probe import DEFAULT_STEPS, ProbeResult, ProbeRow, probe
from studio.text.numbers import NONE, share_text, size_text, speed_text


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "probe", tr("compare the precisions on a few updates, a row per precision"), _probe)
    add_config(parser)
    about = tr("updates per precision (default: 3)")
    parser.add_argument("--steps", type=at_least(1), default=DEFAULT_STEPS, metavar="N", help=about)


def _probe(args: argparse.Namespace, console: Console) -> int:
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
    yield from table_lines([header, *map(_cells, result.rows)], words=(0, len(header) - 1))
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
