"""What Qt needs of a Linux system beside Python's packages: libraries and fonts, and how they are installed."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import sys
from collections.abc import Mapping

from programs import call, say

from studio.i18n import gettext_noop, tr

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
FONTS = {
    gettext_noop("a font for English"): ("en", "fonts-dejavu-core"),
    gettext_noop("a font for Chinese"): ("zh-cn", "fonts-noto-cjk"),
}
# Programs that only the tests use: a screen that exists in memory alone.
TEST_PROGRAMS = {"Xvfb": "xvfb"}


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
    words = tr("This system lacks {missing}; {advice}.")
    return words.format(missing=tr(", ").join(missing), advice=advice(packages))


def missing_libraries() -> dict[str, str]:
    """Return the libraries that Qt needs and the loader does not find, each with its package."""
    return {library: package for library, package in QT_LIBRARIES.items() if not loads(library)}


def missing_fonts() -> dict[str, str]:
    """Return the languages that no installed font can write, in words, each with the package of a font that can."""
    return {tr(name): package for name, (language, package) in FONTS.items() if not has_font(language)}


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
    say(tr("Installing system packages: {packages}").format(packages=" ".join(packages)))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    call(["apt-get", "update", "-q"], environment)  # an old list of packages may serve, should this fail
    return call(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], environment) == 0


def advice(packages: list[str]) -> str:
    """Say how a person installs system packages here."""
    if shutil.which("apt-get") is None:
        return tr("install what your system calls {packages}").format(packages=tr(", ").join(packages))
    command = shlex.join(["sudo", "apt-get", "install", *packages])
    return tr("install it with: {command}").format(command=command)
