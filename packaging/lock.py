"""Write packaging/locked/*.txt again: every package of packaging/constraints.txt with the SHA-256 sums of its files.

    pip install uv
    python packaging/lock.py

It is run after a version in packaging/constraints.txt or a dependency in pyproject.toml has changed. The sums are those
of all files of a version that the package index names, for every system, processor and Python that has one.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
LOCKED = ROOT / "packaging" / "locked"

# What each file holds beside what is in "run": the name of the file, and the extra of pyproject.toml.
EXTRAS = {"gpu": "gpu", "test": "test"}
# The libraries that the CUDA build of torch links to. Only a computer that takes this build installs them.
CUDA = re.compile(r"nvidia-(?!ml-py)|cuda-|triton=")
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
    return 0


def resolve(*extras: str) -> list[str]:
    """Return one entry a package: its pinned version, its marker and its sums. uv asks for all systems at once."""
    build = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["build-system"]["requires"]
    options = ["--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    chosen = [option for extra in extras for option in ("--extra", extra)]
    command = ["uv", "pip", "compile", *options, "--constraint", str(CONSTRAINTS), *chosen, str(PROJECT), "-"]
    found = subprocess.run(command, input="\n".join(build), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    entries = re.findall(r"^\S.*(?:\n +\S.*)*\n", found.stdout, flags=re.MULTILINE)
    return [entry for entry in entries if "sys_platform == 'emscripten'" not in entry]  # Python in a browser


def write(name: str, entries: list[str]) -> None:
    text = HEADER.format(about=ABOUT[name]) + "".join(entries)
    (LOCKED / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")
    print(f"{name}: {len(entries)} packages")


if __name__ == "__main__":
    sys.exit(main())
