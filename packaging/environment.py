"""The virtual environment: what is in it, and what has to be installed into it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bundle
from programs import ROOT, SetupError, call, say, script
from system_packages import advice, apt_install
from torch_plan import CONSTRAINTS, LOCKED, Plan, torch_version

from studio.i18n import gettext_noop, sentences, tr

# An installer whose program lies where the user may not write names another folder.
VENV = Path(os.environ.get("FINETUNE_STUDIO_ENVIRONMENT") or ROOT / ".venv")
STAMP = VENV / "installed.json"
LOCKED_CUDA = "cu130"  # the build of torch whose libraries are in `LOCKED`, for it is the one that PyPI has
RAW_PROGRESS = (24, 1)  # the first pip that tells how much of a file has come, a line each
NETWORK = gettext_noop(
    "Where this network needs a mirror or a proxy, name it with --index-url URL or --proxy URL. "
    "The same command goes on from here."
)
Fetch = Callable[..., int]  # pip's arguments -> its exit status


class DownloadError(SetupError):
    """pip failed: a mirror or a proxy may help, which is said after `sentence`."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentences((sentence, tr(NETWORK))))


def ensure_environment(extras: tuple[str, ...], plan: Plan) -> Path:
    """Make the environment hold the tested versions, the planned torch and at least these extras; return its Python."""
    wanted = fingerprint(ROOT / "pyproject.toml", CONSTRAINTS, *sorted(LOCKED.iterdir()))
    works = environment_works()
    present = installed(STAMP, wanted) if works else None
    needed = {*extras, *plan.extras}
    if present is not None and needed <= present.extras and (present.torch == plan.build.tag or not plan.certain):
        return script(VENV, "python")
    if not works:
        create_environment()
    all_extras = tuple(sorted(needed | (present.extras if present else frozenset())))
    install(script(VENV, "python"), all_extras, plan)
    stamp = {"fingerprint": wanted, "extras": all_extras, "torch": plan.build.tag}
    STAMP.write_text(json.dumps(stamp) + "\n", encoding="utf-8")
    return script(VENV, "python")


def ready() -> bool:
    """Return whether the environment was made by this version of the program, without a look at the graphics card."""
    wanted = fingerprint(ROOT / "pyproject.toml", CONSTRAINTS, *sorted(LOCKED.iterdir()))
    return installed(STAMP, wanted) is not None and script(VENV, "finetune-studio").exists()


def environment_works() -> bool:
    python = script(VENV, "python")
    return python.exists() and call([str(python), "-c", "import pip"], quiet=True) == 0


def create_environment() -> None:
    if importlib.util.find_spec("ensurepip") is None:  # Debian and Ubuntu keep it in a package of its own
        package = f"python3.{sys.version_info[1]}-venv"
        if not apt_install([package]):
            raise SetupError(tr("Python's venv module is missing; {advice}.").format(advice=advice([package])))
    say(tr("Making the environment {folder}").format(folder=VENV))
    VENV.mkdir(parents=True, exist_ok=True)
    if call([sys.executable, "-m", "venv", "--clear", str(VENV)], aloud=str(VENV.parent)) != 0:
        words = tr("The environment {folder} could not be made; the lines above say why.")
        raise SetupError(words.format(folder=VENV))


def install(python: Path, extras: tuple[str, ...], plan: Plan) -> None:
    """Say what comes, then install torch, then everything else by its sums, and last the project without any download.

    pip refuses a file whose SHA-256 sum is not in `LOCKED`, and a package that is not there at all is not installed.
    A bundle's files were checked by the sums that stand in it.
    """
    say("\n".join(plan.words))
    if offline := bundle.found():
        bundle.check(offline)

    def fetch(*arguments: str) -> int:
        return pip(python, "install", *arguments)

    project = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT)]
    locked = ["run", *install_torch(fetch, plan), *extras]
    if fetch(*by_sums(locked)) != 0:
        raise DownloadError(tr("The installation failed, the lines above say why."))
    if fetch(*project) != 0:
        raise SetupError(tr("The program itself could not be installed; the lines above say why."))


def download(folder: Path, plan: Plan) -> None:
    """Put the wheels that `install` takes on a computer like this one into a folder, and the starter model's."""
    if not environment_works():
        create_environment()

    def fetch(*arguments: str) -> int:
        wheels = ["--only-binary", ":all:", "--dest", str(folder)]
        return pip(script(VENV, "python"), "download", *wheels, *arguments)

    with_sums = ["run", "starter", *install_torch(fetch, plan), *plan.extras]
    text = "".join((LOCKED / f"{name}.txt").read_text(encoding="utf-8") for name in with_sums)
    if list(folder.glob("torch-*.whl")):  # the build that was chosen, in place of PyPI's
        text = re.sub(r"^torch==.*(?:\n +\S.*)*\n", "", text, flags=re.MULTILINE)
    everything = folder.with_name("requirements.txt")
    everything.write_text(text, encoding="utf-8")
    if fetch("--require-hashes", "--no-deps", "--requirement", str(everything)) != 0:
        raise DownloadError(tr("The bundle is not complete, the lines above say why."))
    everything.unlink()


def by_sums(names: list[str]) -> list[str]:
    """Return pip's arguments for everything in these files of `LOCKED`."""
    files = [argument for name in names for argument in ("--requirement", str(LOCKED / f"{name}.txt"))]
    return ["--require-hashes", "--no-deps", *files]


def install_torch(fetch: Fetch, plan: Plan) -> list[str]:
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
    if fetch(*alone, *torch_build.requirement(number, plan.build, plan.index)) == 0:
        if tag == LOCKED_CUDA:
            return ["cuda"]
        if tag.startswith("cu") and fetch(*libraries) != 0:
            words = tr("The libraries of the {build} build of torch did not come.")
            raise DownloadError(words.format(build=plan.build.name))
        return []
    names = {"build": f"{number}+{tag}", "index": f"{plan.index}/{tag}", "variable": torch_build.INDEX_VARIABLE}
    default = torch_build.CUDA[0]
    if sys.platform.startswith("linux") and tag in ("cpu", default.tag) and bundle.found() is None:
        # On Linux pip's own index has the newest CUDA build, which serves these two as well.
        size = default.download["linux"] / 1e9
        words = tr(
            "torch {build} was not to be had from {index}; pip's own index is asked instead, for its build of about "
            "{size} GB. Or name a mirror with --torch-index URL or {variable}."
        )
        say(words.format(**names, size=f"{size:.1f}"))
        return ["cuda"]
    words = tr(
        "torch {build} was not to be had from {index}; name a mirror with --torch-index URL or {variable}, or take the "
        "small build with --cpu."
    )
    raise DownloadError(words.format(**names))


def pip(python: Path, command: str, *arguments: str) -> int:
    """Run pip in the environment; return its exit status."""
    temporary = VENV / "tmp"  # a download of 3 GB may not fit into the system's own folder, which can be memory
    temporary.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    options = ["--disable-pip-version-check", "--progress-bar", "raw" if pip_version() >= RAW_PROGRESS else "off"]
    try:
        return call([str(python), "-m", "pip", command, *options, *arguments], environment, aloud=str(VENV))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def pip_version() -> tuple[int, ...]:
    """Return the version of the environment's pip, by the folder in which it describes itself; () if it has none."""
    folders = [*VENV.glob("lib/python*/site-packages/pip-*.dist-info"), *VENV.glob("Lib/site-packages/pip-*.dist-info")]
    return tuple(int(number) for folder in folders[:1] for number in re.findall(r"\d+", folder.name))


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
