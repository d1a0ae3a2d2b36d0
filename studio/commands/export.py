"""`export` writes the model of a run and checks it; `verify` checks an export again. Both can put it on the hub."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.commands.console import Commands, Console, add_command
from studio.engine.export import TARGETS
from studio.errors import ConfigError
from studio.i18n import tr
from studio.runner import actions
from studio.runs import open_run
from studio.text.gguf import created_text, loss_headline

if TYPE_CHECKING:
    from studio.engine.export.certificate import Certificate, Check
    from studio.engine.export.run import ExportResult


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "export", tr("export a run's model and check the export"), _export)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help=tr("the run folder"))
    targets = tr("{targets}; the method decides which of them are possible").format(
        targets=tr(", ").join(TARGETS.names())
    )
    parser.add_argument("--to", required=True, metavar="TARGET", help=targets)
    parser.add_argument("--dtype", default="auto", metavar="D", help=tr("save format (default: the base model's own)"))
    parser.add_argument("--out", type=Path, metavar="PATH", help=tr("folder to write (default: in the run folder)"))
    create = tr("for ollama: also create the model under this name on this computer's Ollama server, and ask it once")
    parser.add_argument("--create", metavar="NAME", help=create)
    _add_push(parser)
    parser = add_command(commands, "verify", tr("check an export again, against its certificate"), _verify)
    parser.add_argument("export", type=Path, metavar="EXPORT_DIR", help=tr("the folder of an export"))
    _add_push(parser)


def _add_push(parser: argparse.ArgumentParser) -> None:
    push = tr("once it has passed, put it into this repository of the hub, which is made where there is none: private")
    parser.add_argument("--push", type=_repository, metavar="OWNER/NAME", help=push)
    parser.add_argument("--public", action="store_true", help=tr("let everybody see what --push sends"))


def _repository(text: str) -> str:
    owner, _, name = text.partition("/")
    if not owner or not name or "/" in name:
        raise argparse.ArgumentTypeError(
            tr("{text} is not the id of a repository, such as owner/name.").format(text=text)
        )
    return text


def _export(args: argparse.Namespace, console: Console) -> int:
    _check_push(args)
    folder = open_run(args.run)
    result = actions.export(folder, args.to, args.dtype, args.out, console.progress)
    if result.restored:
        console.note(result.restored)
    _tell(result.checks, console)
    if not result.passed:
        console.note(tr("The export failed its checks; do not use it."))
    elif loss := loss_headline(result.checks):
        console.note(tr("The file is right. {cost}").format(cost=loss))
    if args.to == "ollama" and result.passed:
        _offer_ollama(result.path, args.create, console)
    path = str(result.path.absolute())
    page = _push(result.path, args, console) if result.passed else {}
    values = {"path": path, "certificate": str(result.certificate.absolute()), **_outcome(result), **page}
    console.result(values, path)
    return 0 if result.passed else 1


def _offer_ollama(folder: Path, name: str | None, console: Console) -> None:
    """Create the model if a name is given; otherwise say how, where a server answers."""
    if name is None:
        if version := actions.find_ollama():
            words = tr("Ollama {version} runs on this computer; create the model with: {command}")
            console.note(words.format(version=version, command=f"ollama create NAME -f {folder / 'Modelfile'}"))
        return
    made = actions.create_in_ollama(folder, name, console.progress)
    console.note(created_text(made.name, made.asked, made.answer, made.expected))


def _verify(args: argparse.Namespace, console: Console) -> int:
    _check_push(args)
    found = actions.verify(args.export, console.progress)
    _tell(found.checks, console)
    words = (
        tr("The export is what was certified.") if found.passed else tr("The export failed its checks; do not use it.")
    )
    page = _push(args.export, args, console) if found.passed else {}
    console.result({**_outcome(found), **page}, words)
    return 0 if found.passed else 1


def _check_push(args: argparse.Namespace) -> None:
    """Say before the work that there is nothing to make public."""
    if args.public and not args.push:
        raise ConfigError(tr("--public is about what --push sends; give --push OWNER/NAME as well."))


def _push(folder: Path, args: argparse.Namespace, console: Console) -> dict[str, str]:
    """Put an export that passed on the hub where that is asked for; return its page."""
    if not args.push:
        return {}
    # Where the hub refuses, the folder is known all the same, for `verify --push`.
    console.note(tr("The export is in {folder}.").format(folder=folder.absolute()))
    page = actions.push_export(folder, args.push, console.progress, private=not args.public)
    console.note(tr("It is on {page}").format(page=page))
    return {"page": page}


def _outcome(found: Certificate | ExportResult) -> dict[str, Any]:
    return {"passed": found.passed, "checks": [dataclasses.asdict(check) for check in found.checks]}


def _tell(checks: Iterable[Check], console: Console) -> None:
    for check in checks:
        console.note(f"{'✓' if check.passed else '✗'} {check.text}")
