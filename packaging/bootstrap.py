"""Set Finetune Studio up on a fresh machine, with the standard library alone.

    python3 packaging/bootstrap.py run         set everything up and open the window
    python3 packaging/bootstrap.py install     the same without the window
    python3 packaging/bootstrap.py test        set everything up and run every check
    python3 packaging/bootstrap.py bundle OUT  gather everything for a computer without network

They make `.venv` beside the project and install the tested versions into it, with the build of torch that uses the
graphics card of this computer (studio/torch_build.py). A second call finds that done and starts at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import bundle
import environment
from programs import SetupError, call, say, script
from system_packages import TEST_PROGRAMS, ensure_system_packages, missing_libraries
from torch_plan import Plan, choose_torch

from studio.i18n import set_language, terminal_language, tr

OLDEST_PYTHON = (3, 11)
PICTURE = "self-test.png"

# Programs of the environment. pytest comes last, so that its summary closes the output. Every test computes on one
# thread, so several processes share the files; the tests of one file share its models.
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("pytest", "--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile"),
)


def main(arguments: list[str] | None = None) -> int:
    set_language(terminal_language())
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character gets an escape
    options = build_parser().parse_args(arguments)
    try:
        require_python(sys.version_info[:2])
        use_network(options.index_url, options.proxy)
        while True:
            try:
                return act(options)
            except environment.DownloadError as error:
                if not ask_for_network(str(error)):
                    raise
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say(tr("Interrupted; the same command goes on from here."))
        return 1


def act(options: argparse.Namespace) -> int:
    """Do what the command asks for; return the exit status."""
    found = bundle.found()
    plan = choose_torch(options.cpu, options.cuda, options.torch_index, found.torch if found else None)
    if options.dry_run:
        say("\n".join(plan.words))
        return 0
    if options.command == "bundle":
        return gather(options.out.absolute(), plan)
    if found:
        bundle.use()
    if options.command == "test":
        return test(plan)
    python = install(plan)
    return open_window(python) if options.command == "run" else 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Set Finetune Studio up in .venv, then open it or check it.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", parents=[shared := shared_options()], help="set everything up and open the window")
    commands.add_parser("install", parents=[shared], help="set everything up, and open nothing")
    commands.add_parser("test", parents=[shared], help="set everything up and run every check")
    offline = commands.add_parser("bundle", parents=[shared], help="gather all for a computer without network")
    offline.add_argument("out", type=Path, metavar="OUT", help="a new folder, or a file that ends in .tar or .zip")
    return parser


def shared_options() -> argparse.ArgumentParser:
    """Return a parser of the options that every command has."""
    parser = argparse.ArgumentParser(add_help=False)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cpu", action="store_true", help="take the small build of torch, which uses no graphics card")
    which.add_argument("--cuda", metavar="VERSION", help="take the build for this version of CUDA: 12.6, 13.0 or 13.2")
    where = "where builds of torch are fetched, a mirror for one (or FINETUNE_STUDIO_TORCH_INDEX)"
    parser.add_argument("--torch-index", metavar="URL", help=where)
    parser.add_argument("--index-url", metavar="URL", help="a mirror of the Python package index (or PIP_INDEX_URL)")
    parser.add_argument("--proxy", metavar="URL", help="the proxy of this network, such as http://host:3128")
    parser.add_argument("--dry-run", action="store_true", help="say which build of torch fits and its size, and stop")
    return parser


def use_network(index: str | None, proxy: str | None) -> None:
    """Let every program that is started from here on use a mirror and a proxy, pip and the hub's library too."""
    if index:
        os.environ["PIP_INDEX_URL"] = index
    if proxy:
        os.environ.update(PIP_PROXY=proxy, HTTPS_PROXY=proxy, HTTP_PROXY=proxy)


def ask_for_network(failure: str) -> bool:
    """Ask the person at the terminal for a mirror or a proxy after a failure; return whether there is one to try."""
    if not sys.stdin.isatty():
        return False
    say(failure)
    index = input(tr("Address of a mirror of the Python package index (Enter: none): ")).strip()
    proxy = input(tr("Address of this network's proxy (Enter: none): ")).strip()
    use_network(index, proxy)
    return bool(index or proxy)


def install(plan: Plan) -> Path:
    """Set up, fetch the starter model and, the first time, train it for some seconds; return the environment's Python.

    The starter is a convenience: without it the window opens all the same and offers to fetch it.
    """
    first = not environment.STAMP.exists()
    python = environment.ensure_environment((), plan)
    aloud = "" if sys.stderr.isatty() else str(environment.VENV)  # a terminal has a progress bar
    if call([str(python), "-m", "studio", "starter"], aloud=aloud) == 0 and first:
        call([str(python), "-m", "studio", "doctor", "--train", str(environment.VENV / PICTURE)], aloud=aloud)
    return python


def open_window(python: Path) -> int:
    """Open the window; return its exit status."""
    if not has_display(sys.platform, dict(os.environ)):
        program = script(environment.VENV, "finetune-studio")
        words = tr("There is no display here to open a window on; train with: {program} train CONFIG.toml")
        raise SetupError(words.format(program=program))
    problem = ensure_system_packages({})
    if problem and missing_libraries():  # without one of them Qt aborts; without a font some words are boxes
        raise SetupError(problem)
    if problem:
        say(problem)
    return call([str(python), "-m", "studio"])


def test(plan: Plan) -> int:
    """Set up with the test tools, run every check even if one fails; return 0 when all passed."""
    environment.ensure_environment(("test",), plan)
    problem = ensure_system_packages(TEST_PROGRAMS)
    if problem:
        say(problem)  # what cannot be checked without says so
    *before, last = CHECKS
    failed = [" ".join(command) for command in before if not check(command)]
    if failed:
        say(f"Failed before pytest: {', '.join(failed)}")
    return 0 if check(last) and not failed else 1


def check(command: tuple[str, ...]) -> bool:
    """Run one check of `CHECKS` under a heading; return whether it passed."""
    say(f"== {' '.join(command)}")
    program, *arguments = command
    return call([str(script(environment.VENV, program)), *arguments]) == 0


def gather(out: Path, plan: Plan) -> int:
    """Make an offline bundle at `out` for computers like this one; say its size and how long it took."""
    began = time.monotonic()
    folder = out.with_suffix("") if out.suffix in bundle.ARCHIVES else out
    if out.exists() or folder.exists():
        words = tr("There is something at {path} already; name a new place.")
        raise SetupError(words.format(path=out if out.exists() else folder))
    say("\n".join(plan.words))
    folder.mkdir(parents=True)
    try:
        environment.download(folder / bundle.WHEELS, plan)
        made = bundle.finish(folder, plan.build.tag)
        size = bundle.size(folder)
        if folder != out:
            bundle.pack(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    words = tr("{path}: {wheels} wheels, {size} GB, for {computer}; {seconds} s.")
    seconds = f"{time.monotonic() - began:.0f}"
    say(
        words.format(
            path=out, wheels=len(made.wheels), size=f"{size / 1e9:.2f}", computer=made.computer, seconds=seconds
        )
    )
    say(tr("On the other computer: {command}").format(command="python3 packaging/bootstrap.py run"))
    return 0


def require_python(version: tuple[int, ...]) -> None:
    if tuple(version) < OLDEST_PYTHON:
        oldest, found = (".".join(map(str, numbers)) for numbers in (OLDEST_PYTHON, version))
        words = tr("Finetune Studio needs Python {oldest} or later, and this is {found}; install a later one.")
        raise SetupError(words.format(oldest=oldest, found=found))


def has_display(platform: str, variables: dict[str, str]) -> bool:
    if platform in ("win32", "darwin"):
        return True
    return any(variables.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


if __name__ == "__main__":
    sys.exit(main())
