"""The first start of an installed package by mouse or by keyboard, and then a newcomer's whole way in what it made.

    python3 -m tests.e2e.first_start --by mouse|keyboard [--pictures DIR]

It is run as a user who has never started the program, with the Python of the system, on a screen of Xvfb. Beside the
package it needs openbox, a window manager, and xdotool, which moves the mouse and presses keys through the X server.
The program closes once its window is there, and `newcomer.py` opens it again, from the environment that was made.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.screen import virtual_screen

PROGRAM = "finetune-studio"
ENVIRONMENT = Path.home() / ".local" / "share" / PROGRAM / "environment"
ASKING, INSTALLING, OPENING = 60.0, 3600.0, 60.0  # seconds at most
FROM_CORNER = (64, 42)  # pixels from the lower right corner of the set-up window to the middle of "Install"


def main() -> int:
    """Install, then go the newcomer's way; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", choices=("mouse", "keyboard"), required=True)
    parser.add_argument("--pictures", type=Path, help="where pictures of the way are kept")
    chosen = parser.parse_args()
    assert not ENVIRONMENT.exists(), f"{ENVIRONMENT} is there: this user has started the program before"
    with virtual_screen() as variables:
        os.environ |= variables
        manager = subprocess.Popen(["openbox"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            start(chosen.by, chosen.pictures)
            return go_on(chosen.by, chosen.pictures)
        finally:
            manager.terminate()
            manager.wait()


def start(by: str, pictures: Path | None) -> None:
    """Start the program as its desktop entry does, press "Install" once, and wait for the program's window."""
    launcher = subprocess.Popen([PROGRAM], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    pid = launcher.pid
    wait_until(lambda: window() and has_asked(pid), "the answer to what fits this computer", ASKING)
    time.sleep(1)  # a person reads it
    picture(pictures, f"{by}-set-up")
    began = time.monotonic()
    press_install(by)
    wait_until(lambda: "bootstrap.py install" in child_of(pid), "the installation", ASKING)
    time.sleep(20)
    picture(pictures, f"{by}-installing")
    wait_until(lambda: "bootstrap.py" not in child_of(pid), "the end of the installation", INSTALLING)
    installed = time.monotonic() - began
    time.sleep(1)
    picture(pictures, f"{by}-installed")
    assert f"bin/{PROGRAM}" in child_of(pid), "the installation failed, the set-up window says why"
    wait_until(window, "the program's window", OPENING)
    opened = time.monotonic() - began
    time.sleep(5)  # until it has chosen the starter model
    picture(pictures, f"{by}-first-window")
    print(f"install by {by}: 1 {'click' if by == 'mouse' else 'key'}; {installed:.0f} s, a window after {opened:.0f} s")
    xdotool("key", "alt+F4")  # openbox closes the window
    _, words = launcher.communicate(timeout=OPENING)
    assert launcher.returncode == 0, words


def go_on(by: str, pictures: Path | None) -> int:
    """Go the newcomer's way in the installed program, with its own Python and this folder's tests."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "tests.e2e.newcomer"]
    command += ["--installed", "--by", by, "--events", "x"]
    if pictures is not None:
        command += ["--pictures", str(pictures)]
    return subprocess.run(command, check=False).returncode


def press_install(by: str) -> None:
    """Press the button that has the focus, or click on it."""
    if by == "keyboard":
        xdotool("key", "Return")
        return
    shape = dict(line.split("=") for line in xdotool("getwindowgeometry", "--shell", window()).split())
    place = (str(int(shape[name]) - margin) for name, margin in zip(("WIDTH", "HEIGHT"), FROM_CORNER, strict=True))
    xdotool("mousemove", "--window", window(), *place, "click", "1")


def window() -> str:
    """Return the number of the window that the program shows, or "" where there is none."""
    return xdotool("search", "--onlyvisible", "--class", PROGRAM).partition("\n")[0]


def xdotool(*words: str) -> str:
    """Do something on the screen; return what xdotool writes. A search that finds nothing is no failure."""
    done = subprocess.run(["xdotool", *words], capture_output=True, text=True, check=words[0] != "search")
    return done.stdout.strip()


def child_of(process: int) -> str:
    """Return the command line of the program that a process has started and waits for, or ""."""
    try:
        number = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").strip()
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode() if number else ""
    except FileNotFoundError:  # it has ended since
        return ""


def has_asked(process: int) -> bool:
    """Return whether a program that a process has started has ended: it may be there for a tenth of a second alone."""
    _, _, after_name = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(") ")
    return int(after_name.split()[8]) > 0  # page faults of the children that it has waited for, see proc(5)


def wait_until(holds: Callable[[], object], what: str, seconds: float) -> None:
    """Look five times a second whether something holds; fail with `what` when that takes too long."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.2)


def picture(folder: Path | None, name: str) -> None:
    """Keep a picture of the whole screen, made by ImageMagick."""
    if folder is not None:
        subprocess.run(["import", "-window", "root", str(folder / f"{name}.png")], check=True)


if __name__ == "__main__":
    sys.exit(main())
