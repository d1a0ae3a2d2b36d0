"""The offline bundle: the program, every wheel it needs and the starter model, for a computer without network.

A bundle is this project with a folder `wheels` and a file `bundle.json` beside it, which says for which computer it was
made and the SHA-256 sum of each wheel. Its own `packaging/bootstrap.py` finds them and then fetches nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from programs import ROOT, SetupError, say

from studio.i18n import tr

WHEELS = "wheels"
FILE = "bundle.json"
# What a bundle or an installer has of the project. Tests and pictures stay behind.
PROGRAM: tuple[str, ...] = (
    "studio",
    "resources",
    "packaging",
    "pyproject.toml",
    "README.md",
    "README.zh-CN.md",
    "LICENSE",
)
PROGRAM += ("THIRD_PARTY.md",)
LEFT_OUT = shutil.ignore_patterns("__pycache__", "windows", "macos")  # the last two: recipes of installers
ARCHIVES = {".tar": "tar", ".zip": "zip"}
HOW = """\
Finetune Studio for a computer without network: Python {python}, {system} {processor}, torch's build "{torch}".

    python3 packaging/bootstrap.py run         install, try a training of 20 seconds, open the window
    python3 packaging/bootstrap.py install     the same without the window

On Windows write py instead of python3. On Linux the Qt libraries of the system must be there; `run` names those that
are missing.
"""


@dataclass(frozen=True)
class Bundle:
    """For which computer a bundle was made, and the SHA-256 sum of each of its wheels."""

    python: str = f"{sys.version_info[0]}.{sys.version_info[1]}"
    system: str = platform.system()
    processor: str = platform.machine()
    torch: str = ""
    wheels: dict[str, str] = field(default_factory=dict)

    @property
    def computer(self) -> str:
        words = tr("Python {version} on {system} {processor}")
        return words.format(version=self.python, system=self.system, processor=self.processor)


def found(root: Path = ROOT) -> Bundle | None:
    """Return the bundle that this program came in, or None where it came without one."""
    try:
        text = (root / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Bundle(**json.loads(text))


def use(root: Path = ROOT) -> None:
    """Let pip and the hub's library look into the bundle, and nowhere else from now on."""
    os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=(root / WHEELS).as_uri(), HF_HUB_OFFLINE="1")


def check(bundle: Bundle, root: Path = ROOT) -> None:
    """Check a bundle before it is installed.

    Raises:
        SetupError: it was made for another computer, or a file is missing, damaged or added.
    """
    here = Bundle()
    if here.computer != bundle.computer:
        words = tr("This bundle was made for {wanted}, and this is {found}; make another one.")
        raise SetupError(words.format(wanted=bundle.computer, found=here.computer))
    words = tr("Checking the {count} wheels of the bundle, {size} GB")
    say(words.format(count=len(bundle.wheels), size=f"{size(root) / 1e9:.2f}"))
    there = sums(root / WHEELS)
    wrong = sorted(name for name in {*there, *bundle.wheels} if there.get(name) != bundle.wheels.get(name))
    if wrong:
        words = tr("The bundle is damaged, copy it again: {files}.")
        raise SetupError(words.format(files=tr(", ").join(wrong)))


def size(root: Path = ROOT) -> int:
    """Return the bytes of a bundle's wheels."""
    return sum(file.stat().st_size for file in (root / WHEELS).iterdir())


def sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 sum of each file in a folder."""
    found = {}
    for file in sorted(folder.iterdir()):
        with file.open("rb") as opened:
            found[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def finish(folder: Path, torch: str) -> Bundle:
    """Add the program to the wheels that lie in `folder`, describe all of it, and return the description."""
    copy_program(folder)
    bundle = Bundle(torch=torch, wheels=sums(folder / WHEELS))
    (folder / FILE).write_text(json.dumps(asdict(bundle), indent=1) + "\n", encoding="utf-8")
    (folder / "INSTALL.txt").write_text(HOW.format(**asdict(bundle)), encoding="utf-8")
    return bundle


def copy_program(folder: Path, names: Iterable[str] = PROGRAM) -> None:
    """Copy the program as it stands in this project, without what Python has compiled."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=LEFT_OUT, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)


def pack(folder: Path, archive: Path) -> None:
    """Put a folder into a .tar or .zip file of the same content, not compressed further, and remove the folder."""
    kind = ARCHIVES[archive.suffix]
    shutil.make_archive(str(archive.with_suffix("")), kind, folder.parent, folder.name)
    shutil.rmtree(folder)
