"""`estimate`: what a configuration will need, or what every method would, before anything is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from studio.commands.console import Commands, Console, add_command
from studio.commands.train import add_config
from studio.i18n import tr
from studio.text.numbers import count_text, share_text, size_text
from studio.text.words import component_text

if TYPE_CHECKING:
    from studio.engine.methods import Method
    from studio.runner.actions import Estimate, MethodRow


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    about = tr("memory by component, trainable parameters, size of the result, merging and exports")
    parser = add_command(commands, "estimate", about, _estimate)
    add_config(parser)
    parser.add_argument("--methods", action="store_true", help=tr("compare all methods for the model, a row each"))


def _estimate(args: argparse.Namespace, console: Console) -> int:
    from studio.config import read_config
    from studio.engine.methods import METHODS
    from studio.runner import actions

    config = read_config(args.config, args.set)
    info = actions.open_model(config.model.path, console.progress)
    method = METHODS.get(config.method.name)
    needs = actions.estimate(info, config)
    values = _estimate_values(needs) | _method_values(method)
    lines = [*_component_lines(needs), *_method_lines(method, needs)]
    if args.methods:
        rows = actions.compare_methods(info, config)
        values["methods"] = [_row_values(row) for row in rows]
        lines += ["", *_table_lines(rows)]
    console.result(values, "\n".join(lines))
    return 0


def _estimate_values(needs: Estimate) -> dict[str, Any]:
    return {
        "trainable_parameters": needs.trainable_parameters,
        "total_parameters": needs.total_parameters,
        "patch_bytes": needs.patch_bytes,
        "bytes": needs.bytes,
        "total_bytes": needs.total_bytes,
        "available_bytes": needs.available_bytes,
    }


def _method_values(method: Method) -> dict[str, Any]:
    from studio.runner import actions

    return {
        "method": method.name,
        "mergeable": method.mergeable,
        "cost_in_use": tr(method.cost_in_use),
        "exports": [target.name for target in actions.exports_of(method)],
    }


def _row_values(row: MethodRow) -> dict[str, Any]:
    from studio.engine.methods import METHODS

    known = _estimate_values(row.estimate) if row.estimate else {"error": row.problem}
    return _method_values(METHODS.get(row.name)) | known


def _component_lines(needs: Estimate) -> Iterator[str]:
    for name, size in needs.bytes.items():
        if size == 0:
            continue
        yield f"{component_text(name):<26}{size_text(size):>10}"
    yield tr("{total} of {available} available; {trainable} of {parameters} parameters are trained").format(
        total=size_text(needs.total_bytes),
        available=size_text(needs.available_bytes),
        trainable=count_text(needs.trainable_parameters),
        parameters=count_text(needs.total_parameters),
    )


def _method_lines(method: Method, needs: Estimate) -> Iterator[str]:
    from studio.runner.method_words import exports_text, unmergeable_text

    yield tr("Saved patch: {size}").format(size=size_text(needs.patch_bytes))
    yield tr("Cost in use: {cost}").format(cost=tr(method.cost_in_use))
    yield unmergeable_text(method) or tr("Exports: {exports}").format(exports=exports_text(method))


def _table_lines(rows: tuple[MethodRow, ...]) -> Iterator[str]:
    """A line for each method: name, trained and their share, saved patch, memory, merging, exports."""
    from studio.engine.methods import METHODS
    from studio.runner.method_words import exports_text, merging_text

    width = max(len(row.name) for row in rows) + 2
    columns = (tr("trained"), tr("share"), tr("patch"), tr("memory"))
    yield " " * width + "".join(f"{title:>10}" for title in columns) + f"  {tr('merges'):<12}{tr('exports')}"
    for row in rows:
        if row.estimate is None:
            yield f"{row.name:<{width}}{row.problem}"
            continue
        needs, method = row.estimate, METHODS.get(row.name)
        figures = (
            count_text(needs.trainable_parameters),
            share_text(needs.trainable_parameters, needs.total_parameters),
            size_text(needs.patch_bytes),
            size_text(needs.total_bytes),
        )
        cells = "".join(f"{figure:>10}" for figure in figures)
        yield f"{row.name:<{width}}{cells}  {merging_text(method)[0]:<12}{exports_text(method)}"
