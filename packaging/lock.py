"""Write packaging/locked/*.txt again: every package of packaging/constraints.txt with the SHA-256 sums of its files.

    pip install uv
    python packaging/lock.py

It is run after a version in packaging/constraints.txt or a dependency in pyproject.toml has changed. The sums are those
of all files of a version that the package index names, for every system, processor and Python that has one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
LOCKED = ROOT / "packaging" / "locked"

# What each file holds beside what is in "run": the name of the file, and the extra of pyproject.toml.
EXTRAS = {"gpu": "gpu", "test": "test"}
# The libraries that the CUDA build of torch links to. Only a computer that takes this build installs them.
CUDA = re.compile(r"nvidia-(?!ml-py)|cuda-|triton=")
# The wheels that a computer of today takes, by the end of their names.
SYSTEMS = {
    "linux": re.compile(r"(-cp313-cp313|-abi3|-none)-(any|[^/]*manylinux[^/]*x86_64)\.whl$"),
    "win32": re.compile(r"(-cp313-cp313|-abi3|-none)-(any|win_amd64)\.whl$"),
    "darwin": re.compile(r"(-cp313-cp313|-abi3|-none)-(any|[^/]*macosx[^/]*(arm64|universal2))\.whl$"),
}
HEADER = """\
# Written by packaging/lock.py. {about}
# The sums are those of the files on PyPI. torch's builds on PyTorch's own index are other files, which no sum guards.
"""
ABOUT = {
    "run": "What the program needs, and what installs it.",
    "cuda": "The libraries of the CUDA build of torch that PyPI has.",
    "gpu": "What an NVIDIA card needs beside it: the extra gpu.",
    "test": "What the checks need beside it: the extra test.",
}


def main() -> int:
    everything = resolve()
    cuda = [entry for entry in everything if CUDA.match(entry)]
    run = [entry for entry in everything if entry not in cuda]
    write("run", run)
    write("cuda", cuda)
    for name, extra in EXTRAS.items():
        write(name, [entry for entry in resolve(extra) if entry not in everything and not CUDA.match(entry)])
    write_sizes()
    return 0


def resolve(*extras: str) -> list[str]:
    """Return one entry a package: its pinned version, its marker and its sums."""
    entries = re.findall(r"^\S.*(?:\n +\S.*)*\n", compiled(*extras), flags=re.MULTILINE)
    return [entry for entry in entries if "sys_platform == 'emscripten'" not in entry]  # Python in a browser


def compiled(*extras: str, form: str = "requirements.txt") -> str:
    """Return what uv writes about every package that is needed. It asks for all systems at once."""
    build = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["build-system"]["requires"]
    options = ["--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet", "--format", form]
    chosen = [option for extra in extras for option in ("--extra", extra)]
    command = ["uv", "pip", "compile", *options, "--constraint", str(CONSTRAINTS), *chosen, str(PROJECT), "-"]
    found = subprocess.run(command, input="\n".join(build), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return found.stdout


def write(name: str, entries: list[str]) -> None:
    text = HEADER.format(about=ABOUT[name]) + "".join(entries)
    (LOCKED / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")
    print(f"{name}: {len(entries)} packages")


def write_sizes() -> None:
    """Write how many bytes each system downloads for each file, torch apart, so that the set-up can say it before."""
    extra = {name: tomllib.loads(compiled(value, form="pylock.toml")) for name, value in EXTRAS.items()}
    run = tomllib.loads(compiled(form="pylock.toml"))["packages"]
    names = {package["name"] for package in run}
    beside = {name: [each for each in lock["packages"] if each["name"] not in names] for name, lock in extra.items()}
    found = {
        system: {name: total(packages, system) for name, packages in {"run": run, **beside}.items()}
        for system in SYSTEMS
    }
    (LOCKED / "sizes.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n")


def total(packages: list[dict[str, Any]], system: str) -> int:
    """Return the bytes of the wheels that a system takes; of several that fit, the largest."""
    machine = "x86_64" if system == "linux" else "AMD64" if system == "win32" else "arm64"
    here = {"sys_platform": system, "platform_machine": machine, "python_full_version": "3.13.0"}
    here |= {"platform_system": {"linux": "Linux", "win32": "Windows", "darwin": "Darwin"}[system]}
    bytes_taken = 0
    for package in packages:
        apart = package["name"] == "torch" or CUDA.match(f"{package['name']}=")
        if apart or ("marker" in package and not Marker(package["marker"]).evaluate(here)):
            continue
        sizes = [wheel["size"] for wheel in package.get("wheels", []) if SYSTEMS[system].search(wheel["url"])]
        bytes_taken += max(sizes, default=0)
    return bytes_taken


if __name__ == "__main__":
    sys.exit(main())
