"""The command line (DESIGN.md 3.1): without a command it opens the window. Nothing heavy is imported here.

Exit status: 0 done; 1 the run or check failed, with one sentence on stderr; 2 wrong arguments or configuration.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Container, Sequence
from functools import partial
from pathlib import Path

from studio import __version__
from studio.commands import (
    chat,
    compare,
    doctor,
    estimate,
    export,
    first_steps,
    hub,
    inspect,
    latency,
    probe,
    resume,
    runs,
    tensorboard,
    train,
    window,
)
from studio.commands.arguments import translate_argparse
from studio.commands.console import Console
from studio.errors import ConfigError, StudioError
from studio.i18n import set_language, terminal_language, tr
from studio.logs import log_to_file

DONE, FAILED, WRONG = 0, 1, 2
NEW_WINDOW = "--new-window"
log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; argparse exits with 2 on wrong arguments."""
    set_language(terminal_language())
    translate_argparse()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character gets an escape in its place, not an error.
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser, commands = _parser()
    flags, rest = ([NEW_WINDOW], given[1:]) if given[:1] == [NEW_WINDOW] else ([], given)
    if _is_file_to_open(rest, commands):
        args = parser.parse_args(flags)
        args.action = partial(window.open_file, rest[0])
    else:
        args = parser.parse_args(given)
        if args.new_window and args.action is not window.open_window:
            parser.error(tr("{option} is for the window alone.").format(option=NEW_WINDOW))
    log_file = log_to_file()
    with Console(as_json=args.json) as console:
        return _attempt(args, console, log_file)


def _attempt(args: argparse.Namespace, console: Console, log_file: Path) -> int:
    try:
        status: int = args.action(args, console)
    except StudioError as error:
        console.failure(str(error))
        return WRONG if isinstance(error, ConfigError) else FAILED
    except KeyboardInterrupt:
        console.failure(tr("Interrupted."))
        return FAILED
    except Exception as error:
        log.exception("The command failed")
        console.failure(
            tr("An unexpected {kind} ended the command; its traceback is in {log}.").format(
                kind=type(error).__name__, log=log_file
            )
        )
        return FAILED
    return status


def _parser() -> tuple[argparse.ArgumentParser, Container[str]]:
    """Return the parser and the names of its commands."""
    parser = argparse.ArgumentParser(
        prog="finetune-studio",
        description=tr(
            "Fine-tune a causal language model. Without a command the window opens; with a path in its place it opens "
            "and shows it: a run folder, a model folder, a configuration (.toml) or a dataset file. A window that is "
            "open already comes to the front."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"Finetune Studio {__version__}")
    parser.add_argument(
        NEW_WINDOW, action="store_true", help=tr("open a window of its own beside the one that is open already")
    )
    parser.set_defaults(action=window.open_window, json=False)
    commands = parser.add_subparsers(title=tr("commands"), metavar=tr("COMMAND"))
    for module in (
        train,
        resume,
        estimate,
        runs,
        compare,
        tensorboard,
        export,
        latency,
        chat,
        probe,
        inspect,
        first_steps,
        hub,
        doctor,
    ):
        module.add_to(commands)
    return parser, commands.choices


def _is_file_to_open(arguments: Sequence[str], commands: Container[str]) -> bool:
    """Return whether the only argument is a path: something is there, or it has a folder or a suffix, as no command."""
    if len(arguments) != 1 or not arguments[0] or arguments[0].startswith("-"):
        return False
    [given] = arguments
    return given not in commands and ("." in given or Path(given).name != given or os.path.lexists(given))
