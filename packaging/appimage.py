"""Build the AppImage: `.venv/bin/python packaging/appimage.py OUT_FOLDER --runtime FILE`, on Debian or Ubuntu.

It needs apt-get, dpkg-deb and mksquashfs (squashfs-tools). FILE is the runtime of AppImages, which mounts or unpacks
what follows it: `runtime-x86_64` of the project AppImage/type2-runtime, or one that was compiled from its source.
Without it the folder that would be packed is written alone.

Inside is Python as Debian packages it, tkinter, what Qt takes from the system, and the program; no Python packages.
At the first start (AppRun below) that is copied into the folder of the user, because an environment needs a Python
that stays where it is; then launch.py goes on as in the Debian package. The computer needs a C library at least as new
as that of the system on which the AppImage is built.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
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
WANTED = ("python3-venv", "python3-tk")
# Every desktop has these, or must have its own: the C library, the drivers of the screen, and what reads its settings.
OF_THE_SYSTEM = re.compile(
    r"(libc6|sysvinit|lsb-base|libicu|openssl|ca-certificates|tzdata|libpng|libmount|libblkid|libglib|libedit|libxml2|"
    r"libgcc|gcc-|libstdc\+\+|libcrypt1|libgl|libegl|libdrm|libgbm|libglx|libglvnd|libllvm|libz3|libelf|libsensors"
    r"|libx11|libxcb1$|libxau|libxdmcp|libbsd|libmd0|libfontconfig|fontconfig|libfreetype|libdbus|fonts-|dpkg|debconf|tar$"
    r"|perl|libpam|libselinux|libpcre|libacl|libattr|ucf|sensible|libsystemd|libcap|libgcrypt|libgpg|libwayland|libxshmfence"
    r"|media-types|mailcap|netbase|install-info|xkb-data|libglapi|mesa|libdb5|libzstd1|x11-common|libxext|libxfixes|libpciaccess)"
)
APPRUN = """\
#!/bin/sh
# Copy Python and the program to a place that stays, once for each build, and start it from there.
here=$(dirname "$(readlink -f "$0")")
data=${{FINETUNE_STUDIO_HOME:-${{XDG_DATA_HOME:-$HOME/.local/share}}/finetune-studio}}
root=$data/appimage
if [ "$(cat "$root/stamp" 2>/dev/null)" != "{stamp}" ]; then
    mkdir -p "$data" && rm -rf "$root" "$root.new" || exit 1
    cp -a "$here/usr" "$root.new" && echo "{stamp}" > "$root.new/stamp" && mv "$root.new" "$root" || exit 1
fi
export LD_LIBRARY_PATH="$root/lib/{triplet}:$root/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export TCL_LIBRARY="$root/share/tcltk/tcl8.6" TK_LIBRARY="$root/share/tcltk/tk8.6"
exec "$root/bin/{python}" -B "$root/lib/finetune-studio/packaging/launch.py" "$@"
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder in which the AppImage, or its folder, is written")
    parser.add_argument("--runtime", type=Path, metavar="FILE", help="the runtime that begins an AppImage")
    options = parser.parse_args(arguments)
    missing = [name for name in ("apt-get", "dpkg-deb", "mksquashfs") if shutil.which(name) is None]
    if missing:
        parser.error(f"{', '.join(missing)}: not here")
    version, out = desktop.version(), options.out.absolute()
    folder = out / f"{NAME}.AppDir"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    unpack(packages(), folder)
    let_pip_move(folder / "usr" / "lib" / python_name(folder / "usr"))
    write_program(folder, version)
    if options.runtime is None:
        say(f"{folder}: without a runtime it is not packed; name one with --runtime FILE.")
        return 0
    image = out / f"{NAME}-{version}-{platform.machine()}.AppImage"
    pack(folder, options.runtime, image)
    say(f"{image}: {image.stat().st_size / 1e6:.1f} MB")
    return 0


def packages() -> list[str]:
    """Return the Debian packages that are put inside: what is wanted and what that needs, but for the system's own."""
    with TemporaryDirectory() as empty:
        status = Path(empty) / "status"
        status.touch()  # as if nothing were installed
        (Path(empty) / "partial").mkdir()
        command = ["apt-get", "-qq", "--print-uris", "--no-install-recommends"]
        command += ["-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={empty}"]
        wanted = [*WANTED, *sorted(set(QT_LIBRARIES.values()))]
        found = subprocess.run([*command, "install", *wanted], stdout=subprocess.PIPE, text=True, check=True).stdout
    names = re.findall(r"^'\S+' ([^_ ]+)_", found, flags=re.MULTILINE)
    return [name for name in names if not OF_THE_SYSTEM.match(name)]


def unpack(names: list[str], folder: Path) -> None:
    """Download Debian packages and unpack them, without their papers."""
    with TemporaryDirectory() as place:
        subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *names], cwd=place, check=True)
        for package in sorted(Path(place).iterdir()):
            subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    for name in ("lib", "lib64", "bin", "sbin"):
        if (folder / name).is_dir():  # on Debian 12 some packages still have these beside usr
            shutil.copytree(folder / name, folder / "usr" / name, symlinks=True, dirs_exist_ok=True)
    for path in folder.iterdir():
        if path.name != "usr":
            shutil.rmtree(path)
    for name in ("doc", "man", "lintian", "locale", "bash-completion", "doc-base", "info", "applications", "pixmaps"):
        shutil.rmtree(folder / "usr" / "share" / name, ignore_errors=True)


def let_pip_move(python: Path) -> None:
    """Let Debian's `ensurepip` find its wheels beside this Python, and not at their place in the system."""
    file = python / "ensurepip" / "__init__.py"
    text = file.read_text(encoding="utf-8")
    there = "sysconfig.get_config_var('WHEEL_PKG_DIR')"
    if there not in text:
        raise SystemExit(f"{file} is another one than is known: {there} is not in it.")
    beside = "os.path.join(sys.base_prefix, 'share', 'python-wheels')"
    file.write_text(text.replace(there, beside), encoding="utf-8")


def python_name(usr: Path) -> str:
    """Return the name of the Python below a folder, such as python3.11."""
    return next(file.name for file in sorted((usr / "bin").iterdir()) if re.fullmatch(r"python3\.\d+", file.name))


def write_program(folder: Path, version: str) -> None:
    """Add the program, what a desktop wants at the top of an AppImage, and its starter."""
    usr = folder / "usr"
    python = python_name(usr)
    bundle.copy_program(usr / "lib" / NAME)
    desktop.write_share(usr / "share")
    shutil.copy2(usr / "share" / "applications" / f"{NAME}.desktop", folder)
    shutil.copy2(usr / "share" / "icons" / "hicolor" / "256x256" / "apps" / f"{NAME}.png", folder)
    (folder / ".DirIcon").symlink_to(f"{NAME}.png")
    triplet = f"{platform.machine()}-linux-gnu"
    words = APPRUN.format(stamp=f"{version} {content_sum(usr)}", triplet=triplet, python=python)
    start = folder / "AppRun"
    start.write_text(words, encoding="utf-8")
    start.chmod(0o755)


def content_sum(folder: Path) -> str:
    """Return a sum over the names and contents of all files below a folder: another build has another one."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def pack(folder: Path, runtime: Path, image: Path) -> None:
    """Write the runtime and behind it the folder as a file system."""
    squashed = image.with_suffix(".squashfs")
    options = ["-root-owned", "-noappend", "-no-progress", "-quiet", "-comp", "zstd", "-mkfs-time", "0"]
    subprocess.run(["mksquashfs", str(folder), str(squashed), *options], check=True)
    with image.open("wb") as target:
        for part in (runtime, squashed):
            with part.open("rb") as source:
                shutil.copyfileobj(source, target)
    squashed.unlink()
    image.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
