"""Two commands for a fresh machine, with the standard library alone.

    python3 packaging/bootstrap.py run     set everything up and open the window
    python3 packaging/bootstrap.py test    set everything up and run every check

Both make `.venv` beside the project and install the tested versions into it. A second call finds that done and
starts at once.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
STAMP = VENV / "installed.json"

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

# Programs of the environment. pytest comes last, so that its summary closes the output.
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("pytest",),
)


class SetupError(Exception):
    """Why the set-up cannot go on: one sentence for the user."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Set Finetune Studio up in .venv, then open it or check it.")
    parser.add_argument("command", choices=("run", "test"))
    command = parser.parse_args(arguments).command
    try:
        require_python(sys.version_info[:2])
        return run() if command == "run" else test()
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted; the same command goes on from here.")
        return 1


def run() -> int:
    """Set up, fetch the starter model, open the window; return the window's exit status."""
    python = ensure_environment(("gpu",) if has_nvidia() else ())
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


def test() -> int:
    """Set up with the test tools, run every check even if one fails; return 0 when all passed."""
    ensure_environment(("test",))
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


# --- the virtual environment -------------------------------------------------------------------------------------


def ensure_environment(extras: tuple[str, ...]) -> Path:
    """Make `.venv` hold the tested versions and at least these extras; return its Python."""
    python = script(VENV, "python", sys.platform)
    wanted = fingerprint(ROOT / "pyproject.toml", CONSTRAINTS)
    works = python.exists() and call([str(python), "-c", "import pip"], quiet=True) == 0
    present = installed_extras(STAMP, wanted) if works else None
    if present is not None and set(extras) <= present:
        return python
    if not works:
        create_environment()
    extras = tuple(sorted(set(extras) | (present or set())))
    install(python, extras)
    STAMP.write_text(json.dumps({"fingerprint": wanted, "extras": extras}) + "\n", encoding="utf-8")
    return python


def create_environment() -> None:
    if importlib.util.find_spec("ensurepip") is None:  # Debian and Ubuntu keep it in a package of its own
        package = f"python3.{sys.version_info[1]}-venv"
        if not apt_install([package]):
            raise SetupError(f"Python's venv module is missing; {advice([package])}.")
    say(f"Making the environment {VENV}")
    if call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        raise SetupError(f"The environment {VENV} could not be made; the lines above say why.")


def install(python: Path, extras: tuple[str, ...]) -> None:
    say("Installing the tested versions; the first time this downloads several hundred megabytes.")
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if call([*command, "--constraint", str(CONSTRAINTS), "--editable", project]) != 0:
        raise SetupError("The installation failed, the lines above say why; mend it and give the same command again.")


def fingerprint(*files: Path) -> str:
    """What an installation depends on: these files, this Python and where the project lies."""
    digest = hashlib.sha256(f"{sys.version}\n{ROOT}\n".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def installed_extras(stamp: Path, wanted: str) -> set[str] | None:
    """Return the extras of a finished installation with this fingerprint, or None where there is none."""
    try:
        found = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return set(found["extras"]) if found.get("fingerprint") == wanted else None


def script(venv: Path, name: str, platform: str) -> Path:
    """Return where a virtual environment keeps a program."""
    return venv / "Scripts" / f"{name}.exe" if platform == "win32" else venv / "bin" / name


# --- the system --------------------------------------------------------------------------------------------------


def has_display(platform: str, environment: dict[str, str]) -> bool:
    if platform in ("win32", "darwin"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


def has_nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None


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


def call(command: list[str], environment: dict[str, str] | None = None, *, quiet: bool = False) -> int:
    """Run a program in the project's folder; return its exit status."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False).returncode


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
