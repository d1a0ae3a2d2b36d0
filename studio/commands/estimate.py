"""`estimate`: the memory and parameters of a configuration, or of every method. No weights are loaded."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from typing import Any

from studio.commands.console import Commands, Console, add_command, at_least, table_lines
from studio.commands.train import add_config
from studio.config import read_config
from studio.engine.methods import METHODS, Method
from studio.i18n import tr
from studio.runner import actions
from studio.runner.actions import Estimate, MethodRow
from studio.runner.memory_words import choices_text, remedy_text, row_length_text, taken_text
from studio.runner.words import exports_text, merging_text, unmergeable_text
from studio.text.numbers import count_text, share_text, size_text
from studio.text.words import component_text


def add_to(commands: Commands) -> None:
    about = tr("memory by component, trainable parameters, size of the result, merging and exports")
    parser = add_command(commands, "estimate", about, _estimate)
    add_config(parser)
    parser.add_argument(
        "--gpu-memory",
        type=_gigabytes,
        metavar="GB",
        help=tr("answer for an NVIDIA GPU of this size, on any machine"),
    )
    about_gpus = tr("answer for one of so many GPUs that train together")
    parser.add_argument("--gpus", type=at_least(1), default=1, metavar="N", help=about_gpus)
    parser.add_argument("--methods", action="store_true", help=tr("compare all methods for the model, a row each"))


def _estimate(args: argparse.Namespace, console: Console) -> int:
    config = read_config(args.config, args.set)
    info = actions.open_model(config.model.path, console.progress)
    method = METHODS.get(config.method.name)
    place = actions.gpu_of(args.gpu_memory, args.gpus) if args.gpu_memory else actions.place_of(config, args.gpus)
    needs = actions.estimate(info, config, place)
    values = _values(needs) | _method_values(method)
    lines = [
        *_component_lines(needs),
        *_fit_lines(needs, imagined=bool(args.gpu_memory)),
        tr("Saved patch: {size}").format(size=size_text(needs.patch_bytes)),
        tr("Cost in use: {cost}").format(cost=tr(method.cost_in_use)),
        unmergeable_text(method) or tr("Exports: {exports}").format(exports=exports_text(method)),
    ]
    if args.methods:
        rows = actions.compare_methods(info, config, place=place)
        values["methods"] = [
            _method_values(METHODS.get(row.name)) | (_values(row.estimate) if row.estimate else {"error": row.problem})
            for row in rows
        ]
        lines += ["", *_table_lines(rows)]
    console.result(values, "\n".join(lines))
    return 0


def _values(needs: Estimate) -> dict[str, Any]:
    return dataclasses.asdict(needs) | {"fits": needs.fits}


def _method_values(method: Method) -> dict[str, Any]:
    return {
        "method": method.name,
        "mergeable": method.mergeable,
        "cost_in_use": tr(method.cost_in_use),
        "exports": [target.name for target in actions.exports_of(method)],
    }


def _component_lines(needs: Estimate) -> Iterator[str]:
    shown = [(component_text(name), size_text(size)) for name, size in needs.bytes.items() if size]
    yield from table_lines(shown)
    yield tr("{total} of {available} available; {trainable} of {parameters} parameters are trained").format(
        total=size_text(needs.total_bytes),
        available=size_text(needs.available_bytes),
        trainable=count_text(needs.trainable_parameters),
        parameters=count_text(needs.total_parameters),
    )


def _fit_lines(needs: Estimate, *, imagined: bool) -> Iterator[str]:
    """Whether it fits, the choices made for it, what other programs hold, and what would make it fit."""
    yield (tr("It fits: {how}") if needs.fits else tr("It does not fit: {how}")).format(how=choices_text(needs))
    if imagined:
        reserve = size_text(needs.device_bytes - needs.available_bytes)
        yield tr("For an NVIDIA GPU with bf16; {size} of it are left to CUDA and the gaps.").format(size=reserve)
    elif taken := taken_text(needs):
        yield taken
    if length := row_length_text(needs):
        yield length
    for remedy in needs.remedies:
        options = " ".join(f"--set {key}={value}" for key, value in remedy.overrides.items())
        yield f"  {remedy_text(remedy)}  ({options})"


def _gigabytes(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < 1e6:
        raise argparse.ArgumentTypeError(tr("{text} is not a size in GB, such as 24").format(text=text))
    return size


def _table_lines(rows: tuple[MethodRow, ...]) -> Iterator[str]:
    """One line per method: name, trained parameters and their share, saved patch, memory, merging, exports."""
    header = ("", tr("trained"), tr("share"), tr("patch"), tr("memory"), tr("merges"), tr("exports"))
    cells = [(row.name, *_figures(row.name, row.estimate)) for row in rows if row.estimate is not None]
    lines = table_lines((header, *cells), words=(0, 5, 6))
    yield next(lines)
    for row in rows:
        yield f"{row.name}  {row.problem}" if row.estimate is None else next(lines)


def _figures(name: str, needs: Estimate) -> tuple[str, ...]:
    method = METHODS.get(name)
    return (
        count_text(needs.trainable_parameters),
        share_text(needs.trainable_parameters, needs.total_parameters),
        size_text(needs.patch_bytes),
        size_text(needs.total_bytes),
        merging_text(method)[0],
        exports_text(method),
    )
