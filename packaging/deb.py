"""Build the Debian package: `.venv/bin/python packaging/deb.py OUT_FOLDER`, on a system with dpkg-deb.

It holds the program and no Python packages: those that fit the computer are installed at the first start, into the
folder of the user (launch.py). It suits Debian 12 and 13, Ubuntu 24.04 and later, on every processor that torch is for.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import bundle
import desktop
from programs import say
from system_packages import QT_LIBRARIES

NAME = desktop.NAME
LAUNCHER = f"""\
#!/bin/sh
exec /usr/bin/python3 -B /usr/lib/{NAME}/packaging/launch.py "$@"
"""
CONTROL = """\
Package: {name}
Version: {version}
Section: science
Priority: optional
Architecture: all
Maintainer: Finetune Studio authors <noreply@finetune-studio.invalid>
Installed-Size: {kilobytes}
Depends: {depends}
Recommends: fonts-noto-cjk
Description: fine-tune a language model on your own computer
 A window in which one fine-tunes a causal language model, on one GPU or on the
 processor, without writing code, and sees loss and numerics while it trains.
 .
 The first start downloads the Python packages that fit this computer (0.4 GB
 without a graphics card, about 3 GB with one) into the folder of the user.
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Finetune Studio

Files: *
Copyright: 2026 Finetune Studio authors
License: Apache-2.0

License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.
"""
CHANGELOG = f"""\
{NAME} ({{version}}) unstable; urgency=medium

  * Built from the source of this version.

 -- Finetune Studio authors <noreply@finetune-studio.invalid>  Thu, 01 Jan 2026 00:00:00 +0000
"""
PYTHON = ("python3 (>= 3.11)", "python3-venv", "python3-tk")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder in which the package is written")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    version = desktop.version()
    package = out / f"{NAME}_{version}_all.deb"
    with TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        write_root(root, version)
        build = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(package)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    say(f"{package}: {package.stat().st_size / 1e6:.1f} MB")
    return 0


def write_root(root: Path, version: str) -> None:
    """Write everything that the package installs, and its description."""
    bundle.copy_program(root / "usr" / "lib" / NAME)
    desktop.write_share(root / "usr" / "share")
    launcher = root / "usr" / "bin" / NAME
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER, encoding="utf-8")
    launcher.chmod(0o755)
    papers = root / "usr" / "share" / "doc" / NAME
    papers.mkdir(parents=True)
    (papers / "copyright").write_text(COPYRIGHT, encoding="utf-8")
    (papers / "changelog.gz").write_bytes(gzip.compress(CHANGELOG.format(version=version).encode(), mtime=0))
    size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    control = root / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(control_file(version, size), encoding="utf-8")
    for path in root.rglob("*"):  # whatever the umask of the builder is
        path.chmod(0o755 if path.is_dir() or path == launcher else 0o644)


def control_file(version: str, size: int) -> str:
    """Return the description of the package; `size` is in bytes."""
    depends = ", ".join((*PYTHON, *sorted(set(QT_LIBRARIES.values())), "fonts-dejavu-core"))
    return CONTROL.format(name=NAME, version=version, kilobytes=size // 1024, depends=depends)


if __name__ == "__main__":
    if shutil.which("dpkg-deb") is None:
        sys.exit("dpkg-deb is not here: install the package dpkg.")
    sys.exit(main(sys.argv[1:]))
