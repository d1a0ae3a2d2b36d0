"""`search` and `download`: models of a hub, and whether they can be trained here."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from studio.commands.console import Commands, Console, add_command, at_least, table_lines
from studio.i18n import tr
from studio.runner import actions
from studio.text import numbers
from studio.text.hub import access_text, licence_text, outlook_text
from studio.text.numbers import count_text, size_text, whole
from studio.text.transfer import TransferRate

if TYPE_CHECKING:
    from studio.engine.estimate.unseen import Outlook
    from studio.runner.actions import Found, Kind


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "search", tr("search the hub for models, or for datasets"), _search)
    parser.add_argument("words", nargs="*", metavar="WORDS", help=tr("words of the name; none: the most downloaded"))
    parser.add_argument("--datasets", action="store_true", help=tr("search datasets"))
    parser.add_argument("--limit", type=at_least(1), default=10, metavar="N", help=tr("how many at most (10)"))
    _add_hub(parser)
    parser.add_argument("--quick", action="store_true", help=tr("do not compute which of them fit this machine"))
    about = tr("download a model of the hub, going on where an earlier attempt broke off, and print its folder")
    parser = add_command(commands, "download", about, _download)
    parser.add_argument("id", metavar="ID", help=tr("its id, such as owner/name, or the address of its page"))
    _add_hub(parser)
    parser.add_argument("--discard", action="store_true", help=tr("remove what an attempt that broke off has left"))


def _add_hub(parser: argparse.ArgumentParser) -> None:
    about = tr("the hub that models come from; else that of the variable FINETUNE_STUDIO_HUB, else huggingface")
    parser.add_argument("--from", dest="hub", choices=tuple(actions.HUBS), help=about)


def _search(args: argparse.Namespace, console: Console) -> int:
    _choose_hub(args)
    kind: Kind = "dataset" if args.datasets else "model"
    found = actions.search_hub(" ".join(args.words), kind, args.limit, console.progress)
    told: dict[str, Outlook] = {}
    if kind == "model" and found and not args.quick:
        actions.outlooks(found, told.__setitem__, console.progress)
    results = [dataclasses.asdict(one) | {"outlook": _values(told.get(one.id))} for one in found]
    nothing = tr("Nothing was found.")
    if args.datasets:
        lines = list(table_lines(_dataset_rows(found), (0, 2, 3)))
    else:
        lines = [*table_lines(_model_rows(found, told), (0, 3, 4, 7)), *_reasons(told)]
    console.result({"results": results}, "\n".join(lines) if found else nothing)
    return 0


def _choose_hub(args: argparse.Namespace) -> None:
    if args.hub:
        actions.choose_hub(args.hub)


def _reasons(told: Mapping[str, Outlook]) -> list[str]:
    """Return why models cannot be trained here, or why that is not known, below an empty line."""
    reasons = [f"{name}: {one.problem or one.unknown}" for name, one in told.items() if one.problem or one.unknown]
    return ["", *reasons] if reasons else []


def _values(outlook: Outlook | None) -> dict[str, object] | None:
    return None if outlook is None else dataclasses.asdict(outlook)


def _model_rows(found: Sequence[Found], told: Mapping[str, Outlook]) -> list[list[str]]:
    head = [tr("model"), tr("parameters"), tr("size"), tr("licence"), tr("access"), tr("downloads"), tr("updated")]
    rows = [[*head, tr("here")] if told else head]
    for one in found:
        parameters = count_text(one.parameters) if one.parameters else numbers.NONE
        size = size_text(one.bytes) if one.bytes else numbers.NONE
        rows.append([one.id, parameters, size, *_common(one)])
        if told:
            rows[-1].append(outlook_text(told[one.id]))
    return rows


def _dataset_rows(found: Sequence[Found]) -> list[list[str]]:
    head = [tr("dataset"), tr("rows"), tr("licence"), tr("access"), tr("downloads"), tr("updated")]
    return [head, *([one.id, one.rows or numbers.NONE, *_common(one)] for one in found)]


def _common(one: Found) -> list[str]:
    return [licence_text(one.licence), access_text(gated=one.gated), whole(one.downloads), one.updated or numbers.NONE]


def _download(args: argparse.Namespace, console: Console) -> int:
    if args.discard:
        actions.discard_download(args.id)
        console.result({"path": None}, tr("Nothing is left of it."))
        return 0
    _choose_hub(args)
    rate = TransferRate()

    def progress(stage: str, done: int, total: int) -> None:
        words = rate.text(done, total) if stage == "downloading" else ""
        console.progress(stage, done, total, *filter(None, [words]))

    path = str(actions.download(args.id, progress))
    console.result({"path": path}, path)
    return 0
