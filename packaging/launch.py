"""Start a program that an installer brought: make its environment in the user's folder first, where that is needed.

The installer's files are the same for every computer. What fits this one, such as the build of torch, is installed the
first time, and again when a later version of the program needs other packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOME = "FINETUNE_STUDIO_HOME"
ENVIRONMENT = "FINETUNE_STUDIO_ENVIRONMENT"


def main(arguments: list[str]) -> int:
    os.environ.setdefault(ENVIRONMENT, str(data_folder(sys.platform, dict(os.environ)) / "environment"))
    import environment  # reads the variable
    from programs import script

    if not environment.ready():
        if at_a_terminal(arguments):
            # The result of a command alone goes to stdout.
            command = [sys.executable, str(Path(__file__).with_name("bootstrap.py")), "install"]
            status = subprocess.run(command, stdout=sys.stderr, check=False).returncode
        else:
            import setup_window

            status = setup_window.main()
        if status != 0:
            return status
    program = [str(script(environment.VENV, "finetune-studio"))]
    if sys.stderr is None:  # pythonw of Windows: nothing may open a console
        program = [str(script(environment.VENV, "pythonw")), "-m", "studio"]
    return subprocess.run([*program, *arguments], check=False).returncode


def at_a_terminal(arguments: list[str]) -> bool:
    """Return whether somebody reads what is printed, or nobody could see a window."""
    from bootstrap import has_display

    commands = bool(arguments) and arguments[0] != "--new-window" and not Path(arguments[0]).exists()
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal or commands or not has_display(sys.platform, dict(os.environ))


def data_folder(system: str, variables: dict[str, str]) -> Path:
    """Return the program's data folder as `studio.paths.home` does, which needs a library that is not there yet."""
    if chosen := variables.get(HOME, "").strip():
        return Path(chosen).expanduser().absolute()
    if system == "win32":
        return Path(variables.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "finetune-studio"
    if system == "darwin":
        return Path.home() / "Library" / "Application Support" / "finetune-studio"
    return Path(variables.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "finetune-studio"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
