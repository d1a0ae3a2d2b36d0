"""Two commands for a fresh machine, with the standard library alone.

    python3 packaging/bootstrap.py run     set everything up and open the window
    python3 packaging/bootstrap.py test    set everything up and run every check

Both make `.venv` beside the project and install the tested versions into it, with the build of torch that uses the
graphics card of this computer (studio/torch_build.py). A second call finds that done and starts at once.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.cards import Machine
    from studio.torch_build import Build, Choice

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
LOCKED = ROOT / "packaging" / "locked"  # written by lock.py: the same versions with the sums of their files
LOCKED_CUDA = "cu130"  # the build of torch whose libraries are in `LOCKED`, for it is the one that PyPI has
STAMP = VENV / "installed.json"

PATIENCE = 4.0  # seconds without a word of pip before its progress is told
OTHER_DOWNLOAD = 250_000_000  # bytes, measured: everything but torch and what comes with it

# What Qt's wheels take from the system on Linux: the library's file name, and its package in Debian and Ubuntu.
QT_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
# The languages that the window speaks: what fontconfig calls each, and a package with a font that can write it.
FONTS = {"English": ("en", "fonts-dejavu-core"), "Chinese": ("zh-cn", "fonts-noto-cjk")}
# Programs that only the tests use: a screen that exists in memory alone.
TEST_PROGRAMS = {"Xvfb": "xvfb"}

# Programs of the environment. pytest comes last, so that its summary closes the output. Every test computes on one
# thread, so several processes share the files; the tests of one file share its models.
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("pytest", "--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile"),
)


class SetupError(Exception):
    """Why the set-up cannot go on: one sentence for the user."""


@dataclass(frozen=True)
class Plan:
    """The build of torch that is to be installed, from where, and what is said before.

    `certain` is false where a card does not answer: what is installed then stays until it does.
    """

    build: Build
    index: str
    words: tuple[str, ...] = ()
    certain: bool = True

    @property
    def extras(self) -> tuple[str, ...]:
        """What an NVIDIA card needs beside torch."""
        return ("gpu",) if self.build.tag.startswith("cu") else ()


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        require_python(sys.version_info[:2])
        plan = choose_torch(options.cpu, options.cuda, options.torch_index)
        if options.dry_run:
            say("\n".join(plan.words))
            return 0
        return run(plan) if options.command == "run" else test(plan)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted; the same command goes on from here.")
        return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Set Finetune Studio up in .venv, then open it or check it.")
    parser.add_argument("command", choices=("run", "test"))
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cpu", action="store_true", help="take the small build of torch, which uses no graphics card")
    which.add_argument("--cuda", metavar="VERSION", help="take the build for this version of CUDA: 12.6, 13.0 or 13.2")
    where = "where builds of torch are fetched, a mirror for one (or FINETUNE_STUDIO_TORCH_INDEX)"
    parser.add_argument("--torch-index", metavar="URL", help=where)
    parser.add_argument("--dry-run", action="store_true", help="say which build of torch fits and its size, and stop")
    return parser


def run(plan: Plan) -> int:
    """Set up, fetch the starter model, open the window; return the window's exit status."""
    python = ensure_environment((), plan)
    # The starter is a convenience: without it the window opens all the same and offers to fetch it.
    call([str(python), "-m", "studio", "starter"])
    if not has_display(sys.platform, dict(os.environ)):
        program = script(VENV, "finetune-studio", sys.platform)
        raise SetupError(f"There is no display here to open a window on; train with: {program} train CONFIG.toml")
    problem = ensure_system_packages({})
    if problem and missing_libraries():  # without one of them Qt aborts; without a font some words are boxes
        raise SetupError(problem)
    if problem:
        say(problem)
    return call([str(python), "-m", "studio"])


def test(plan: Plan) -> int:
    """Set up with the test tools, run every check even if one fails; return 0 when all passed."""
    ensure_environment(("test",), plan)
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
    return call([str(script(VENV, program, sys.platform)), *arguments]) == 0


def require_python(version: tuple[int, ...]) -> None:
    if tuple(version) < OLDEST_PYTHON:
        oldest, found = (".".join(map(str, numbers)) for numbers in (OLDEST_PYTHON, version))
        raise SetupError(f"Finetune Studio needs Python {oldest} or later, and this is {found}; install a later one.")


# --- which torch -------------------------------------------------------------------------------------------------


def choose_torch(cpu: bool, cuda: str | None, index: str | None) -> Plan:
    """Look at this computer and decide; `cpu` and `cuda` are what the user decided instead."""
    sys.path.insert(0, str(ROOT))  # the table is the program's own; it needs the standard library alone
    from studio import cards, torch_build

    machine = cards.look()
    if machine.system == "darwin" and machine.processor != "arm64":
        raise SetupError("torch has no build for Macs with an Intel processor any more; take another computer.")
    if cpu:
        choice = torch_build.Choice(torch_build.cpu_build(machine.system), "it was asked for")
    elif cuda is not None:
        build = torch_build.cuda_build(cuda, machine.system)
        if build is None:
            known = ", ".join(torch_build.Build(row.tag, 0).name for row in torch_build.CUDA)
            raise SetupError(f"There is no build of torch for CUDA {cuda} on this system; there are: {known}.")
        choice = torch_build.Choice(build, "it was asked for")
    else:
        choice = torch_build.choose(machine)
    source = (index or torch_build.torch_index()).rstrip("/")
    certain = cpu or cuda is not None or not machine.trouble
    return Plan(choice.build, source, tuple(plan_words(machine, choice, source)), certain)


def plan_words(machine: Machine, choice: Choice, index: str) -> Iterator[str]:
    """Yield what a person should know before the download begins."""
    found = ", ".join(f"{card.name} ({card.capability or card.maker})" for card in machine.cards) or "none"
    driver = f"; NVIDIA driver {machine.driver}" if machine.driver else ""
    yield f"Graphics cards: {found}{driver}."
    build = choice.build
    yield f"The {build.name} build of torch {torch_version()} is taken: {choice.reason}."
    yield from (f"Not used: {card.name}: {reason}." for card, reason in choice.unused if reason != choice.reason)
    yield f"It comes from {f'{index}/{build.tag}' if build.tag else 'the package index of pip'}."
    torch, other = (f"{size / 1e9:.2g} GB" for size in (build.download, OTHER_DOWNLOAD))
    yield f"Download: about {torch} for torch and {other} for everything else. On the disk it is 2 to 4 times as much."
    if choice.build.download > 1e9:
        yield "The option --cpu takes the CPU build instead, which is 0.2 GB and trains on the processor."


def torch_version() -> str:
    """Return the tested version of torch."""
    found = re.search(r"^torch==(\S+)", CONSTRAINTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found is not None, CONSTRAINTS
    return found[1]


# --- the virtual environment -------------------------------------------------------------------------------------


def ensure_environment(extras: tuple[str, ...], plan: Plan) -> Path:
    """Make `.venv` hold the tested versions, the planned torch and at least these extras; return its Python."""
    python = script(VENV, "python", sys.platform)
    wanted = fingerprint(ROOT / "pyproject.toml", CONSTRAINTS, *sorted(LOCKED.iterdir()))
    works = python.exists() and call([str(python), "-c", "import pip"], quiet=True) == 0
    present = installed(STAMP, wanted) if works else None
    needed = {*extras, *plan.extras}
    if present is not None and needed <= present.extras and (present.torch == plan.build.tag or not plan.certain):
        return python
    if not works:
        create_environment()
    all_extras = tuple(sorted(needed | (present.extras if present else frozenset())))
    install(python, all_extras, plan)
    stamp = {"fingerprint": wanted, "extras": all_extras, "torch": plan.build.tag}
    STAMP.write_text(json.dumps(stamp) + "\n", encoding="utf-8")
    return python


def create_environment() -> None:
    if importlib.util.find_spec("ensurepip") is None:  # Debian and Ubuntu keep it in a package of its own
        package = f"python3.{sys.version_info[1]}-venv"
        if not apt_install([package]):
            raise SetupError(f"Python's venv module is missing; {advice([package])}.")
    say(f"Making the environment {VENV}")
    if call([sys.executable, "-m", "venv", "--clear", str(VENV)], aloud=True) != 0:
        raise SetupError(f"The environment {VENV} could not be made; the lines above say why.")


def install(python: Path, extras: tuple[str, ...], plan: Plan) -> None:
    """Say what comes, then install torch, then everything else by its sums, and last the project without any download.

    pip refuses a file whose SHA-256 sum is not in `LOCKED`, and a package that is not there at all is not installed.
    """
    say("\n".join(plan.words))
    names = ["run", *install_torch(python, plan), *extras]
    files = [argument for name in names for argument in ("--requirement", str(LOCKED / f"{name}.txt"))]
    project = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT)]
    if pip_install(python, "--require-hashes", "--no-deps", *files) != 0 or pip_install(python, *project) != 0:
        raise SetupError("The installation failed, the lines above say why; mend it and give the same command again.")


def install_torch(python: Path, plan: Plan) -> list[str]:
    """Install the planned build where it is not PyPI's; return which of `LOCKED` it needs beside "run".

    It goes first and alone: pip asks every index for every package, and PyTorch's is only asked for torch. No sums are
    known for its files, nor for the libraries of builds that PyPI does not have. What a ROCm build needs is on
    PyTorch's index and nowhere else.
    """
    from studio import torch_build

    tag = plan.build.tag
    if tag == torch_build.PYPI:
        return []
    number = torch_version()
    alone = ["--constraint", str(CONSTRAINTS)] if tag.startswith("rocm") else ["--no-deps"]
    libraries = ["--constraint", str(CONSTRAINTS), f"torch=={number}+{tag}"]
    if pip_install(python, *alone, *torch_build.requirement(number, plan.build, plan.index)) == 0:
        if tag == LOCKED_CUDA:
            return ["cuda"]
        if tag.startswith("cu") and pip_install(python, *libraries) != 0:
            raise SetupError(f"The libraries of the {plan.build.name} build of torch could not be installed.")
        return []
    failure = f"torch {number}+{tag} was not to be had from {plan.index}/{tag}"
    remedy = f"name a mirror with --torch-index URL or {torch_build.INDEX_VARIABLE}"
    default = torch_build.CUDA[0]
    if sys.platform.startswith("linux") and tag in ("cpu", default.tag):
        # On Linux pip's own index has the newest CUDA build, which serves these two as well.
        size = default.download["linux"] / 1e9
        say(f"{failure}; pip's own index is asked instead, for its build of about {size:.1f} GB. Or {remedy}.")
        return ["cuda"]
    raise SetupError(f"{failure}; {remedy}, or take the small build with --cpu.")


def pip_install(python: Path, *arguments: str) -> int:
    """Run pip in the environment; return its exit status."""
    temporary = VENV / "tmp"  # a download of 3 GB may not fit into the system's own folder, which can be memory
    temporary.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    try:
        return call([*pip, *arguments], environment, aloud=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fingerprint(*files: Path) -> str:
    """What an installation depends on: these files, this Python and where the project lies."""
    digest = hashlib.sha256(f"{sys.version}\n{ROOT}\n".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Installed:
    """What a finished installation holds: its extras, and the tag of its torch."""

    extras: frozenset[str]
    torch: str


def installed(stamp: Path, wanted: str) -> Installed | None:
    """Return what a finished installation with this fingerprint holds, or None where there is none."""
    try:
        found = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if found.get("fingerprint") != wanted:
        return None
    return Installed(frozenset(found["extras"]), found["torch"])


def script(venv: Path, name: str, platform: str) -> Path:
    """Return where a virtual environment keeps a program."""
    return venv / "Scripts" / f"{name}.exe" if platform == "win32" else venv / "bin" / name


# --- the system --------------------------------------------------------------------------------------------------


def has_display(platform: str, environment: dict[str, str]) -> bool:
    if platform in ("win32", "darwin"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


def ensure_system_packages(programs: Mapping[str, str]) -> str:
    """Install what is missing on Linux, where that is possible; return a sentence when something still is.

    Args:
        programs: what is needed beside Qt's libraries and fonts: the name of each program, and its package.
    """
    if not sys.platform.startswith("linux"):
        return ""
    missing = missing_libraries() | missing_fonts()
    missing |= {program: package for program, package in programs.items() if shutil.which(program) is None}
    packages = list(missing.values())
    if not packages or apt_install(packages):
        return ""
    return f"This system lacks {', '.join(missing)}; {advice(packages)}."


def missing_libraries() -> dict[str, str]:
    """Return the libraries that Qt needs and the loader does not find, each with its package."""
    return {library: package for library, package in QT_LIBRARIES.items() if not loads(library)}


def missing_fonts() -> dict[str, str]:
    """Return the languages that no installed font can write, in words, each with the package of a font that can."""
    return {f"a font for {name}": package for name, (language, package) in FONTS.items() if not has_font(language)}


def loads(library: str) -> bool:
    """Return whether the system's loader finds a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def has_font(language: str) -> bool:
    """Return whether an installed font can write a language; fontconfig knows, which Qt asks too."""
    try:
        fontconfig = ctypes.CDLL("libfontconfig.so.1")
    except OSError:
        return False
    for name in ("FcNameParse", "FcObjectSetCreate", "FcFontList"):
        getattr(fontconfig, name).restype = ctypes.c_void_p
    wanted = ctypes.c_void_p(fontconfig.FcNameParse(f":lang={language}".encode()))
    found = fontconfig.FcFontList(None, wanted, ctypes.c_void_p(fontconfig.FcObjectSetCreate()))
    # An FcFontSet begins with the number of fonts in it, an int.
    return bool(found) and ctypes.c_int.from_address(found).value > 0


def apt_install(packages: list[str]) -> bool:
    """Install system packages; return False where this user or system cannot, or it failed."""
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    say(f"Installing system packages: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    call(["apt-get", "update", "-q"], environment)  # an old list of packages may serve, should this fail
    return call(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], environment) == 0


def advice(packages: list[str]) -> str:
    """Say how a person installs system packages here."""
    if shutil.which("apt-get") is None:
        return f"install what your system calls {', '.join(packages)}"
    return f"install it with: {shlex.join(['sudo', 'apt-get', 'install', *packages])}"


# --- small things ------------------------------------------------------------------------------------------------


def call(
    command: list[str], environment: dict[str, str] | None = None, *, quiet: bool = False, aloud: bool = False
) -> int:
    """Run a program in the project's folder; return its exit status.

    Args:
        quiet: its output is thrown away.
        aloud: whenever it says nothing for `PATIENCE` seconds, how far it is is said in its place.
    """
    if aloud:
        return call_aloud(command, environment)
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False).returncode


def call_aloud(command: list[str], environment: dict[str, str] | None) -> int:
    """Run a program that fills the disk, and never be silent for long."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # The disk is asked, not `.venv`: counting its 60,000 files takes seconds while pip writes.
    began, free = time.monotonic(), shutil.disk_usage(ROOT).free
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line.rstrip())
            lines.put(None)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while True:
            try:
                line = lines.get(timeout=PATIENCE)
            except queue.Empty:
                taken = max(0, free - shutil.disk_usage(ROOT).free) / 1e9
                line = f"  … {time.monotonic() - began:.0f} s, {taken:.2f} GB of disk taken"
            if line is None:
                break
            say(line)
        reader.join()
    return process.returncode


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
