"""`inspect-model` and `inspect-data`: describe a model or a dataset before training."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from studio.commands.console import Commands, Console, add_command, at_least
from studio.config import DataSource
from studio.engine.models.info import ModelInfo
from studio.i18n import tr, trn
from studio.runner import actions
from studio.text.numbers import count_text, size_text

if TYPE_CHECKING:
    from studio.engine.data.inspect import ColumnInfo, DataInspection
    from studio.engine.inference.behaviour import Behaviour

SUPERVISED_ON_A_TERMINAL = ("\x1b[1;32m", "\x1b[0m")
SUPERVISED_IN_TEXT = ("⟦", "⟧")


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "inspect-model", tr("Base or Chat, with reasons; size; problems"), _model)
    parser.add_argument("model", metavar="DIR", help=tr("a folder in Hugging Face layout, or a hub id"))
    parser.add_argument("--probe", action="store_true", help=tr("load it, and try how it answers and continues text"))
    parser = add_command(commands, "inspect-data", tr("format, counts, problems, and rows as they are taught"), _data)
    parser.add_argument("file", metavar="FILE", help=tr("a JSON, JSONL, CSV, Parquet, YAML or text file, or a hub id"))
    parser.add_argument("--model", metavar="DIR", help=tr("render the rows with this model's template and tokens"))
    parser.add_argument("--rows", type=at_least(0), default=5, metavar="N", help=tr("rows to show (default: 5)"))


def _model(args: argparse.Namespace, console: Console) -> int:
    info = actions.open_model(args.model, console.progress)
    behaviour = actions.try_model(info, console.progress) if args.probe else None
    findings = [finding.words() for finding in behaviour.findings] if behaviour else []
    values = {
        "path": str(info.path),
        "kind": info.kind,
        "reasons": [*info.reasons, *findings],
        "problems": info.problems,
        "architecture": info.architecture,
        "parameters": info.parameters,
        "bytes": info.bytes,
        "dtype": info.dtype,
        "context_length": info.context_length,
        "has_template": info.has_template,
        "eos_token": info.eos_token,
    }
    if behaviour is not None:
        values["behaviour"] = {
            "like": behaviour.like,
            "findings": [{"code": finding.code, **dict(finding.values)} for finding in behaviour.findings],
            "tried": [dataclasses.asdict(tried) for tried in behaviour.tried],
        }
    console.result(values, "\n".join(_model_lines(info, behaviour)))
    return 0


def _model_lines(info: ModelInfo, behaviour: Behaviour | None) -> Iterator[str]:
    kind = tr("Chat model") if info.kind == "chat" else tr("Base model")
    yield _named(kind, info.path)
    yield tr(", ").join((info.architecture, count_text(info.parameters), info.dtype, size_text(info.bytes)))
    findings = [finding.words() for finding in behaviour.findings] if behaviour else []
    yield from _listed(tr("Why:"), (*info.reasons, *findings))
    yield from _listed(tr("Problems:"), info.problems)
    for tried in behaviour.tried if behaviour else ():
        yield tr("Asked: {prompt}").format(prompt=tried.prompt)
        yield tr("Said ({tokens} tokens): {text}").format(tokens=tried.tokens, text=tried.text)


def _data(args: argparse.Namespace, console: Console) -> int:
    info = actions.open_model(args.model, console.progress) if args.model else None
    data = actions.open_data(DataSource(path=args.file), info, rows=args.rows, progress=console.progress)
    values = {
        "format": data.format,
        "rows": data.rows,
        "skipped": data.skipped,
        "reasons": {reason.text(): count for reason, count in data.reasons.items()},
        "problems": [problem.text() for problem in data.problems],
        "unused_columns": list(data.unused_columns),
        "columns": [
            {"name": column.name, "coverage": column.coverage, "field": column.field} for column in data.columns
        ],
        "rendered": [
            dataclasses.asdict(row)
            | {"segments": [{"text": text, "supervised": supervised} for text, supervised in row.segments]}
            for row in data.rendered
        ],
        "findings": [
            {"name": finding.name, "count": finding.count, "rows": finding.rows, "meaning": finding.meaning()}
            for finding in data.findings
        ],
    }
    marks = SUPERVISED_ON_A_TERMINAL if sys.__stdout__ and sys.__stdout__.isatty() else SUPERVISED_IN_TEXT
    console.result(values, "\n".join(_data_lines(data, marks)))
    return 0


def _data_lines(data: DataInspection, marks: tuple[str, str]) -> Iterator[str]:
    yield trn("{format}: {rows} row, {skipped} skipped", "{format}: {rows} rows, {skipped} skipped", data.rows).format(
        format=data.format, rows=data.rows, skipped=data.skipped
    )
    yield from _listed(tr("Skipped:"), (_named(reason.text(), count) for reason, count in data.reasons.items()))
    yield from _listed(tr("Problems:"), (problem.text() for problem in data.problems if not problem.neutral))
    yield from _listed(tr("Notes:"), (problem.text() for problem in data.problems if problem.neutral))
    yield from _listed(tr("Findings:"), (finding.meaning() for finding in data.findings))
    yield from _listed(tr("Columns:"), map(_column_text, data.columns))
    for row in data.rendered:
        words = tr("Row {number}: {tokens} tokens, {supervised} of them taught") if row.tokens else tr("Row {number}")
        yield words.format(number=row.number, tokens=row.tokens, supervised=row.supervised_tokens)
        yield "".join(marks[0] + text + marks[1] if supervised else text for text, supervised in row.segments)


def _column_text(column: ColumnInfo) -> str:
    """Return the name of a column, how full it is, and the field that it is used for."""
    text = tr("{words} ({detail})").format(words=column.name, detail=f"{column.coverage:.0%}")
    return _named(text, column.field) if column.field else text


def _named(name: str, value: object) -> str:
    return tr("{name}: {value}").format(name=name, value=value)


def _listed(title: str, items: Iterable[str]) -> Iterator[str]:
    lines = [f"  {item}" for item in items]
    if lines:
        yield title
        yield from lines
